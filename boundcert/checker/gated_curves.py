"""Activations that gate their operand, x·h(x): they bend at points that are no float64 numbers.

Where they do is enclosed: the curvature has the sign of a function that falls with |x|, and whose
computed values are beyond their own rounding on both sides of a narrow piece. (Mish has two such
points, which a test encloses in interval arithmetic.) On the piece itself a tangent's parabola
is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np

from boundcert.checker.curve import INF, NARROW, Accuracy, Array, Curve, Piece, sigmoid
from boundcert.checker.rounding import UNIT

#: Where x·tanh(softplus(x)) bends, and how wide narrow pieces are, of their place.
MISH_BENDS, WIDTH = (-2.2563763963607931, 1.4905711794854285), 2e-12


def _each(function: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of numbers on arrays."""
    several = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(several(x), dtype=np.float64)


#: As accurate as the C library, whose errors are some units in the last place of 1.
erf, _erfc = _each(math.erf), _each(math.erfc)


def _bell(left: tuple[float, float], right: tuple[float, float]) -> list[Piece]:
    """Convex between two intervals, concave outside of them."""
    ends = [-INF, *left, *right, INF]
    return [(*e, t) for e, t in zip(pairwise(ends), (-1, NARROW, 1, NARROW, -1))]


def _even(about: tuple[float, float]) -> list[Piece]:
    return _bell((-about[1], -about[0]), about)


def _about(point: float) -> tuple[float, float]:
    low, high = point - 0.5 * WIDTH * abs(point), point + 0.5 * WIDTH * abs(point)
    return low, high


def crossing(gain: Callable[[float], tuple[float, float]], most: float) -> tuple[float, float]:
    """An interval about where a falling function of x > 0 crosses 0, before ``most``.

    ``gain`` is its computed value, which is off by at most 64u times what comes with it.
    """
    low, high = most * 2.0**-60, most
    for _ in range(200):
        x = 0.5 * low + 0.5 * high
        low, high = (x, high) if gain(x)[0] > 0.0 else (low, x)
    start, end = _about(high)
    (first, size), (last, other) = gain(start), gain(end)
    # what a wider one would be for, no parameters that are let in need
    if not (first > 64 * UNIT * size and last < -64 * UNIT * other):
        raise ValueError("a curve that bends nobody knows where")
    return start, end


@cache
def _swish_bend() -> tuple[float, float]:
    """Of x·s(x), whose curvature is s′(x)(2 − x·tanh(x/2)) as s″ = −s′·tanh(x/2)."""
    return crossing(lambda x: (2.0 - x * math.tanh(0.5 * x), 2.0 + x), 8.0)


def _stretched(bend: tuple[float, float], a: float) -> list[Piece]:
    """Of σ(ax)/a where σ bends there."""
    return _even((bend[0] / a * (1 - 8 * UNIT), bend[1] / a * (1 + 8 * UNIT)))


@cache
def _gelu_tanh_bend(a: float, b: float) -> tuple[float, float]:
    """Of x(1 + tanh t)/2, t = a(x + bx³), a, b > 0.

    Its curvature is sech²t·(t′ + ½xt″ − xt′²·tanh t), t′ = a(1 + 3bx²), t′ + ½xt″ = a(1 + 6bx²): of
    the sign of (1 + 6bx²)/(x(1 + 3bx²)²) − a·tanh t for x > 0. That falls: with y = 3bx² the
    derivative of (1 + 2y)/(1 + y)² by y is −2y/(1 + y)³.
    """

    def gain(x: float) -> tuple[float, float]:
        y = 3.0 * b * x * x
        rise, fall = (1.0 + 2.0 * y) / (x * (1.0 + y) ** 2), a * math.tanh(a * (x + b * x**3))
        return rise - fall, rise + fall

    return crossing(gain, 8.0 / a)


def _gelu_tanh_curvature(a: float, b: float) -> float:
    """All of its terms at the outer end of the narrow piece, where they are largest."""
    r = _gelu_tanh_bend(a, b)[1]
    steep = 1.0 + 3.0 * b * r * r
    return a * (2.0 * steep + a * r * steep * steep) * 1.01


def _gelu_tanh(x: Array, a: Array, b: float) -> Array:
    return x * sigmoid(2.0 * a * (x + b * x * x * x))


def _gelu_tanh_derivative(x: Array, a: Array, b: float) -> Array:
    t = 2.0 * a * (x + b * x * x * x)
    steep = 2.0 * a * (1.0 + 3.0 * b * x * x)
    return sigmoid(t) + x * steep * sigmoid(t) * sigmoid(-t)


def _mish(x: Array) -> tuple[Array, Array]:
    """h = tanh(softplus(x)) and h′, of e = e^−|x|: tanh(log(1 + y)) is n/(n + 2), n = y(y + 2)."""
    e = np.exp(-np.abs(x))
    above = 1.0 + 2.0 * e + 2.0 * e * e
    below = e * e + 2.0 * e + 2.0
    h = np.where(x > 0, (1.0 + 2.0 * e) / above, e * (e + 2.0) / below)
    steep = np.where(x > 0, e * e / (above * above), e / (below * below))
    return h, 4.0 * (1.0 + e) * steep


def _mish_derivative(x: Array) -> Array:
    h, steep = _mish(x)
    return h + x * steep


def _hard(x: Array) -> Array:
    return np.minimum(np.maximum(x / 6.0 + 0.5, 0.0), 1.0)


def _swish_derivative(x: Array, a: Array) -> Array:
    return sigmoid(a * x) + a * x * sigmoid(a * x) * sigmoid(-a * x)


def _gelu_derivative(x: Array, a: Array) -> Array:
    """Φ + x·φ, of curvature 2a·e^{−t²}(1 − t²)/√π, t = ax."""
    t = a * x
    return 0.5 * _erfc(-t) + t * np.exp(-t * t) / math.sqrt(math.pi)


GATED = {
    # |σ″| is at most 2a/√π of GELU, a(2s′ + |t·s″|) ≤ a of Swish
    "Gelu": Curve(
        lambda x, a, b: 0.5 * x * _erfc(-a * x),
        lambda a, b: _stretched(_about(1.0), a),
        lambda x, a, b: _gelu_derivative(x, a),
        accuracy=lambda a, b: Accuracy(operand=16.0, output=8.0),
        gates=True,
        dips=True,
        curvature=lambda a, b: 2.0 * a,
    ),
    "GeluTanh": Curve(
        _gelu_tanh,
        lambda a, b: _even(_gelu_tanh_bend(a, b)),
        _gelu_tanh_derivative,
        accuracy=lambda a, b: Accuracy(operand=16.0, output=8.0),
        gates=True,
        dips=True,
        curvature=_gelu_tanh_curvature,
    ),
    "Swish": Curve(
        lambda x, a, b: x * sigmoid(a * x),
        lambda a, b: _stretched(_swish_bend(), a),
        lambda x, a, b: _swish_derivative(x, a),
        accuracy=lambda a, b: Accuracy(operand=16.0, output=12.0),
        gates=True,
        dips=True,
        curvature=lambda a, b: 2.0 * a,
    ),
    # h″ = h′(1 − s − 2hs): |σ″| ≤ 2h′ + 2|x|h′ ≤ 8 where it is asked for
    "Mish": Curve(
        lambda x, a, b: x * _mish(x)[0],
        lambda a, b: _bell(*map(_about, MISH_BENDS)),
        lambda x, a, b: _mish_derivative(x),
        accuracy=lambda a, b: Accuracy(operand=32.0, output=8.0),
        gates=True,
        dips=True,
        curvature=lambda a, b: 8.0,
    ),
    "HardSwish": Curve(
        lambda x, a, b: x * _hard(x),
        lambda a, b: [(-INF, -3.0, 0), (-3.0, 3.0, 1), (3.0, INF, 0)],
        lambda x, a, b: x / 3.0 + 0.5,
        accuracy=lambda a, b: Accuracy(operand=16.0, output=8.0),
        gates=True,
        dips=True,
    ),
}
