"""Lines below and above an activation on an interval, as reference and twin compile them."""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from . import scalar
from .shapes import BIG, EPS, TINY, floor_between, value
from .stationary import inner_slope, point_of_slope, stationary

Array = NDArray[np.float64]

#: How far past the middle of the box lines are closest to the function, as a share of the way from
#: the sample to an end: below, to where the function is less; above, to where it is greater. The
#: worst input moves values there as far as they can move together: furthest in trained networks,
#: most of which gain by more than this; least in wide untrained ones, which lose by more.
LEAN = 0.06


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
def _hull_slope(
    kind: int,
    w: float,
    target: float,
    low: float,
    high: float,
    at_low: float,
    at_high: float,
    a: float,
    b: float,
    pieces: Array,
) -> float:
    """Slope of the convex hull of wσ at ``target``, where the function itself is above it.

    A chord between two points of the graph, one on each side of the target, is moved to those
    furthest below it; as Newton's method where it turns about a fixed point.
    """
    left, right = low, high
    at_left, at_right = w * at_low, w * at_high
    s, before = (at_right - at_left) / (right - left), 0.0
    for _ in range(12):
        level = at_left - s * left
        lowest, highest = level, level
        if w * at_low - s * low < lowest and low < target:
            lowest, left, at_left = w * at_low - s * low, low, w * at_low
        if w * at_high - s * high < highest and target < high:
            highest, right, at_right = w * at_high - s * high, high, w * at_high
        for k in range(pieces.shape[0]):
            l, u = max(low, pieces[k, 0]), min(high, pieces[k, 1])  # noqa: E741
            if l >= u or pieces[k, 2] == 2.0:
                continue
            if pieces[k, 2] * w > 0.0:
                z = point_of_slope(kind, s / w, l, u, a, b)
                if math.isnan(z):
                    z = stationary(kind, w, s, 0.0, 0.0, l, u, a, b, z)[0]
                z = min(max(z, l), u)
            elif u < high and pieces[k + 1, 2] * w <= 0.0 and pieces[k + 1, 2] != 2.0:
                z = u
            else:
                continue
            at = w * value(kind, z, a, b)
            below = at - s * z
            if z < target or z == target < high:
                if below < lowest:
                    lowest, left, at_left = below, z, at
            elif below < highest:
                highest, right, at_right = below, z, at
        gap = level - min(lowest, highest)
        if not right > left:
            break
        s = (at_right - at_left) / (right - left)
        # gaps shrink faster each time, so the next is less than this
        ahead = gap * min(gap / before, 1.0) if before > 0.0 else gap
        noise = 4 * EPS * (abs(at_right) + abs(at_left))
        if not ahead > 1e-12 * abs(at_right - at_left) + noise:
            break
        before = gap
    return s


@register_jitable
def bends_of(low: float, high: float, pieces: Array) -> float:
    """The sign of the one piece the box lies on; 4 if it meets several."""
    count, first = 0, 0.0
    for k in range(pieces.shape[0]):
        if max(low, pieces[k, 0]) < min(high, pieces[k, 1]):
            count += 1
            first = pieces[k, 2]
    return first if count == 1 else 4.0


@register_jitable
def target_of(low: float, high: float, point: float, rise: float) -> float:
    """Where a line below a function that rises by so much is to be close to it: see LEAN."""
    middle = 0.5 * (low + high)
    end = low if rise > 0.0 else (high if rise < 0.0 else point)
    target = middle + LEAN * (end - point)
    return middle if math.isnan(target) else max(low, min(target, high))


@register_jitable
def line_below(
    kind: int,
    w: float,
    low: float,
    high: float,
    target: float,
    at_low: float,
    at_high: float,
    at: float,
    slope: float,
    bends: float,
    a: float,
    b: float,
    pieces: Array,
) -> tuple[float, float]:
    """Slope and constant of a line below wσ on the box, close to it at the target.

    The slope is a choice of which nothing need be proved: that of the tangent at the target if it
    holds, else of the convex hull. The constant makes it true: :func:`shapes.floor` of wσ − sz.
    ``at_low``, ``at_high`` and ``at`` are σ at the ends and the target, ``slope`` is σ′ there,
    ``bends`` what :func:`bends_of` says.
    """
    wide = high - low
    # a secant of nearly equal values would be noise
    narrow = wide <= 1e-9 * (abs(low) + abs(high))
    s, bent = w * slope, bends == 4.0 or not abs(slope) <= BIG
    if not narrow and abs(bends) <= 1.0 and bends * w <= 0.0:
        s, bent = (w * at_high - w * at_low) / wide, False
    s = s if abs(s) <= BIG else 0.0
    bent = bent and not narrow
    room = 1e-12 * abs(s) * wide + 64 * EPS * (abs(at) + abs(s) * (abs(low) + abs(high)))
    const = -math.inf
    if not bent or (
        w * (at_low - at) + room >= s * (low - target)
        and w * (at_high - at) + room >= s * (high - target)
    ):
        const = floor_between(
            kind, w, s, 0.0, 0.0, low, high, at_low, at_high, target, a, b, pieces
        )[0]
    # no line that holds is higher there than a tangent that does
    if bent and not w * at - (const + s * target) <= room:
        steep = _hull_slope(kind, w, target, low, high, at_low, at_high, a, b, pieces)
        steep = steep if abs(steep) <= BIG else s
        other = floor_between(
            kind, w, steep, 0.0, 0.0, low, high, at_low, at_high, math.nan, a, b, pieces
        )[0]
        if const == -math.inf or other + steep * target > const + s * target:
            s, const = steep, other
    return s if const > -math.inf else 0.0, const


@register_jitable
def _line_near(
    kind: int,
    w: float,
    low: float,
    high: float,
    point: float,
    at_low: float,
    at_high: float,
    bends: float,
    a: float,
    b: float,
    pieces: Array,
) -> tuple[float, float]:
    target = target_of(low, high, point, w * (at_high - at_low))
    at, slope = value(kind, target, a, b), inner_slope(kind, target, a, b)
    known = low, high, target, at_low, at_high, at, slope, bends
    return line_below(kind, w, *known, a, b, pieces)


@register_jitable
def lines_one(
    kind: int, low: float, high: float, point: float, a: float, b: float, pieces: Array
) -> tuple[float, float, float, float]:
    """Lines below and above σ on [low, high]; slopes 0 and constants ∓∞ where there are none.

    ``point`` is the value at the sample, which has a say in which lines; nan: closest to σ midway.
    """
    if not (low <= high and max(abs(low), abs(high)) <= BIG) or pieces.shape[0] == 0:
        return 0.0, -math.inf, 0.0, math.inf
    if kind == scalar.RELU:
        return _leaky_lines(0.0, low, high)
    if kind == scalar.LEAKY and abs(a) <= BIG:
        return _leaky_lines(a, low, high)
    if low < pieces[0, 0] or high > pieces[pieces.shape[0] - 1, 1]:
        return 0.0, -math.inf, 0.0, math.inf
    at_low, at_high = value(kind, low, a, b), value(kind, high, a, b)
    if not (math.isfinite(at_low) and math.isfinite(at_high)):
        return 0.0, -math.inf, 0.0, math.inf
    known = low, high, point, at_low, at_high, bends_of(low, high, pieces)
    below, low_at = _line_near(kind, 1.0, *known, a, b, pieces)
    above, high_at = _line_near(kind, -1.0, *known, a, b, pieces)
    return below, low_at, -above, -high_at
