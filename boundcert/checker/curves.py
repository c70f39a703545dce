"""Activations, and rigorous ends of lines along them: a slope may be any number at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNIT = 2.0**-53
INF = math.inf
#: Covers what underflow may cost any sum that fits into memory, of numbers up to 1.
UNDER = 1e-300
#: More than a few operations on subnormal numbers lose.
LEAST = 16 * math.ulp(0.0)


def gamma(terms: float) -> float:
    """γ_n of float64, twice over: it pays for the sum of magnitudes, computed too, as well."""
    return 2 * terms * UNIT / (1 - terms * UNIT)


@dataclass(frozen=True)
class Curve:
    """σ, of parameters a and b.

    Attributes
    ----------
    value, derivative : (x, a, b) → σ(x), σ′(x), off by at most :meth:`noise`.
    pieces : (start, end, sign) that the line is made of, for (a, b): σ is convex (1), concave (−1)
        or straight (0) on each. ``derivative`` is only asked for inside pieces of sign ±1.
    straight : made of straight pieces, and what it computes is exact.
    accuracy : what a runtime of unit u may be off by: u·(i·|x| + o·|σ(x)| + c), as (i, o, c).
    """

    value: Callable[[Array, Array, float], Array]
    pieces: Callable[[float, float], list[tuple[float, float, int]]]
    derivative: Callable[[Array, Array, float], Array] = lambda x, a, b: np.zeros_like(x)
    _: KW_ONLY
    straight: bool = False
    accuracy: Callable[[float, float], tuple[float, float, float]] = lambda a, b: (0.0, 0.0, 0.0)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _kinks(*at: float) -> list[tuple[float, float, int]]:
    ends = [-INF, *at, INF]
    return [(s, e, 0) for s, e in pairwise(ends)]


CURVES = {
    "Relu": Curve(lambda x, a, b: np.maximum(x, 0.0), lambda a, b: _kinks(0.0), straight=True),
    "Abs": Curve(lambda x, a, b: np.abs(x), lambda a, b: _kinks(0.0), straight=True),
    # PRelu, too: then a is one an entry
    "LeakyRelu": Curve(
        lambda x, a, b: np.where(x > 0, x, a * x),
        lambda a, b: _kinks(0.0),
        straight=True,
        accuracy=lambda a, b: (0.0, 4.0, 0.0),
    ),
    "Clip": Curve(
        lambda x, a, b: np.minimum(np.maximum(x, a), b),
        lambda a, b: _kinks(*(c for c in (a, b) if math.isfinite(c))),
        straight=True,
    ),
    "HardSigmoid": Curve(
        lambda x, a, b: np.minimum(np.maximum(a * x + b, 0.0), 1.0),
        lambda a, b: _kinks(*sorted((-b / a, (1.0 - b) / a))),
        accuracy=lambda a, b: (0.0, 0.0, 4.0 + 8.0 * abs(b)),
    ),
    "Sigmoid": Curve(
        lambda x, a, b: _sigmoid(x),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: _sigmoid(x) * _sigmoid(-x),
        accuracy=lambda a, b: (0.0, 6.0, 6.0),
    ),
    "Tanh": Curve(
        lambda x, a, b: np.tanh(x),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: 4.0 * _sigmoid(2.0 * x) * _sigmoid(-2.0 * x),
        accuracy=lambda a, b: (0.0, 16.0, 0.0),
    ),
    "Softplus": Curve(
        lambda x, a, b: np.logaddexp(x, 0.0),
        lambda a, b: [(-INF, INF, 1)],
        lambda x, a, b: _sigmoid(x),
        accuracy=lambda a, b: (0.0, 12.0, 2.0),
    ),
    "Softsign": Curve(
        lambda x, a, b: x / (1.0 + np.abs(x)),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: 1.0 / (1.0 + np.abs(x)) ** 2,
        accuracy=lambda a, b: (0.0, 8.0, 0.0),
    ),
    "Elu": Curve(
        lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0.0))),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, 0)],
        lambda x, a, b: a * np.exp(np.minimum(x, 0.0)),
        accuracy=lambda a, b: (0.0, 8.0, 8.0 * abs(a)),
    ),
}


def noise(name: str, x: Array, value: Array, a: Array | float, b: float) -> Array:
    """What a computed value, or a kink whose place is rounded, may be off by.

    NumPy's functions are within 4 units in the last place; the formulas take a few more roundings.
    """
    if CURVES[name].straight:
        return 4 * UNIT * np.abs(value)
    most = np.maximum(np.abs(a), 1.0) * (np.abs(x) + 1.0)
    finite = abs(b) if math.isfinite(b) else 0.0
    return 64 * UNIT * (most + np.abs(value) + finite) + 1e-300


def floor(
    name: str, side: float, slope: Array, low: Array, high: Array, a: Array | float, b: float
) -> Array:
    """At most side·σ(z) − slope·z for every z in [low, high], side ±1.

    On a piece where side·σ is convex it is above its tangent at any point t of the piece, a
    straight function, which is least at an end; elsewhere it is concave, and least at an end
    itself. t is where the slope of the tangent is the line's, or about there: of which nothing
    need be proved.
    """
    curve, least = CURVES[name], np.full(low.shape, INF)
    whole = float(np.asarray(a).ravel()[0]) if np.asarray(a).size else 0.0

    def at(z: Array) -> tuple[Array, Array]:
        value = curve.value(z, a, b)  # type: ignore[arg-type]
        error = noise(name, z, value, a, b) + 4 * UNIT * np.abs(slope * z)
        return side * value - slope * z, error

    for start, end, sign in curve.pieces(whole, b):
        left, right = np.maximum(low, start), np.minimum(high, end)
        inside = left <= right
        left, right = np.where(inside, left, low), np.where(inside, right, low)
        if side * sign > 0:
            point = _tangent_point(curve, side, slope, left, right, a, b)
            height, error = at(point)
            steep = side * curve.derivative(point, a, b) - slope  # type: ignore[arg-type]
            unsure = 64 * UNIT * (np.abs(steep) + 2 * np.abs(slope) + np.abs(a) + 1.0)
            reach = [np.abs(e - point) for e in (left, right)]
            ends = [steep * (e - point) - (unsure * r) for e, r in zip((left, right), reach)]
            found = height - error + np.minimum(*ends)
            found = found - 4 * UNIT * (np.abs(height) + np.maximum(*map(np.abs, ends)))
        else:
            found = np.minimum(*(h - e for h, e in (at(left), at(right))))
        least = np.where(inside, np.minimum(least, found), least)
    # nan anywhere is no bound; subnormal numbers are rounded by what they are made of
    return np.where(np.isfinite(least), least - LEAST, -INF)


def _tangent_point(
    curve: Curve, side: float, slope: Array, low: Array, high: Array, a: Array | float, b: float
) -> Array:
    """Where the derivative of side·σ, which rises, reaches the slope: by bisection."""
    for _ in range(50):
        middle = 0.5 * low + 0.5 * high
        below = side * curve.derivative(middle, a, b) < slope  # type: ignore[arg-type]
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low
