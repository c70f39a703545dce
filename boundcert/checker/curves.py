"""The activations that the checker knows."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from boundcert.checker.curve import INF, Accuracy, Curve, Piece, sigmoid
from boundcert.checker.gated_curves import GATED, erf
from boundcert.checker.power_curves import POWERS


def _kinks(*at: float) -> list[Piece]:
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
        accuracy=lambda a, b: Accuracy(output=4.0),
    ),
    "Clip": Curve(
        lambda x, a, b: np.minimum(np.maximum(x, a), b),
        lambda a, b: _kinks(*(c for c in (a, b) if math.isfinite(c))),
        straight=True,
    ),
    "HardSigmoid": Curve(
        lambda x, a, b: np.minimum(np.maximum(a * x + b, 0.0), 1.0),
        lambda a, b: _kinks(*sorted((-b / a, (1.0 - b) / a))),
        accuracy=lambda a, b: Accuracy(constant=4.0 + 8.0 * abs(b)),
    ),
    "Sigmoid": Curve(
        lambda x, a, b: sigmoid(x),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: sigmoid(x) * sigmoid(-x),
        accuracy=lambda a, b: Accuracy(output=6.0, constant=6.0),
    ),
    "Tanh": Curve(
        lambda x, a, b: np.tanh(x),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: 4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x),
        accuracy=lambda a, b: Accuracy(output=16.0),
    ),
    "Softplus": Curve(
        lambda x, a, b: np.logaddexp(x, 0.0),
        lambda a, b: [(-INF, INF, 1)],
        lambda x, a, b: sigmoid(x),
        accuracy=lambda a, b: Accuracy(output=12.0, constant=2.0),
    ),
    "Softsign": Curve(
        lambda x, a, b: x / (1.0 + np.abs(x)),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: 1.0 / (1.0 + np.abs(x)) ** 2,
        accuracy=lambda a, b: Accuracy(output=8.0),
    ),
    "Elu": Curve(
        lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0.0))),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, 0)],
        lambda x, a, b: a * np.exp(np.minimum(x, 0.0)),
        accuracy=lambda a, b: Accuracy(output=8.0, constant=8.0 * abs(a)),
    ),
    "Selu": Curve(
        lambda x, a, b: b * np.where(x > 0, x, a * np.expm1(np.minimum(x, 0.0))),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, 0)],
        lambda x, a, b: b * a * np.exp(np.minimum(x, 0.0)),
        accuracy=lambda a, b: Accuracy(output=8.0, constant=8.0 * abs(a * b)),
    ),
    "Celu": Curve(
        lambda x, a, b: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0.0) / a)),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, 0)],
        lambda x, a, b: np.exp(np.minimum(x, 0.0) / a),
        accuracy=lambda a, b: Accuracy(output=8.0, constant=8.0 * abs(a)),
    ),
    "Erf": Curve(
        lambda x, a, b: erf(x),
        lambda a, b: [(-INF, 0.0, 1), (0.0, INF, -1)],
        lambda x, a, b: 2.0 / math.sqrt(math.pi) * np.exp(-x * x),
        accuracy=lambda a, b: Accuracy(output=8.0),
    ),
    "Exp": Curve(
        lambda x, a, b: np.exp(x),
        lambda a, b: [(-INF, INF, 1)],
        lambda x, a, b: np.exp(x),
        accuracy=lambda a, b: Accuracy(output=16.0),
    ),
    **POWERS,
    **GATED,
}
