"""Window maxima over boxes and a ball at once.

With p any point, m the entry of a window that is largest there, and δ = z − p, for c < 0

    c·max_j z_j = c·z_m + min(0, min_{j≠m} |c|(p_m − p_j − δ_j + δ_m)),

and so, if Σ over all windows and their entries of δ² is at most s, for every λ ≥ 0 the sum over
windows of such terms is at least

    Σ min(0, min_{j≠m} (|c|(p_m − p_j) + min_{δ_j} (½λδ_j² − |c|δ_j)) + min_{δ_m} (½λδ_m² + |c|δ_m))

less ½λs, δ within the boxes. A window may as well keep its line, and then counts for nothing here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.choices import Choices, Levels, multipliers, starting_levels
from boundcert.checker.lines import Lines, windows
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Maximum
from boundcert.checker.rounding import UNDER, UNIT, gamma


@dataclass(frozen=True)
class Tied:
    """Windows (W,) of which more than one entry (T) may be the largest.

    Attributes
    ----------
    which : their places among all windows.
    peak : the entry of the operand that is largest at the point.
    gap : (W, T) how far others are below it there; inf for the peak itself, and for padding.
    low, high : (W, T) of δ; 0 for padding.
    own_low, own_high : (W,) of the peak's.
    far : (W,) the largest |δ|.
    """

    which: NDArray[np.int64]
    peak: NDArray[np.int64]
    gap: Array
    low: Array
    high: Array
    own_low: Array
    own_high: Array
    far: Array

    def take(self, some: NDArray[np.int64]) -> Tied:
        """Some of them."""
        return Tied(*(part[some] for part in vars(self).values()))

    def floors(self, a: Array, lam: Array) -> Array:
        """The terms (R, W) of the sum for a = |c| and λ (R, 1), rounded down.

        A computed vertex of a parabola is off by no more than its slope there, a rounding error,
        may cost. A gap that outweighs the moves by far leaves a term at 0.
        """
        least = np.full(a.shape, np.inf)
        for gap, low, high in zip(self.gap.T, self.low.T, self.high.T):
            at = np.clip(a / lam, low, high)
            least = np.minimum(least, a * gap + (0.5 * lam * at * at - a * at))
        at = np.clip(-a / lam, self.own_low, self.own_high)
        cost = (4 * a * self.far + 2 * lam * self.far**2) * gamma(32)
        # paid before the cut at 0, which may be a sum below 0 that was rounded up
        found = np.minimum(0.0, least + (0.5 * lam * at * at + a * at) - cost)
        return np.where(np.isnan(found), -np.inf, found)


def tied(node: Maximum, low: Array, high: Array, point: Array) -> Tied:
    """The windows of a node over a box of its operand that no entry settles."""
    lows, highs, points = (windows(part, node.table) for part in (low, high, point))
    best = lows.argmax(axis=1)
    others = highs.copy()
    np.put_along_axis(others, best[:, None], -np.inf, axis=1)
    which = np.nonzero(~(lows.max(axis=1) >= others.max(axis=1)))[0]
    table, real = node.table[which], node.table[which] >= 0
    lows, highs, points = lows[which], highs[which], points[which]
    first = points.argmax(axis=1)[:, None]
    slack = 4 * UNIT * (np.abs(points) + np.maximum(np.abs(lows), np.abs(highs))) + UNDER
    below = np.where(real, lows - points - slack, 0.0)
    above = np.where(real, highs - points + slack, 0.0)
    gap = np.where(real, np.take_along_axis(points, first, axis=1) - points, np.inf)
    np.put_along_axis(gap, first, np.inf, axis=1)
    peak, own_low, own_high = (
        np.take_along_axis(part, first, axis=1)[:, 0] for part in (table, below, above)
    )
    far = np.maximum(np.abs(below), np.abs(above)).max(axis=1, initial=0.0)
    return Tied(which, peak, gap, below, above, own_low, own_high, far)


def overlap(table: NDArray[np.int64]) -> int:
    """In how many windows one entry sits, at most."""
    return int(np.bincount(table[table >= 0]).max(initial=1))


class Moved(NamedTuple):
    """Rows that take multipliers, coefficients (R, W) that go to peaks, and what that adds."""

    rows: NDArray[np.int64]
    coefficients: Array
    windows: Tied
    gain: Array


def by_multipliers(
    rows: Array, ties: Tied, square: float, lines: Lines, point: Array, choices: Choices
) -> Moved | None:
    """What multipliers make of rows (R, n) of maxima, ``point`` that of the operand; or None."""
    used = np.nonzero((rows[:, ties.which] < 0).any(axis=0))[0]
    if not len(used) or not 0.0 < square < math.inf:
        return None
    ties = ties.take(used)
    c = np.minimum(rows[:, ties.which], 0.0)
    assert lines.above_at is not None
    slope, level = lines.above_slope[ties.which], lines.above[ties.which]
    # of the line at the point, below what the maximum is there
    height = slope * point[lines.above_at.index[ties.which]] + level - point[ties.peak]
    plain = c * height

    def bound(which: NDArray[np.int64], lam: Array) -> tuple[NDArray[np.bool_], Array]:
        found = ties.floors(-c[which], lam[:, None])
        taken = found > plain[which]
        total = np.where(taken, found, 0.0).sum(axis=1)
        spent = np.abs(total) * gamma(c.shape[1] + 16)
        return taken, total - spent - 0.5 * lam * square * (1 + 8 * UNIT)

    def value(levels: Levels) -> Array:
        found = plain.sum(axis=1)
        which, lam = multipliers(levels)
        taken, gain = bound(which, lam)
        found[which] = gain + np.where(taken, 0.0, plain[which]).sum(axis=1)
        return found

    start = starting_levels(np.linalg.norm(c, axis=1), math.sqrt(square))
    which, lam = multipliers(choices.levels(start, value))
    if not len(which):
        return None
    taken, gain = bound(which, lam)
    gain = gain - np.abs(gain) * (8 * UNIT)
    return Moved(which, np.where(taken, c[which], 0.0), ties, gain)
