"""The contract of the kernel that relaxes window maxima over boxes, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .ball_reference import EPS, Array
from .maximum_reference import LEAST, MOST, PEAK
from .relax_reference import shift_lines

#: Marks of an entry: its window has no exact lines and it may be the maximum there; it is the
#: maximum of a window at the sample; it is not.
TIED, FIRST, BEHIND = 0, 1, 2
#: Relative widening of a deviation, whose subtraction and scaling round three times.
NUDGE = 4e-16


def _largest(windows: Array, real: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first of the largest entries; padding last, and before it what is −∞."""
    some = windows.max(axis=-1) > -np.inf
    return np.where(some, windows.argmax(axis=-1), real.argmax(axis=-1))


def _above(top: Array, bottom: Array, others: Array) -> tuple[Array, Array]:
    """Slope and constant of the line above; see :func:`window_lines`."""
    level = np.maximum(others, bottom)
    slope = np.where(top > bottom, (top - level) / (top - bottom), 1.0)
    slope = np.nan_to_num(np.clip(slope, 0.0, 1.0), nan=0.0)
    # for any slope in [0, 1]: the greater of the chord's errors at both ends
    at = np.maximum(level - slope * bottom, top - slope * top)
    at = at + (np.abs(level) + np.abs(bottom) + np.abs(top)) * (4 * EPS)
    at = np.where(np.isfinite(at), at, np.inf)
    exact = bottom >= others
    return np.where(exact, 1.0, slope), np.where(exact, 0.0, at)


def window_lines(
    low: Array, high: Array, point: Array, value: Array, table: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Array, NDArray[np.uint8], Array]:
    """A line below and a line above the maximum of every window, each in one of its entries.

    max_j z_j over boxes [l_j, u_j]. Below: z_j itself, j the entry with the greatest l_j. Above,
    with i the entry with the greatest u_i and U ≥ u_j for all the others: max_j z_j ≤ max(z_i, U),
    a convex function of z_i, so at most its chord over [l_i, u_i]:
    U' + (u_i − U')/(u_i − l_i)·(z_i − l_i), U' = max(U, l_i). Where l_i ≥ U that is z_i. Never
    above the constant u_i that is usual, and never above the window maximum of the boxes.

    With z = p + δ and the maximum v + δ_out both become lines of deviations, moved outward as
    ``shift_lines`` does.

    Parameters
    ----------
    low, high, point : (B, C, size) boxes and value at the sample, whole planes. An end that is
        infinite or no number bounds nothing; nor is anything known where the point is none.
    value : (B, C, W) the maxima at the sample.
    table : (W, K) flat indices on a plane, −1 for padding; a window has an entry at least.

    Returns
    -------
    taps : (B, 3, C, W) which entry of its window is ``LEAST``, ``MOST``, ``PEAK`` of
        :mod:`maximum_reference`: of several the first, any entry before padding.
    lines : (B, 3, C, W) constant below (the slope is 1); slope and constant above, as
        ``pull_maximum`` takes them. A constant of ∓∞ is no line.
    marks : (B, 3, C, size) 1 for entries that are, in some window, :data:`TIED`, :data:`FIRST`,
        :data:`BEHIND`, else 0. Where both lines are the same entry, none is tied; nor is one that
        never exceeds another's lower end.
    far : (B, C) at least every |δ| of an entry in a window; inf: not known.
    """
    samples, channels, size = low.shape
    real = table >= 0

    def entries(x: Array, fill: float) -> Array:
        return np.where(real, x[..., np.maximum(table, 0)], fill)

    def picked(windows: Array, tap: NDArray[np.int64]) -> Array:
        return np.take_along_axis(windows, tap[..., None], -1)[..., 0]

    lows = entries(np.where(np.isfinite(low), low, -np.inf), -np.inf)
    highs = entries(np.where(np.isfinite(high), high, np.inf), -np.inf)
    points = entries(np.where(np.isnan(point), -np.inf, point), -np.inf)
    taps = np.stack([_largest(x, real) for x in (lows, highs, points)], axis=1)
    least, most, peak = taps[:, LEAST], taps[:, MOST], taps[:, PEAK]
    top, bottom = picked(highs, most), picked(lows, most)
    rivals = highs.copy()
    np.put_along_axis(rivals, most[..., None], -np.inf, -1)
    others = rivals.max(axis=-1)
    with np.errstate(all="ignore"):
        apart = np.maximum(np.maximum(highs - points, points - lows), 0.0)
        deviation = apart * (1.0 + NUDGE) + np.abs(points) * NUDGE
        deviation = np.where(real, np.where(deviation < np.inf, deviation, np.inf), 0.0)
        slope, at = _above(top, bottom, others)
    constants = []
    line = ((least, np.ones_like(slope), np.zeros_like(at), -1.0), (most, slope, at, 1.0))
    for tap, steep, constant, outward in line:
        arrays = (steep, constant, picked(points, tap), value, picked(deviation, tap))
        s, t, p, v, d = (x.reshape(samples, -1) for x in arrays)
        moved = shift_lines(s, t, p, v, d, outward).reshape(value.shape)
        constants.append(np.where(np.isfinite(moved), moved, outward * np.inf))
    lines = np.stack([constants[0], slope, constants[1]], axis=1)
    exact = (least == most) & (bottom >= others)
    tied = ~exact[..., None] & ~(highs <= lows.max(axis=-1, keepdims=True))
    first = np.arange(table.shape[1]) == peak[..., None]
    marks = np.zeros((samples, 3, channels, size), dtype=np.uint8)
    for kind, where in ((TIED, tied), (FIRST, first), (BEHIND, ~first)):
        sample, channel, window, entry = np.nonzero(where & real)
        marks[sample, kind, channel, table[window, entry]] = 1
    return taps, lines, marks, deviation.max(axis=(2, 3), initial=0.0)
