"""The properties of every elementwise activation: one entry each, from which all bounds follow.

An entry holds the function (in torch), the code of its derivatives (:mod:`kernels.scalar`) and
its *critical zones*: intervals (lo, hi, value) outside which the derivative is monotone on
every piece, with a bound on the derivative inside. The range of the derivative over any
interval then comes from the ends of the interval and the zones it meets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import scalar
from boundcert.layers.base import NodeSpec, Unsupported

Zone = tuple[float, float, float]
Parameters = tuple[float, float]


def at(point: float, value: float) -> Zone:
    """A zone that is one point."""
    return (point, point, value)


@dataclass(frozen=True)
class Activation:
    """What is known of one activation.

    Attributes
    ----------
    code : its code in :mod:`kernels.scalar`.
    function : (x, a, b) → g(x), differentiable, accurate to 16 ulp of |x| + |g(x)|.
    parameters : reads (a, b) from the node.
    zones : critical zones of g' for given parameters.
    smooth : True where g″ exists and is bounded everywhere (FC-Taylor applies).
    bends : critical zones of g″ for smooth activations.
    """

    code: int
    function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    parameters: Callable[[NodeSpec], Parameters] = lambda spec: (0.0, 0.0)
    zones: Callable[[float, float], list[Zone]] = lambda a, b: []
    smooth: bool = False
    bends: list[Zone] = field(default_factory=list)


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


def _softsign(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return x / (1 + x.abs())


def _clip_zones(a: float, b: float) -> list[Zone]:
    return [(a, b, 1.0)] if a < b else []


def _hard_sigmoid_zones(a: float, b: float) -> list[Zone]:
    if a == 0.0:
        return []
    ends = sorted((-b / a, (1.0 - b) / a))
    return [(ends[0], ends[1], a)]


#: √2 and the inflection of tanh″, widened to zones so that their rounding does not matter.
_W = 1e-12
_GELU_BEND = math.sqrt(2.0)
_TANH_BEND = 0.5 * math.log(2.0 + math.sqrt(3.0))
_SIGMOID_BEND = 2 * _TANH_BEND
_SIGMOID_TOP = 1.0 / (6.0 * math.sqrt(3.0)) * (1 + 1e-15)
_TANH_TOP = 4.0 / (3.0 * math.sqrt(3.0)) * (1 + 1e-15)

ACTIVATIONS: Mapping[str, Activation] = {
    "Relu": Activation(scalar.RELU, lambda x, a, b: F.relu(x)),
    "LeakyRelu": Activation(
        scalar.LEAKY, lambda x, a, b: torch.where(x > 0, x, a * x), _alpha(0.01)
    ),
    "PRelu": Activation(scalar.LEAKY, lambda x, a, b: torch.where(x > 0, x, a * x)),
    "Elu": Activation(scalar.ELU, _elu, _alpha(1.0), lambda a, b: [at(0.0, a), at(0.0, 1.0)]),
    "Selu": Activation(
        scalar.SELU,
        lambda x, a, b: b * _elu(x, a, b),
        lambda spec: (
            float(spec.attr("alpha", 1.67326319217681884765625)),
            float(spec.attr("gamma", 1.05070102214813232421875)),
        ),
        lambda a, b: [at(0.0, a * b), at(0.0, b)],
    ),
    "Celu": Activation(scalar.CELU, _celu, _positive_alpha, lambda a, b: [at(0.0, 1.0)]),
    "Sigmoid": Activation(
        scalar.SIGMOID,
        lambda x, a, b: torch.sigmoid(x),
        zones=lambda a, b: [at(0.0, 0.25)],
        smooth=True,
        bends=[
            (_SIGMOID_BEND - _W, _SIGMOID_BEND + _W, -_SIGMOID_TOP),
            (-_SIGMOID_BEND - _W, -_SIGMOID_BEND + _W, _SIGMOID_TOP),
        ],
    ),
    "HardSigmoid": Activation(
        scalar.HARD_SIGMOID,
        lambda x, a, b: torch.clamp(a * x + b, 0, 1),
        lambda spec: (float(np.float32(spec.attr("alpha", 0.2))), float(spec.attr("beta", 0.5))),
        _hard_sigmoid_zones,
    ),
    "Tanh": Activation(
        scalar.TANH,
        lambda x, a, b: torch.tanh(x),
        zones=lambda a, b: [at(0.0, 1.0)],
        smooth=True,
        bends=[
            (_TANH_BEND - _W, _TANH_BEND + _W, -_TANH_TOP),
            (-_TANH_BEND - _W, -_TANH_BEND + _W, _TANH_TOP),
        ],
    ),
    # torch's softplus switches to the identity at 20; logaddexp is exact to the last place
    "Softplus": Activation(
        scalar.SOFTPLUS,
        lambda x, a, b: torch.logaddexp(x, torch.zeros_like(x)),
        smooth=True,
        bends=[at(0.0, 0.25)],
    ),
    "Softsign": Activation(scalar.SOFTSIGN, _softsign, zones=lambda a, b: [at(0.0, 1.0)]),
    "Gelu": Activation(
        scalar.GELU,
        lambda x, a, b: F.gelu(x),
        # g″ = φ(x)(2 − x²): g' turns at ±√2, where it is 1.1289… and −0.1289…
        zones=lambda a, b: [
            (_GELU_BEND - _W, _GELU_BEND + _W, 1.1289042),
            (-_GELU_BEND - _W, -_GELU_BEND + _W, -0.1289042),
        ],
        smooth=True,
        # g‴ = φ(x)·x·(x² − 4): g″ turns at 0 and ±2
        bends=[at(0.0, 0.7978846), at(2.0, -0.1079820), at(-2.0, -0.1079820)],
    ),
    "GeluTanh": Activation(
        scalar.GELU_TANH,
        lambda x, a, b: F.gelu(x, approximate="tanh"),
        # g' turns near ±1.4188 only (1.12903…, −0.12903…)
        zones=lambda a, b: [(1.40, 1.44, 1.1291), (-1.44, -1.40, -0.1291)],
    ),
    "Clip": Activation(scalar.CLIP, lambda x, a, b: torch.clamp(x, a, b), _clip, _clip_zones),
    "Abs": Activation(scalar.ABS, lambda x, a, b: x.abs()),
    "Pow": Activation(scalar.POW, _pow, _exponent, _pow_zones),
    "Sqrt": Activation(scalar.POW, lambda x, a, b: torch.sqrt(x), _exponent, _pow_zones),
    "Erf": Activation(
        scalar.ERF,
        lambda x, a, b: torch.erf(x),
        zones=lambda a, b: [at(0.0, 2.0 / math.sqrt(math.pi) * (1 + 1e-15))],
        smooth=True,
        bends=[
            (_GELU_BEND / 2 - _W, _GELU_BEND / 2 + _W, -0.9678829),
            (-_GELU_BEND / 2 - _W, -_GELU_BEND / 2 + _W, 0.9678829),
        ],
    ),
    "Exp": Activation(scalar.EXP, lambda x, a, b: torch.exp(x)),
    "HardSwish": Activation(
        scalar.HARD_SWISH,
        lambda x, a, b: x * torch.clamp(x / 6 + 0.5, 0, 1),
        zones=lambda a, b: [at(-3.0, -0.5), at(3.0, 1.5)],
    ),
    "Reciprocal": Activation(
        scalar.RECIPROCAL,
        lambda x, a, b: 1 / x,
        zones=lambda a, b: [at(0.0, -math.inf)],
    ),
    "Log": Activation(scalar.LOG, lambda x, a, b: torch.log(x)),
}
