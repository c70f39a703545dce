"""The contracts of the activation relaxations, in NumPy; validity rests on :func:`shapes.floor`.

Common operands: ``kind`` the activation's code, ``low``, ``high`` (B, n) the box, ``a``, ``b``
1-D parameters shared or one an entry (``a[i % a.size]``), ``pieces`` (m, 3) as in
:mod:`shapes`. The scalar functions are the definition; the twin compiles them as they stand.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from . import scalar
from .relax_lines import lines_one
from .relax_range import range_one
from .shapes import BIG, EPS, TINY, floor, quadratic, value

Array = NDArray[np.float64]


@register_jitable
def _relu_floor(
    w: float, g: float, lam: float, c: float, low: float, high: float
) -> tuple[float, float]:
    """:func:`shapes.floor` of the ReLU, whose linear pieces are exact supports; the hot case."""
    # a nan fails its comparison
    if not (low >= -BIG and high <= BIG and low <= high and 0.0 <= lam <= BIG):
        return -math.inf, 0.0
    if not (abs(w) <= BIG and abs(g) <= BIG and abs(c) <= BIG):
        return -math.inf, 0.0
    best, z = math.inf, low
    if lam > 0.0:
        if low <= 0.0:
            best, z = quadratic(lam, c, g, low, min(high, 0.0), (0.0, 0.0, 0.0, 0.0, 0.0), False)
        if high > 0.0:
            support = (w, 0.0, 0.0, 0.0, 0.0)
            bound, point = quadratic(lam, c, g, max(low, 0.0), high, support, False)
            if bound < best:
                best, z = bound, point
        return best, z
    # piecewise linear: one of three points
    for point in (low, high, 0.0 if low < 0.0 < high else low):
        up, pull = w * max(point, 0.0), g * point
        bound = up - pull - 2 * EPS * (abs(up) + abs(pull))
        if bound < best:
            best, z = bound, point
    return best - TINY, z


@register_jitable
def floor_one(
    kind: int,
    w: float,
    g: float,
    lam: float,
    c: float,
    low: float,
    high: float,
    a: float,
    b: float,
    pieces: Array,
) -> tuple[float, float, float]:
    """(bound, minimiser, σ there); an entry with w = g = 0 gives 0."""
    if w == 0.0 and g == 0.0:
        bound, z = 0.0, min(max(c, low), high)
    elif kind == scalar.RELU:
        bound, z = _relu_floor(w, g, lam, c, low, high)
    else:
        bound, z = floor(kind, w, g, lam, c, low, high, a, b, pieces)
    v = value(kind, z, a, b) if pieces.shape[0] > 0 else 0.0
    return bound, (z if abs(z) <= BIG else 0.0), (v if abs(v) <= BIG else 0.0)


@register_jitable
def shift_one(
    slope: float,
    constant: float,
    point: float,
    value: float,
    deviation: float,
    gamma: float,
    outward: float,
) -> float:
    """s·p + t − v, moved outward (±1) by what rounding costs a unit of coefficient.

    That is: its own rounding; that of c·s, which acts on δ; that of mixing it with another line,
    less than 4·2⁻⁵³ of its share in slope and constant; and that of summing c·constant over the
    entries, ``gamma``. An infinite constant is no line: rounding has nothing to add.
    """
    if abs(constant) == math.inf:
        return constant
    moved = slope * point
    shifted = moved + constant - value
    size = (abs(moved) + abs(constant) + abs(value)) * (8 * EPS)
    size = size + abs(slope) * deviation * (4 * EPS) + abs(shifted) * gamma
    return shifted + outward * (size * (1.0 + gamma) + 1e-300)


def _each(function, kind, arrays, a, b, pieces, outputs):  # type: ignore[no-untyped-def]
    shape = arrays[0].shape
    columns = np.arange(shape[-1])
    out = [np.empty(shape) for _ in range(outputs)]
    with np.errstate(all="ignore"):
        for at in np.ndindex(*shape):
            i = columns[at[-1]]
            numbers = [float(x[at]) for x in arrays]
            results = function(kind, *numbers, float(a[i % a.size]), float(b[i % b.size]), pieces)
            for k in range(outputs):
                out[k][at] = results[k]
    return tuple(out)


def activation_range(
    kind: int, low: Array, high: Array, a: Array, b: Array, pieces: Array
) -> tuple[Array, Array]:
    """Enclosure of the activation over the box, rounded outwards.

    Returns
    -------
    least, most : (B, n); (−∞, ∞) where the activation is undefined or nothing is known.
    """
    return _each(range_one, kind, (low, high), a, b, pieces, 2)


def activation_lines(
    kind: int, low: Array, high: Array, a: Array, b: Array, pieces: Array
) -> tuple[Array, Array, Array, Array]:
    """Lines that enclose the activation over the box, in real arithmetic.

    below_slope·z + below_const ≤ σ(z) ≤ above_slope·z + above_const for low ≤ z ≤ high. They are
    closest to σ midway: a ball's multipliers, which take halves of boxes, lose by more at one end.

    Returns
    -------
    below_slope, below_const, above_slope, above_const : (B, n); a constant of ∓∞ is no line.
    """
    unknown = np.full_like(low, math.nan)
    return _each(lines_one, kind, (low, high, unknown), a, b, pieces, 4)


def activation_floor(
    kind: int,
    weight: Array,
    slope: Array,
    lam: Array,
    centre: Array,
    low: Array,
    high: Array,
    owner: NDArray[np.int64],
    a: Array,
    b: Array,
    pieces: Array,
) -> tuple[Array, Array, Array, Array]:
    """Σ_i min over the box of λ/2 (z_i − centre_i)² + weight_i·σ(z_i) − slope_i·z_i, each row.

    Parameters
    ----------
    weight, slope : (R, n). lam : (R,), ≥ 0.
    centre, low, high : (B, n). owner : (R,), the sample of each row.

    Returns
    -------
    rest : (R,) rigorous lower bounds, −∞ where there is none.
    slope_grad, weight_grad : (R, n), −z* and σ(z*) at the minimisers: derivatives of ``rest``.
    lam_grad : (R,), the derivative by lam. An entry with weight = slope = 0 adds nothing to
        ``rest`` and ``lam_grad``; its minimiser is the centre.
    """
    where = [x[owner] for x in (centre, low, high)]
    spread = np.broadcast_to(lam[:, None], weight.shape)
    parts, z, v = _each(floor_one, kind, (weight, slope, spread, *where), a, b, pieces, 3)
    with np.errstate(all="ignore"):
        rest = parts.sum(axis=1) - (parts.shape[1] + 2) * EPS * np.abs(parts).sum(axis=1)
        moved = np.where((weight == 0) & (slope == 0), 0.0, 0.5 * (z - where[0]) ** 2)
    return np.where(np.isnan(rest), -np.inf, rest), -z, v, moved.sum(axis=1)


@register_jitable
def deviation_lines_one(
    kind: int,
    low: float,
    high: float,
    point: float,
    value_at: float,
    a: float,
    b: float,
    pieces: Array,
    gamma: float,
) -> tuple[float, float, float, float, float, float]:
    """One entry of :func:`deviation_lines`."""
    below, low_at, above, high_at = lines_one(kind, low, high, point, a, b, pieces)
    apart = max(high - point, point - low)
    # not by max(·, 0), which loses a nan
    far = (0.0 if apart < 0.0 else apart) * (1.0 + 2 * EPS) + abs(point) * (2 * EPS)
    slope, shift = above - below, high_at - low_at
    first, last = slope * low + shift, slope * high + shift
    gap = last if not first > last else first
    low_at = shift_one(below, low_at, point, value_at, far, gamma, -1.0)
    high_at = shift_one(above, high_at, point, value_at, far, gamma, 1.0)
    return below, low_at, above, high_at, gap, far


def deviation_lines(
    kind: int,
    low: Array,
    high: Array,
    point: Array,
    value_at: Array,
    a: Array,
    b: Array,
    pieces: Array,
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """:func:`activation_lines` as lines of deviations: z = p + δ, σ = v + δ_out.

    Parameters
    ----------
    point, value_at : (B, n) p in (or next to) the box, and v.

    Returns
    -------
    below_slope, below_const, above_slope, above_const : (B, n), constants by :func:`shift_lines`.
    gap : (B, n) the lines' largest distance over the box; not negative, or nan or ∞ where they
        are not both there.
    far : (B, n) at least |δ|.
    """
    shape, out = low.shape, [np.empty(low.shape) for _ in range(6)]
    gamma = (shape[1] + 32) * EPS / (1.0 - (shape[1] + 32) * EPS)
    with np.errstate(all="ignore"):
        for at in np.ndindex(*shape):
            ends = float(low[at]), float(high[at])
            p, v = float(point[at]), float(value_at[at])
            first, second = float(a[at[1] % a.size]), float(b[at[1] % b.size])
            found = deviation_lines_one(kind, *ends, p, v, first, second, pieces, gamma)
            for array, number in zip(out, found):
                array[at] = number
    return out[0], out[1], out[2], out[3], out[4], out[5]


def shift_lines(
    slope: Array, constant: Array, point: Array, value: Array, deviation: Array, outward: float
) -> Array:
    """Constants of lines s·z + t of σ as lines of deviations: z = p + δ, σ = v + δ_out.

    Parameters
    ----------
    slope, constant : (B, n) s and t; ``point``, ``value`` : p and v; ``deviation`` at least |δ|.
    outward : −1 for lines below, +1 for lines above.

    Returns
    -------
    (B, n) :func:`shift_one` with γ of n + 32 terms, which covers a sum over the entries.
    """
    terms = slope.shape[1] + 32
    gamma = terms * EPS / (1.0 - terms * EPS)
    arrays = (slope, constant, point, value, deviation)
    out = np.empty(slope.shape)
    with np.errstate(all="ignore"):
        for at in np.ndindex(*slope.shape):
            s, t, p, v, far = (float(x[at]) for x in arrays)
            out[at] = shift_one(s, t, p, v, far, gamma, outward)
    return out
