"""Window maxima between means of their entries, where these move together.

Whatever the weights, max_j z_j ≤ Σ_k w_k·z_k + max_j sup(z_j − Σ_k w_k·z_k) over the entries j that
may be largest, the suprema over the ball by rows; and for weights h ≥ 0 of sum H,
Σ_k h_k·z_k ≤ H·max_j z_j, so that max_j z_j ≥ Σ_k h_k·z_k − |H − 1|·max_j |z_j|.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.lines import Lines, windows
from boundcert.checker.maps import Array, Shares
from boundcert.checker.nodes import Maximum
from boundcert.checker.rounding import UNDER, UNIT

#: Weights above go as this power of how far entries may rise above what others surely are; below,
#: entries that lie so close to the largest at the point, by the window's half width, share alike.
STEEP, TIES = 3, 0.02
#: A mean that rows pay for by its width is to be this much closer at the point.
FLATNESS = 0.1


class Contrasts(NamedTuple):
    """Means of the windows that no entry settles.

    Attributes
    ----------
    which : (T,) their places among all windows.
    weights : (T, K) of means above.
    window, entry : (R,) among ``which``, and in it: entries that may exceed the mean the most.
    """

    which: NDArray[np.int64]
    weights: Array
    window: NDArray[np.int64]
    entry: NDArray[np.int64]

    def rows(self, node: Maximum, some: NDArray[np.int64], n: int) -> Array:
        """Rows (…, n) of the operand for means less entries: a mean's less 1 at its entry."""
        window, entry = self.window[some], self.entry[some]
        weights, count = self.weights[window].copy(), np.arange(len(some))
        weights[count, entry] -= 1.0
        rows, table = np.zeros((len(some), n)), node.table[self.which[window]]
        # each row has one entry a column; padding is left out
        for weight, place in zip(weights.T, table.T):
            rows[count[place >= 0], place[place >= 0]] += weight[place >= 0]
        return rows


def contrasts(node: Maximum, low: Array, high: Array) -> Contrasts | None:
    """Means that are about where windows are largest over a box, and what is to be bounded.

    Entries that are left out never exceed the lower end of one that is not.
    """
    lows, highs = windows(low, node.table), windows(high, node.table)
    most = lows.max(axis=1, keepdims=True)
    above = np.maximum(highs - most, 0.0)
    share = (above / above.max(axis=1, keepdims=True)) ** STEEP
    weights = share / share.sum(axis=1, keepdims=True)
    asked = (highs >= most) & (node.table >= 0)
    which = np.nonzero(np.isfinite(weights).all(axis=1) & (asked.sum(axis=1) > 1))[0]
    if not len(which):
        return None
    return Contrasts(which, weights[which], *np.nonzero(asked[which]))


def means(
    node: Maximum, found: Contrasts, excess: Array, lines: Lines, box: tuple[Array, Array, Array]
) -> Lines:
    """Lines with means in place of those that look worse.

    Parameters
    ----------
    excess : (R,) bounds on entries less means.
    box : low and high ends of the operand, and its point.
    """
    assert lines.above_at is not None
    which, (low, high, point) = found.which, box
    table, operand = node.table[which], lines.above_at.index[which]
    real, (lows, highs, points) = table >= 0, (windows(part, table) for part in box)
    size = np.where(real, np.maximum(np.abs(lows), np.abs(highs)), 0.0).max(axis=1)
    most = np.full(len(which), -np.inf)
    np.maximum.at(most, found.window, excess)
    slack = (size + np.abs(most)) * ((4 * table.shape[1] + 32) * UNIT) + UNDER
    half, points = (np.where(real, part, 0.0) for part in (0.5 * (highs - lows), points))
    # how high at the point, and how wide
    slope = lines.above_slope[which]
    line = slope * point[operand] + lines.above[which]
    line = line + FLATNESS * slope * 0.5 * (high[operand] - low[operand])
    mean = (found.weights * (points + FLATNESS * half)).sum(axis=1) + most + slack
    behind = points - np.where(real, points, -np.inf).max(axis=1, keepdims=True)
    tied = np.where(real, np.maximum(behind + TIES * half.max(axis=1, keepdims=True), 0.0), 0.0)
    tied = tied / tied.sum(axis=1, keepdims=True)
    lower, upper = np.zeros((2, *node.table.shape))
    below, above, flat, steep = (
        part.copy() for part in (lines.below, lines.above, lines.below_slope, lines.above_slope)
    )
    some = np.isfinite(tied).all(axis=1) & np.isfinite(slack)
    at = which[some]
    lower[at], below[at], flat[at] = tied[some], -slack[some], 0.0
    some = (mean < line) & np.isfinite(most + slack)
    at = which[some]
    upper[at], above[at], steep[at] = found.weights[some], (most + slack)[some], 0.0
    shares = Shares(node.table, len(low), lower), Shares(node.table, len(low), upper)
    return Lines(flat, below, steep, above, lines.below_at, lines.above_at, shares=shares)
