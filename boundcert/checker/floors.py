"""Rigorous ends of lines along activations: a slope may be any number at all."""

from __future__ import annotations

import math

import numpy as np

from boundcert.checker.curve import INF, NARROW, NOWHERE, Array, Curve
from boundcert.checker.curves import CURVES
from boundcert.checker.rounding import LEAST, UNIT


def noise(name: str, x: Array, value: Array, a: Array | float, b: float) -> Array:
    """What a computed value, or a kink whose place is rounded, may be off by.

    NumPy's functions are within 4 units in the last place; the formulas take a few more roundings.
    Those of arguments, and of parameters that another program rounds, come with a function that
    falls off as they grow: x times what t·σ′(t) of sigmoids is at most, which is below ½.
    """
    if CURVES[name].straight:
        return 4 * UNIT * np.abs(value)
    most = np.maximum(np.abs(a), 1.0) * (np.abs(x) + 1.0)
    finite = abs(b) if math.isfinite(b) else 0.0
    return 64 * UNIT * (most + np.abs(value) + finite) + 1e-300


def floor(
    name: str, side: float, slope: Array, low: Array, high: Array, a: Array | float, b: float
) -> Array:
    """At most side·σ(z) − slope·z for every z in [low, high], side ±1: the least of all pieces."""
    curve, least = CURVES[name], np.full(low.shape, INF)
    a = np.asarray(a, dtype=np.float64)
    first = float(a.ravel()[0]) if a.size else 0.0
    for start, end, sign in curve.pieces(first, b):
        left, right = np.maximum(low, start), np.minimum(high, end)
        inside = left <= right
        ends, own = (left[inside], right[inside]), a[inside] if a.size > 1 else a
        found = _on_piece(name, side, sign, slope[inside], *ends, own, b)
        least[inside] = np.minimum(least[inside], found)
    # nan anywhere is no bound; subnormal numbers are rounded by what they are made of
    known = np.isfinite(least) & np.isfinite(low) & np.isfinite(high)
    return np.where(known, least - LEAST, -INF)


def _on_piece(
    name: str, side: float, sign: int, slope: Array, left: Array, right: Array, a: Array, b: float
) -> Array:
    """Over [left, right], inside a piece of a sign.

    Where side·σ is convex it is above its tangent at any point t of the piece, a straight
    function, which is least at an end; where it is concave it is least at an end itself. t is where
    the slope of the tangent is the line's, or about there: of which nothing need be proved. On a
    narrow piece the tangent is at most ½C·(z − t)² too high, C the curvature.
    """
    curve = CURVES[name]
    if sign == NOWHERE:
        return np.full(left.shape, -INF)

    def at(z: Array) -> tuple[Array, Array]:
        value = curve.value(z, a, b)
        error = noise(name, z, value, a, b) + 4 * UNIT * np.abs(slope * z)
        return side * value - slope * z, error

    if sign != NARROW and side * sign <= 0:
        found: Array = np.minimum(*(h - e for h, e in (at(left), at(right))))
        return found
    lost: Array | float = 0.0
    if sign == NARROW:
        point = 0.5 * left + 0.5 * right
        lost = curve.curvature(float(a.ravel()[0]), b) * (right - left) ** 2 * (1 + 8 * UNIT)
    else:
        point = _tangent_point(curve, side, slope, left, right, a, b)
    height, error = at(point)
    steep = side * curve.derivative(point, a, b) - slope
    unsure = 64 * UNIT * (np.abs(steep) + 2 * np.abs(slope) + np.abs(a) + 1.0)
    reach = [np.abs(e - point) for e in (left, right)]
    ends = [steep * (e - point) - (unsure * r) for e, r in zip((left, right), reach)]
    found = height - error + np.minimum(*ends) - lost
    return found - 4 * UNIT * (np.abs(height) + np.maximum(*map(np.abs, ends)) + lost)


def _tangent_point(
    curve: Curve, side: float, slope: Array, low: Array, high: Array, a: Array, b: float
) -> Array:
    """Where the derivative of side·σ, which rises, reaches the slope: by bisection."""
    for _ in range(50):
        middle = 0.5 * low + 0.5 * high
        below = side * curve.derivative(middle, a, b) < slope
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low
