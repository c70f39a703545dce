"""The contracts of pencils of lines, in NumPy: rows that choose their lines.

A *pencil* holds three lines below and three above every entry of a value, from the one highest
(lowest) at the low end of its box to the one highest (lowest) at its high end. A *mix* in [0, 2]
picks between neighbours: at 0, 1 and 2 the lines themselves, else a convex combination, which is a
line below (above) as they are. Conventions for rows are those of :mod:`rows_reference`.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from . import scalar
from .relax_lines import bends_of, line_below, lines_one
from .rows_reference import Array, _inside, _patches, _product, _sum
from .shapes import BIG, value
from .stationary import inner_slope

#: Planes of a pencil: slope and constant of three lines below, then of three above.
PLANES = 12


@register_jitable
def pencil_one(
    kind: int,
    low: float,
    high: float,
    point: float,
    a: float,
    b: float,
    pieces: Array,
    out: Array,
) -> float:
    """Write the twelve numbers of the pencil over [low, high]; the mix of :func:`lines_one`.

    The line in the middle is that of :func:`lines_one`, but for a kinked function, one of whose
    sides is two rays: any slope between theirs does, and lines_one takes one of the two.
    """
    lines = lines_one(kind, low, high, point, a, b, pieces)
    for side in range(2):
        for k in range(3):
            out[6 * side + 2 * k], out[6 * side + 2 * k + 1] = lines[2 * side], lines[2 * side + 1]
    if not low < high or abs(lines[1]) == math.inf:
        return 1.0
    if kind == scalar.RELU or (kind == scalar.LEAKY and abs(a) <= BIG):
        if low >= 0.0 or high <= 0.0:
            return 1.0
        flat = a if kind == scalar.LEAKY else 0.0
        first = 0 if flat <= 1.0 else 6
        # rays through 0 with slopes in order of their ends: constants are 0 already
        out[first], out[first + 2], out[first + 4] = flat, 0.5 * (flat + 1.0), 1.0
        return 0.0 if lines[first // 3] == flat else 2.0
    if high - low <= 1e-9 * (abs(low) + abs(high)) or abs(lines[3]) == math.inf:
        return 1.0
    at_low, at_high = value(kind, low, a, b), value(kind, high, a, b)
    bends = bends_of(low, high, pieces)
    for k in range(2):
        target, at = (low, at_low) if k == 0 else (high, at_high)
        slope = inner_slope(kind, target, a, b)
        known = low, high, target, at_low, at_high, at, slope, bends
        for side in range(2):
            w = 1.0 - 2.0 * side
            s, t = line_below(kind, w, *known, a, b, pieces)
            if t + s * target > w * (lines[2 * side + 1] + lines[2 * side] * target):
                out[6 * side + 4 * k], out[6 * side + 4 * k + 1] = w * s, w * t
    return 1.0


def _mixed(
    rows: Array, owner: Array, origin: Array, mix: Array, table: Array
) -> tuple[Array, Array, Array, Array]:
    """Slope, constant, and what they gain by a unit of mix, (R, C, h, w) each."""
    size = rows.shape[2:]
    planes = [_patches(table[:, k], owner, origin, size) for k in range(PLANES)]
    side = np.where(rows < 0, 6, 0)
    with np.errstate(invalid="ignore"):
        bounded = np.clip(np.where(mix > 0, mix, 0.0).astype(np.float64), 0.0, 2.0)
    second = bounded >= 1
    share = bounded - second

    def pick(offset: int) -> Array:
        below = np.where(second, planes[offset + 2], planes[offset])
        above = np.where(second, planes[offset + 8], planes[offset + 6])
        return np.where(side == 6, above, below)

    slope, const, next_slope, next_const = pick(0), pick(1), pick(2), pick(3)
    with np.errstate(invalid="ignore"):
        return (
            np.where(share > 0, (1 - share) * slope + share * next_slope, slope),
            np.where(share > 0, (1 - share) * const + share * next_const, const),
            next_slope - slope,
            next_const - const,
        )


def pull_pencil(
    rows: Array, owner: Array, origin: Array, mix: Array, table: Array
) -> tuple[Array, Array, Array]:
    """:func:`rows_reference.pull_lines` with the lines that each coefficient's mix says.

    Parameters
    ----------
    mix : (R, C, h, w); what is outside [0, 2], or nan, counts as the nearer end, or 0.
    table : (B, 12, C, H, W) the pencil.
    """
    rows = _inside(rows, origin, table.shape[3:])
    slope, const, _, _ = _mixed(rows, owner, origin, mix, table)
    out = _product(rows, slope).astype(rows.dtype)
    return out, _sum(_product(rows, const)), _sum(np.abs(out))


def pencil_gradient(
    rows: Array,
    owner: Array,
    origin: Array,
    mix: Array,
    table: Array,
    out_grad: Array,
    rest_grad: Array,
) -> tuple[Array, Array]:
    """Gradients (R, C, h, w) of Σ out_grad·out + rest_grad·rest in the rows and in the mix.

    A heuristic's guide: plain arithmetic, and at a mix of 1 the gradient towards 2.
    """
    rows = _inside(rows, origin, table.shape[3:])
    slope, const, more_slope, more_const = _mixed(rows, owner, origin, mix, table)
    weight = rest_grad[:, None, None, None]
    with np.errstate(invalid="ignore"):
        row_grad = np.where(rows != 0, slope * out_grad + const * weight, 0.0)
        mix_grad = np.where(rows != 0, rows * (more_slope * out_grad + more_const * weight), 0.0)
    return row_grad.astype(rows.dtype), mix_grad.astype(rows.dtype)


def activation_pencil(
    kind: int, low: Array, high: Array, point: Array, a: Array, b: Array, pieces: Array
) -> tuple[Array, Array]:
    """Pencils of an activation over boxes, (B, 12, n), and the mix (B, n) to start from.

    ``point`` (B, n) as for :func:`relax_lines.lines_one`.
    """
    table, start = np.empty((low.shape[0], 12, low.shape[1])), np.empty(low.shape)
    numbers = np.empty(12)
    with np.errstate(all="ignore"):
        for s, i in np.ndindex(*low.shape):
            first, second = float(a[i % a.size]), float(b[i % b.size])
            ends = (float(low[s, i]), float(high[s, i]), float(point[s, i]))
            start[s, i] = pencil_one(kind, *ends, first, second, pieces, numbers)
            table[s, :, i] = numbers
    return table, start
