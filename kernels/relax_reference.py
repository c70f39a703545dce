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
from .shapes import BIG, EPS, TINY, floor, inner_slope, quadratic, value, value_error

Array = NDArray[np.float64]


@register_jitable
def _rises(kind: int, low: float, a: float, b: float) -> bool:
    """True only where σ does not decrease from ``low`` on."""
    if kind == scalar.ELU or kind == scalar.LEAKY or kind == scalar.HARD_SIGMOID:
        return a >= 0.0
    if kind == scalar.SELU:
        return a >= 0.0 and b >= 0.0
    if kind == scalar.POW:
        return a >= 0.0 and low >= 0.0
    if kind == scalar.LOG:
        return low > 0.0
    return (
        kind == scalar.RELU
        or kind == scalar.CELU
        or kind == scalar.SIGMOID
        or kind == scalar.TANH
        or kind == scalar.SOFTPLUS
        or kind == scalar.SOFTSIGN
        or kind == scalar.CLIP
        or kind == scalar.ERF
        or kind == scalar.EXP
    )


@register_jitable
def _codomain(kind: int, a: float) -> tuple[float, float]:
    """Bounds that hold everywhere, so that rounding never leaves them."""
    if kind == scalar.SIGMOID or kind == scalar.HARD_SIGMOID:
        return 0.0, 1.0
    if kind == scalar.TANH or kind == scalar.ERF or kind == scalar.SOFTSIGN:
        return -1.0, 1.0
    if kind == scalar.ABS or kind == scalar.EXP or kind == scalar.SOFTPLUS:
        return 0.0, math.inf
    if kind == scalar.POW and (a % 2.0 == 0.0 or a != math.floor(a)):
        return 0.0, math.inf
    return -math.inf, math.inf


@register_jitable
def range_one(
    kind: int, low: float, high: float, a: float, b: float, pieces: Array
) -> tuple[float, float]:
    """Enclosure of σ over [low, high]; (−∞, ∞) where there is none."""
    if not low <= high or pieces.shape[0] == 0:
        return -math.inf, math.inf
    if kind == scalar.RELU:
        return max(low, 0.0), max(high, 0.0)  # exact, and the hot case
    if low < pieces[0, 0] or high > pieces[pieces.shape[0] - 1, 1]:
        return -math.inf, math.inf
    if _rises(kind, low, a, b):
        least, most = value(kind, low, a, b), value(kind, high, a, b)
        least -= value_error(kind, low, least, a, b) * (1.0 + EPS)
        most += value_error(kind, high, most, a, b) * (1.0 + EPS)
        # what underflow may have taken; exact kinds have nothing to lose
        if kind != scalar.RELU and kind != scalar.CLIP:
            least, most = least - TINY, most + TINY
    else:
        least = floor(kind, 1.0, 0.0, 0.0, 0.0, low, high, a, b, pieces)[0]
        most = -floor(kind, -1.0, 0.0, 0.0, 0.0, low, high, a, b, pieces)[0]
        if least == -math.inf or most == math.inf:
            return -math.inf, math.inf
    if math.isnan(least) or math.isnan(most):
        return -math.inf, math.inf
    bottom, top = _codomain(kind, a)
    return max(least, bottom), min(most, top)


@register_jitable
def _leaky_lines(a: float, low: float, high: float) -> tuple[float, float, float, float]:
    """Lines of z ↦ z (z > 0), az (z ≤ 0): an exact one through 0, and the secant.

    Convex for a ≤ 1, concave above: a secant needs to hold at the two ends of the box only, and
    each of the two linear functions holds everywhere.
    """
    if low >= 0.0:
        return 1.0, 0.0, 1.0, 0.0
    if high <= 0.0:
        return a, 0.0, a, 0.0
    through = 1.0 if high > -low else a
    s = high / (high - low) - a * (low / (high - low))
    at_low, at_high = (a - s) * low, (1.0 - s) * high
    slack = 8 * EPS * (abs(at_low) + abs(at_high) + (abs(a) + abs(s)) * -low + high) + TINY
    if a <= 1.0:
        return through, 0.0, s, max(at_low, at_high) + slack
    return s, min(at_low, at_high) - slack, through, 0.0


@register_jitable
def bridge(
    kind: int,
    w: float,
    target: float,
    low: float,
    high: float,
    a: float,
    b: float,
    pieces: Array,
    slope: float,
    const: float,
) -> tuple[float, float]:
    """Line below wσ on the box, highest at ``target``: the side of the convex hull over it.

    From the secant: the rigorous minimiser of wσ − sz replaces the end on its side of the
    target; as Newton's method where the line turns about an end of the box. (slope, const) is
    the line to beat.
    """
    left, right = low, high
    at_left, at_right = w * value(kind, low, a, b), w * value(kind, high, a, b)
    best = const + slope * target
    for _ in range(12):
        s = (at_right - at_left) / (right - left)
        bound, z = floor(kind, w, s, 0.0, 0.0, low, high, a, b, pieces)
        if bound + s * target > best or best == -math.inf:
            slope, const, best = s, bound, bound + s * target
        gap = at_left + s * (target - left) - (bound + s * target)
        if gap <= 1e-10 * abs(at_right - at_left) or z <= left or z >= right:
            break
        if z < target or target == high:
            left, at_left = z, w * value(kind, z, a, b)
        else:
            right, at_right = z, w * value(kind, z, a, b)
    return slope, const


@register_jitable
def _bends(low: float, high: float, pieces: Array) -> float:
    """The sign of the one piece the box lies on; 4 if it meets several."""
    count, first = 0, 0.0
    for k in range(pieces.shape[0]):
        if max(low, pieces[k, 0]) < min(high, pieces[k, 1]):
            count += 1
            first = pieces[k, 2]
    return first if count == 1 else 4.0


@register_jitable
def _line(
    kind: int, w: float, low: float, high: float, a: float, b: float, pieces: Array
) -> tuple[float, float]:
    """A line below wσ on the box: the slope is a choice, the constant makes it true."""
    middle = 0.5 * (low + high)
    tangent = w * inner_slope(kind, middle, a, b)
    bends = _bends(low, high, pieces)
    wide = high - low
    if wide <= 1e-9 * (abs(low) + abs(high)) or bends == 2.0:
        s = tangent  # a secant of nearly equal values would be noise
    elif bends == 4.0 or (bends == 1.0 and w > 0.0) or (bends == -1.0 and w < 0.0):
        s = tangent
    else:
        s = (w * value(kind, high, a, b) - w * value(kind, low, a, b)) / wide
    s = s if abs(s) <= BIG else 0.0
    narrow = wide <= 1e-9 * (abs(low) + abs(high))
    const = floor(kind, w, s, 0.0, 0.0, low, high, a, b, pieces)[0]
    if bends == 4.0 and not narrow:
        loss = w * value(kind, middle, a, b) - (const + s * middle)
        # a tangent at the middle that holds has the largest integral of all lines that do
        if not loss <= 1e-12 * abs(s) * wide:
            s, const = bridge(kind, w, middle, low, high, a, b, pieces, s, const)
    return s if const > -math.inf else 0.0, const


@register_jitable
def lines_one(
    kind: int, low: float, high: float, a: float, b: float, pieces: Array
) -> tuple[float, float, float, float]:
    """Lines below and above σ on [low, high]; slopes 0 and constants ∓∞ where there are none."""
    if not (low <= high and max(abs(low), abs(high)) <= BIG) or pieces.shape[0] == 0:
        return 0.0, -math.inf, 0.0, math.inf
    if kind == scalar.RELU:
        return _leaky_lines(0.0, low, high)
    if kind == scalar.LEAKY and abs(a) <= BIG:
        return _leaky_lines(a, low, high)
    below, low_at = _line(kind, 1.0, low, high, a, b, pieces)
    above, high_at = _line(kind, -1.0, low, high, a, b, pieces)
    return below, low_at, -above, -high_at


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

    below_slope·z + below_const ≤ σ(z) ≤ above_slope·z + above_const for low ≤ z ≤ high.

    Returns
    -------
    below_slope, below_const, above_slope, above_const : (B, n); a constant of ∓∞ is no line.
    """
    return _each(lines_one, kind, (low, high), a, b, pieces, 4)


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
