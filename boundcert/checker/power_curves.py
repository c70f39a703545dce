"""Powers and logarithms: activations that are not known everywhere."""

from __future__ import annotations

import math

import numpy as np

from boundcert.checker.curve import INF, NOWHERE, Accuracy, Array, Curve, Piece

#: No box between this and 0 has an end.
BELOW = -math.ulp(0.0)


def _pieces(a: float, b: float) -> list[Piece]:
    """By the sign of a(a − 1)·x^(a − 2), a neither 0 nor 1; |x|^a for even a."""
    right = -1 if 0.0 < a < 1.0 else 1
    if a != math.floor(a):
        # √0 is 0, but 0^−½ nothing
        return [(-INF, BELOW if a > 0 else 0.0, NOWHERE), (0.0, INF, right)]
    left = 1 if a % 2.0 == 0.0 else -1
    if a > 0:
        return [(-INF, INF, 1)] if left > 0 else [(-INF, 0.0, -1), (0.0, INF, 1)]
    return [(-INF, 0.0, left), (0.0, 0.0, NOWHERE), (0.0, INF, 1)]


def _vanishing(a: float, tiny: float) -> float:
    """x^a is 0 then, off by less than tiny^min(a, 1), or has no bound."""
    return float(tiny ** min(a, 1.0)) if a > 0 else INF


def _power(x: Array, a: Array) -> Array:
    return np.asarray(np.power(x, a), dtype=np.float64)


POWERS = {
    # x·x is one, too: as products with themselves do, and with functions of theirs
    "Pow": Curve(
        lambda x, a, b: _power(x, a),
        _pieces,
        lambda x, a, b: a * _power(x, a - 1.0),
        accuracy=lambda a, b: Accuracy(output=64.0 + a, logarithm=4.0),
        gates=True,
        vanishing=_vanishing,
    ),
    # maybe as x times a rounded 1/√x
    "Sqrt": Curve(
        lambda x, a, b: np.sqrt(x),
        lambda a, b: _pieces(0.5, b),
        lambda x, a, b: 0.5 / np.sqrt(x),
        accuracy=lambda a, b: Accuracy(output=4.0),
        vanishing=lambda a, tiny: _vanishing(0.5, tiny),
    ),
    # γ₁₆, and tiny times it
    "Reciprocal": Curve(
        lambda x, a, b: 1.0 / x,
        lambda a, b: _pieces(-1.0, b),
        lambda x, a, b: -1.0 / (x * x),
        accuracy=lambda a, b: Accuracy(output=17.0),
        vanishing=lambda a, tiny: INF,
    ),
    "Log": Curve(
        lambda x, a, b: np.log(x),
        lambda a, b: [(-INF, 0.0, NOWHERE), (0.0, INF, -1)],
        lambda x, a, b: 1.0 / x,
        accuracy=lambda a, b: Accuracy(output=10.0, constant=2.0),
        vanishing=lambda a, tiny: INF,
    ),
}
