"""The contracts of dual bounds whose slopes and multipliers are given, in NumPy.

The dual bound is that of :func:`ball_reference.pull_ball`, which searches multipliers and tries a
few slopes; here both come from outside, as an ascent chooses them. Slopes are given by a *mix* in
[0, 2]: at 0 the lesser of the slopes left and right of the cut, at 2 the greater.
"""

from __future__ import annotations

import numpy as np

from .ball_reference import ABOVE, BASE, BELOW, EPS, HIGH, LOW, SPLIT
from .rows_reference import Array, _inside, _patches


def _columns(rows: Array, owner: Array, origin: Array, table: Array) -> list[Array]:
    """(R, C, h, w) each: box and cut, lines left and right of it, line over the whole box."""
    size = (rows.shape[2], rows.shape[3])
    planes = [_patches(table[:, k], owner, origin, size) for k in range(table.shape[1])]
    up = rows > 0
    halves = [np.where(up, planes[BELOW + k], planes[ABOVE + k]) for k in range(4)]
    whole = [np.where(up, planes[BASE + k], planes[BASE + 2 + k]) for k in range(2)]
    straight = planes[BASE] == planes[BASE + 2]
    return [planes[LOW], planes[HIGH], planes[SPLIT], *halves, *whole, straight]


def _slope(mix: Array, left: Array, right: Array) -> tuple[Array, Array]:
    """The slope that a mix says, and what it gains by a unit of mix."""
    with np.errstate(invalid="ignore"):
        bounded = np.clip(np.where(mix > 0, mix, 0.0).astype(np.float64), 0.0, 2.0)
    least, gain = np.minimum(left, right), 0.5 * np.abs(right - left)
    return least + gain * bounded, gain


def _lowest(
    c: Array, g: Array, lam: Array | float, columns: list[Array]
) -> tuple[Array, Array, Array]:
    """The least of ½λδ² + c·line(δ) − gδ over both parts, where it is, and the line there."""
    low, high, split, left, left_at, right, right_at = columns[:7]
    found = []
    for slope, at_zero, start, end in (
        (left, left_at, low, np.maximum(np.minimum(split, high), low)),
        (right, right_at, np.minimum(np.maximum(split, low), high), high),
    ):
        steep = c * slope - g
        at = np.clip(-steep / lam, start, end)
        found.append((0.5 * lam * at * at + steep * at + c * at_zero, at, slope * at + at_zero))
    (one, at, line), (other, at_other, line_other) = found
    one = np.where(low <= split, one, np.inf)
    # a comparison would lose a nan, which bounds nothing
    take = ((high > split) | (one == np.inf)) & ~(one <= other)
    nothing = np.isnan(low) | np.isnan(high) | np.isnan(split)
    value = np.where(nothing, -np.inf, np.where(take, other, one))
    at, line = np.where(take, at_other, at), np.where(take, line_other, line)
    return value, np.where(nothing, 0.0, at), np.where(nothing, 0.0, line)


def pull_dual(
    rows: Array,
    owner: Array,
    origin: Array,
    mix: Array,
    multiplier: Array,
    table: Array,
    square: Array,
) -> tuple[Array, Array, Array]:
    """As ``pull_ball``, with slopes and multipliers that are given.

    For any g and λ > 0 (weak duality) c·δ_out ≥ g·δ + Σ_i min_{δ_i in box} (½λδ_i² + c_iδ_out,i −
    g_iδ_i) − ½λ·square over the bent entries; straight ones keep their lines over the whole box.

    Parameters
    ----------
    mix : (R, C, h, w) where between the slopes left and right of the cut g/c lies; nan counts
        as 0, and beyond [0, 2] its ends.
    multiplier : (R,) λ; a row whose λ is not positive and finite has no bound.
    table, square : as for ``pull_ball``.

    Returns
    -------
    out, rest, mass : as for ``pull_ball``: ``out`` is the g that the rest was computed with, so
        that rounding a slope costs nothing, but for straight entries, whose constants pay for it
        as for ``pull_lines``. Each term is off by less than 8·2⁻⁵² of what it adds up, and their
        sum by (entries + 8)·2⁻⁵².
    """
    rows = _inside(rows, origin, table.shape[3:])
    out, rest = rows.copy(), np.empty(len(rows))
    with np.errstate(all="ignore"):
        columns = _columns(rows, owner, origin, table)
        slope = _slope(mix, columns[3], columns[5])[0]
        for r, c in enumerate(rows):
            e, lam, budget = [x[r] for x in columns], float(multiplier[r]), float(square[owner[r]])
            live = (c != 0) & ~np.isnan(c)
            straight = live & e[9]
            chosen = live & ~e[9]
            out[r, straight] = (c * e[7])[straight]
            total = float(np.sum(c[~live]) + np.sum((c * e[8])[straight]))
            w, part = c[chosen].astype(np.float64), [x[chosen].astype(np.float64) for x in e[:9]]
            g = (w * slope[r][chosen]).astype(rows.dtype)
            out[r, chosen] = g
            if not 0.0 < lam < np.inf:
                rest[r] = -np.inf
                continue
            value = _lowest(w, g, lam, part)[0]
            reach = np.maximum(np.abs(part[0]), np.abs(part[1]))
            steep = np.abs(w) * np.maximum(np.abs(part[3]), np.abs(part[5])) + np.abs(g)
            offset = np.abs(w) * np.maximum(np.abs(part[4]), np.abs(part[6]))
            terms = 0.5 * lam * reach * reach + steep * reach + offset
            loss = (0.5 * lam * budget + float(terms.sum())) * (len(w) + 64) * EPS
            rest[r] = total + (float(value.sum()) - 0.5 * lam * budget - loss)
    return out, rest, np.abs(out).sum(axis=(1, 2, 3), dtype=np.float64)


def dual_gradient(
    rows: Array,
    owner: Array,
    origin: Array,
    mix: Array,
    multiplier: Array,
    table: Array,
    square: Array,
    out_grad: Array,
    rest_grad: Array,
) -> tuple[Array, Array, Array]:
    """Gradients of Σ out_grad·out + rest_grad·rest in the rows, the mix (R, C, h, w) and λ (R,).

    That of a minimum is that of what is minimised, at the minimiser. A heuristic's guide: plain
    arithmetic.
    """
    rows = _inside(rows, origin, table.shape[3:])
    weight, lam = rest_grad[:, None, None, None], multiplier[:, None, None, None]
    with np.errstate(all="ignore"):
        columns = _columns(rows, owner, origin, table)
        slope, gain = _slope(mix, columns[3], columns[5])
        _, at, line = _lowest(rows, rows * slope, lam, columns)
        straight, live = columns[9], rows != 0
        by_row = np.where(straight, columns[7] * out_grad + columns[8] * weight, 0.0)
        by_row = np.where(straight, by_row, slope * out_grad + (line - slope * at) * weight)
        by_mix = np.where(straight, 0.0, rows * gain * (out_grad - at * weight))
        squares = np.where(live & ~straight, at * at, 0.0).sum(axis=(1, 2, 3), dtype=np.float64)
        by_row, by_mix = np.where(live, by_row, 0.0), np.where(live, by_mix, 0.0)
    by_multiplier = 0.5 * rest_grad * (squares - square[owner])
    return by_row.astype(rows.dtype), by_mix.astype(rows.dtype), by_multiplier
