"""Straight lines below and above activations and maxima, over boxes of their operands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.curves import CURVES
from boundcert.checker.maps import Array, Pick, Shares
from boundcert.checker.nodes import Bend, Maximum
from boundcert.checker.rounding import UNDER, UNIT


@dataclass(frozen=True)
class Lines:
    """below_slope·z + below ≤ σ(z) ≤ above_slope·z + above, entry by entry.

    Of maxima z is the entry that ``below_at`` or ``above_at`` pick; else these are None. Products
    have slopes in their second operand, too: ``others``, below and above. Maxima may have weights
    of all entries of their windows: ``shares``, below and above.
    """

    below_slope: Array
    below: Array
    above_slope: Array
    above: Array
    below_at: Pick | None = None
    above_at: Pick | None = None
    others: tuple[Array, Array] | None = None
    shares: tuple[Shares, Shares] | None = None


def windows(x: Array, table: NDArray[np.int64]) -> Array:
    return np.where(table >= 0, x[np.maximum(table, 0)], -np.inf)


def maximum_lines(node: Maximum, low: Array, high: Array) -> Lines:
    """Below the entry of greatest lower end; above a line in that of greatest upper end.

    max_j z_j ≤ max(z_i, U) with U ≥ u_j for all others: convex in z_i, so that it is at most
    s·z_i + max(U − s·l_i, (1 − s)·u_i) over [l_i, u_i] for every s in [0, 1].
    """
    lows, highs = windows(low, node.table), windows(high, node.table)
    row = np.arange(len(node.table))
    least, most = lows.argmax(axis=1), highs.argmax(axis=1)
    top, bottom = highs[row, most], lows[row, most]
    others = highs.copy()
    others[row, most] = -np.inf
    level = others.max(axis=1)
    slope = np.clip((top - np.maximum(level, bottom)) / (top - bottom), 0.0, 1.0)
    settled = bottom >= level
    slope = np.where(settled, 1.0, slope)
    at = np.maximum(np.maximum(level, bottom) - slope * bottom, (1.0 - slope) * top)
    at = at + 8 * UNIT * (np.abs(level) + np.abs(bottom) + np.abs(top)) + UNDER
    one = np.ones(node.n)
    at, below = np.where(settled, 0.0, at), np.zeros(node.n)
    lower, upper = (Pick(node.table[row, tap], len(low)) for tap in (least, most))
    return Lines(one, below, slope, at, lower, upper)


def usual_slopes(node: Bend, low: Array, high: Array) -> tuple[Array, Array]:
    """Chords; where two straight pieces meet the longer of the two on the side they lie on."""
    curve = CURVES[node.name]

    def chord(left: Array, right: Array) -> Array:
        rise = curve.value(right, node.a, node.b) - curve.value(left, node.a, node.b)
        return np.where(right > left, rise / np.where(right > left, right - left, 1.0), 0.0)

    pieces = curve.pieces(float(node.a.ravel()[0]), node.b)
    whole = chord(low, high)
    if len(pieces) != 2 or not curve.straight:
        return whole, whole
    kink = pieces[0][1]
    left, right = chord(low, np.clip(kink, low, high)), chord(np.clip(kink, low, high), high)
    across = (low < kink) & (kink < high)
    side = np.where(across, np.where(high - kink > kink - low, right, left), whole)
    convex = right >= left
    return np.where(convex, side, whole), np.where(convex, whole, side)
