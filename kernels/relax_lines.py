"""Lines below and above an activation on an interval, as reference and twin compile them."""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from . import scalar
from .shapes import BIG, EPS, TINY, floor, inner_slope, value

Array = NDArray[np.float64]

#: Lines are closest to a function that bends both ways so much past the middle of the box, as a
#: share of the way to there from the value at the sample. Boxes grow where the function is steep,
#: and its far end costs most: on networks of sigmoids 0.4 gave the greatest radii, 2 % above 0.
PAST = 0.4


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
def _target(low: float, high: float, point: float) -> float:
    """Where lines are to be close to the function: past the middle of the box, as seen from p."""
    middle = 0.5 * (low + high)
    past = middle + PAST * (middle - point)
    return (
        past if low <= past <= high else (middle if math.isnan(past) else max(low, min(past, high)))
    )


@register_jitable
def _line(
    kind: int, w: float, low: float, high: float, target: float, a: float, b: float, pieces: Array
) -> tuple[float, float]:
    """A line below wσ on the box: the slope is a choice, the constant makes it true."""
    tangent = w * inner_slope(kind, target, a, b)
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
        loss = w * value(kind, target, a, b) - (const + s * target)
        # no line that holds is higher there than a tangent that does
        if not loss <= 1e-12 * abs(s) * wide:
            s, const = bridge(kind, w, target, low, high, a, b, pieces, s, const)
    return s if const > -math.inf else 0.0, const


@register_jitable
def lines_one(
    kind: int, low: float, high: float, point: float, a: float, b: float, pieces: Array
) -> tuple[float, float, float, float]:
    """Lines below and above σ on [low, high]; slopes 0 and constants ∓∞ where there are none.

    ``point`` is the value at the sample, or the middle of the box: it has a say in which lines.
    """
    if not (low <= high and max(abs(low), abs(high)) <= BIG) or pieces.shape[0] == 0:
        return 0.0, -math.inf, 0.0, math.inf
    if kind == scalar.RELU:
        return _leaky_lines(0.0, low, high)
    if kind == scalar.LEAKY and abs(a) <= BIG:
        return _leaky_lines(a, low, high)
    target = _target(low, high, point)
    below, low_at = _line(kind, 1.0, low, high, target, a, b, pieces)
    above, high_at = _line(kind, -1.0, low, high, target, a, b, pieces)
    return below, low_at, -above, -high_at
