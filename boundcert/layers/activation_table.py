"""The properties of every elementwise activation: one entry each, from which all bounds follow.

An entry holds the function (in torch), the code of its derivatives (:mod:`kernels.scalar`) and
its *critical zones*: intervals (lo, hi, value) outside which the derivative is monotone on
every piece, with a bound on the derivative inside. The range of the derivative over any
interval then comes from the ends of the interval and the zones it meets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import scalar
from boundcert.layers import activation_accuracy as accuracy
from boundcert.layers.activation_gated import GATED
from boundcert.layers.activation_record import Activation, Parameters, Piece, Zone, at
from boundcert.layers.base import NodeSpec, Unsupported


def _alpha(default: float) -> Callable[[NodeSpec], Parameters]:
    # ONNX attributes are float32, their defaults too
    return lambda spec: (float(np.float32(spec.attr("alpha", default))), 0.0)


def _positive_alpha(spec: NodeSpec) -> Parameters:
    alpha = float(spec.attr("alpha", 1.0))
    if not alpha > 0:
        raise Unsupported(f"alpha = {alpha}; a positive alpha works")
    return alpha, 0.0


def _clip(spec: NodeSpec) -> Parameters:
    low, high = spec.attr_or_input("min", 1), spec.attr_or_input("max", 2)
    low = -math.inf if low is None else float(low)
    high = math.inf if high is None else float(high)
    # ONNX: where min > max every value becomes max
    return min(low, high), high


def _exponent(spec: NodeSpec) -> Parameters:
    if spec.op == "Sqrt":
        return 0.5, 0.0
    exponent = spec.constant(1)
    if exponent is None or exponent.size != 1:
        raise Unsupported("needs one constant exponent")
    return float(exponent.reshape(-1)[0]), 0.0


def _celu(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x, min=0) + a * torch.expm1(torch.clamp(x, max=0) / a)


def _elu(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x, min=0) + a * torch.expm1(torch.clamp(x, max=0))


def _pow(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return x * x if float(a) == 2.0 else torch.pow(x, a)


def _pow_zones(a: float, b: float) -> list[Zone]:
    if a == 0.0 or a == 1.0:
        return []
    if a > 1.0:
        return [at(0.0, 0.0)]
    return [at(0.0, math.inf), at(0.0, -math.inf)]


def _split(*signs: int) -> Callable[[float, float], list[Piece]]:
    """One sign everywhere, or one below 0 and one above."""
    pieces = [(-math.inf, math.inf, signs[0])]
    if len(signs) == 2:
        pieces = [(-math.inf, 0.0, signs[0]), (0.0, math.inf, signs[1])]
    return lambda a, b: list(pieces)


def _sign(x: float) -> int:
    return int(x > 0) - int(x < 0)


def _exponential_pieces(a: float) -> list[Piece]:
    return [(-math.inf, 0.0, _sign(a)), (0.0, math.inf, 0)]


def _pow_pieces(a: float, b: float) -> list[Piece]:
    """By the sign of a(a − 1)·x^(a − 2)."""
    if not math.isfinite(a):
        return []
    if a == 0.0 or a == 1.0:
        return [(-math.inf, math.inf, 0)]
    right = -1 if 0.0 < a < 1.0 else 1
    if a != math.floor(a):
        return [(0.0, math.inf, right)]
    if a % 2.0 == 0.0 and a > 0.0:
        return [(-math.inf, math.inf, 1)]
    return [(-math.inf, 0.0, 1 if a % 2.0 == 0.0 else -1), (0.0, math.inf, right)]


def _clip_pieces(a: float, b: float) -> list[Piece]:
    if not a < b:
        return [(-math.inf, math.inf, 0)] if math.isfinite(a) and a == b else []
    ends = [-math.inf, *(e for e in (a, b) if math.isfinite(e)), math.inf]
    return [(start, end, 0) for start, end in pairwise(ends)]


def _hard_sigmoid_pieces(a: float, b: float) -> list[Piece]:
    """The kinks are rounded: the narrow pieces hold the true ones, convex at 0, concave at 1."""
    if a == 0.0:
        return [(-math.inf, math.inf, 0)]
    sign = _sign(a)
    first, last = sorted((-b / a, (1.0 - b) / a))
    reach = 4 * 2.0**-52 * (abs(b / a) + abs(1.0 / a))
    cuts = [-math.inf, first - reach, first + reach, last - reach, last + reach, math.inf]
    if not all(start < end for start, end in pairwise(cuts)):
        return []
    return [(*ends, t) for ends, t in zip(pairwise(cuts), (0, sign, 0, -sign, 0))]


def _softsign(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return x / (1 + x.abs())


def _clip_zones(a: float, b: float) -> list[Zone]:
    return [(a, b, 1.0)] if a < b else []


def _hard_sigmoid_zones(a: float, b: float) -> list[Zone]:
    if a == 0.0:
        return []
    ends = sorted((-b / a, (1.0 - b) / a))
    return [(ends[0], ends[1], a)]


#: The inflection of tanh″, widened to a zone so that its rounding does not matter.
_W = 1e-12
_TANH_BEND = 0.5 * math.log(2.0 + math.sqrt(3.0))
_SIGMOID_BEND = 2 * _TANH_BEND
_ERF_BEND = math.sqrt(0.5)
_SIGMOID_TOP = 1.0 / (6.0 * math.sqrt(3.0)) * (1 + 1e-15)
_TANH_TOP = 4.0 / (3.0 * math.sqrt(3.0)) * (1 + 1e-15)

ACTIVATIONS: Mapping[str, Activation] = {
    **GATED,
    "Relu": Activation(scalar.RELU, accuracy.exact, lambda x, a, b: F.relu(x), pieces=_split(0, 0)),
    "LeakyRelu": Activation(
        scalar.LEAKY,
        accuracy.within(output=4),
        lambda x, a, b: torch.where(x > 0, x, a * x),
        _alpha(0.01),
        pieces=_split(0, 0),
    ),
    "PRelu": Activation(
        scalar.LEAKY,
        accuracy.within(output=4),
        lambda x, a, b: torch.where(x > 0, x, a * x),
        pieces=_split(0, 0),
    ),
    "Elu": Activation(
        scalar.ELU,
        accuracy.within(output=8, constant=lambda a, b: 8 * a),
        _elu,
        _alpha(1.0),
        lambda a, b: [at(0.0, a), at(0.0, 1.0)],
        pieces=lambda a, b: _exponential_pieces(a),
    ),
    "Selu": Activation(
        scalar.SELU,
        accuracy.within(output=8, constant=lambda a, b: 8 * a * b),
        lambda x, a, b: b * _elu(x, a, b),
        lambda spec: (
            float(spec.attr("alpha", 1.67326319217681884765625)),
            float(spec.attr("gamma", 1.05070102214813232421875)),
        ),
        lambda a, b: [at(0.0, a * b), at(0.0, b)],
        pieces=lambda a, b: _exponential_pieces(a * b),
    ),
    "Celu": Activation(
        scalar.CELU,
        accuracy.within(output=8, constant=lambda a, b: 8 * a),
        _celu,
        _positive_alpha,
        lambda a, b: [at(0.0, 1.0)],
        pieces=lambda a, b: _exponential_pieces(1.0) if a > 0 else [],
    ),
    "Sigmoid": Activation(
        scalar.SIGMOID,
        accuracy.within(output=6, constant=6),
        lambda x, a, b: torch.sigmoid(x),
        zones=lambda a, b: [at(0.0, 0.25)],
        smooth=True,
        bends=lambda a, b: [
            (_SIGMOID_BEND - _W, _SIGMOID_BEND + _W, -_SIGMOID_TOP),
            (-_SIGMOID_BEND - _W, -_SIGMOID_BEND + _W, _SIGMOID_TOP),
        ],
        pieces=_split(1, -1),
    ),
    "HardSigmoid": Activation(
        scalar.HARD_SIGMOID,
        accuracy.within(constant=lambda a, b: 4 + 8 * b),
        lambda x, a, b: torch.clamp(a * x + b, 0, 1),
        lambda spec: (float(np.float32(spec.attr("alpha", 0.2))), float(spec.attr("beta", 0.5))),
        _hard_sigmoid_zones,
        pieces=_hard_sigmoid_pieces,
    ),
    "Tanh": Activation(
        scalar.TANH,
        accuracy.within(output=16),
        lambda x, a, b: torch.tanh(x),
        zones=lambda a, b: [at(0.0, 1.0)],
        smooth=True,
        bends=lambda a, b: [
            (_TANH_BEND - _W, _TANH_BEND + _W, -_TANH_TOP),
            (-_TANH_BEND - _W, -_TANH_BEND + _W, _TANH_TOP),
        ],
        pieces=_split(1, -1),
    ),
    # torch's softplus switches to the identity at 20; logaddexp is exact to the last place
    "Softplus": Activation(
        scalar.SOFTPLUS,
        accuracy.within(output=12, constant=2),
        lambda x, a, b: torch.logaddexp(x, torch.zeros_like(x)),
        smooth=True,
        bends=lambda a, b: [at(0.0, 0.25)],
        pieces=_split(1),
    ),
    "Softsign": Activation(
        scalar.SOFTSIGN,
        accuracy.within(output=8),
        _softsign,
        zones=lambda a, b: [at(0.0, 1.0)],
        pieces=_split(1, -1),
    ),
    "Clip": Activation(
        scalar.CLIP,
        accuracy.bounds,
        lambda x, a, b: torch.clamp(x, a, b),
        _clip,
        _clip_zones,
        pieces=_clip_pieces,
    ),
    "Abs": Activation(scalar.ABS, accuracy.exact, lambda x, a, b: x.abs(), pieces=_split(0, 0)),
    "Pow": Activation(scalar.POW, accuracy.power, _pow, _exponent, _pow_zones, pieces=_pow_pieces),
    "Sqrt": Activation(
        scalar.POW,
        accuracy.root,
        lambda x, a, b: torch.sqrt(x),
        _exponent,
        _pow_zones,
        pieces=_pow_pieces,
    ),
    "Erf": Activation(
        scalar.ERF,
        accuracy.within(output=8),
        lambda x, a, b: torch.erf(x),
        zones=lambda a, b: [at(0.0, 2.0 / math.sqrt(math.pi) * (1 + 1e-15))],
        smooth=True,
        bends=lambda a, b: [
            (_ERF_BEND - _W, _ERF_BEND + _W, -0.9678829),
            (-_ERF_BEND - _W, -_ERF_BEND + _W, 0.9678829),
        ],
        pieces=_split(1, -1),
    ),
    "Exp": Activation(
        scalar.EXP, accuracy.within(output=16), lambda x, a, b: torch.exp(x), pieces=_split(1)
    ),
    "Reciprocal": Activation(
        scalar.RECIPROCAL,
        accuracy.inverse,
        lambda x, a, b: 1 / x,
        zones=lambda a, b: [at(0.0, -math.inf)],
        pieces=_split(-1, 1),
    ),
    "Log": Activation(
        scalar.LOG,
        accuracy.logarithm,
        lambda x, a, b: torch.log(x),
        pieces=lambda a, b: [(0.0, math.inf, -1)],
    ),
}
