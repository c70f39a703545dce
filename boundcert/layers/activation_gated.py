"""Activations that gate their own operand, x·h(x): GELU and its tanh form, Swish, Mish, HardSwish.

The first three have a parameter a that stretches them, σ_a(x) = σ_1(ax)/a: their slopes are the
same, and turn at 1/a times the same points.

What a runtime adds where they are written out: erf or tanh 16u, the sum with 1 2u more, halved and
times |x|; the sigmoid 6u(1 + σ), times |x|; tanh of softplus 24u and that 12u relative; the hard
sigmoid 8u; each of up to six products u relative; and what an argument of up to six roundings
makes of them, at most 6u.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import scalar
from boundcert.layers import activation_accuracy as accuracy
from boundcert.layers.activation_record import Activation, Parameters, Piece, Zone, at
from boundcert.layers.base import NodeSpec, Unsupported

#: The ONNX operator's own numbers: a, and what its tanh form multiplies x³ by.
GELU = math.sqrt(0.5)
GELU_TANH = (math.sqrt(2.0 / math.pi), 0.044715)

#: Points of zones are known to within this share, or less.
_W = 1e-12
#: Where x·tanh(x/2) = 2, and where the third derivative of x·sigmoid(x) vanishes.
_SWISH_BEND, _SWISH_TURN = 2.3993572805154677, 3.4358409935351107
_MISH_BENDS = (-2.2563763963607931, 1.4905711794854285)


def _about(point: float, value: float, width: float = _W) -> Zone:
    return (point - width, point + width, value)


def _stretched(point: float, top: float, a: float) -> list[Zone]:
    """Zones of slopes that turn at ±``point``/a, where they are ``top`` and 1 − ``top``."""
    bend, width = point / a, _W * point / a
    return [_about(bend, top, width), _about(-bend, 1.0 - top, width)]


def _bell(left: float, right: float) -> list[Piece]:
    """Convex between two points, concave outside; too near to them to tell, neither."""
    cuts = [c for p in (left, right) for c in (p - _W * abs(p), p + _W * abs(p))]
    ends = [-math.inf, *cuts, math.inf]
    return [(*e, t) for e, t in zip(pairwise(ends), (-1, 2, 1, 2, -1))]


def _bent(point: float) -> Callable[[float, float], list[Piece]]:
    return lambda a, b: _bell(-point / a, point / a)


def _gelu_tanh_bend(a: float, b: float) -> float:
    """Where the curvature of x·(1 + tanh t)/2, t = a(x + bx³), changes its sign.

    It has the sign of (1 + 6bx²)/(|x|(1 + 3bx²)²) − a·tanh|t|, which falls with |x|: one zero,
    here by bisection, known to some units in the last place.
    """
    low, high = 0.0, 8.0 / a
    for _ in range(200):
        x = 0.5 * low + 0.5 * high
        steep = 1.0 + 3.0 * b * x * x
        gain = (2.0 * steep - 1.0) / (x * steep * steep) - a * math.tanh(a * (x + b * x**3))
        low, high = (x, high) if gain > 0.0 else (low, x)
    return high


def _gelu_tanh_zones(a: float, b: float) -> list[Zone]:
    bend = _gelu_tanh_bend(a, b)
    top = scalar.slope(scalar.GELU_TANH, bend, a, b) + 1e-9
    return [_about(bend, top, _W * bend), _about(-bend, 1.0 - top, _W * bend)]


def _gelu_tanh_pieces(a: float, b: float) -> list[Piece]:
    bend = _gelu_tanh_bend(a, b)
    return _bell(-bend, bend)


def _swish(spec: NodeSpec) -> Parameters:
    alpha = float(np.float32(spec.attr("alpha", 1.0)))
    if not 0.0 < alpha < math.inf:
        raise Unsupported(f"alpha = {alpha}; a positive alpha works")
    return alpha, 0.0


GATED = {
    "Gelu": Activation(
        scalar.GELU,
        accuracy.gated(operand=16, output=8),
        lambda x, a, b: 0.5 * x * torch.erfc(-a * x),
        lambda spec: (GELU, 0.0),
        # g″ = 2a·exp(−t²)(1 − t²)/√π, t = ax: g' turns at t = ±1, where it is 1.1289… and −0.1289…
        zones=lambda a, b: _stretched(1.0, 1.1289042, a),
        smooth=True,
        # g‴ has the sign of t(t² − 2): g″ turns at 0 and t = ±√2
        bends=lambda a, b: [
            at(0.0, 1.12837917 * a),
            *(_about(p * math.sqrt(2.0) / a, -0.1527096 * a, _W / a) for p in (-1, 1)),
        ],
        pieces=_bent(1.0),
    ),
    "GeluTanh": Activation(
        scalar.GELU_TANH,
        accuracy.gated(operand=16, output=8),
        lambda x, a, b: x * torch.sigmoid(2 * a * (x + b * x * x * x)),
        lambda spec: GELU_TANH,
        zones=_gelu_tanh_zones,
        pieces=_gelu_tanh_pieces,
    ),
    "Swish": Activation(
        scalar.SWISH,
        accuracy.gated(operand=16, output=12),
        lambda x, a, b: x * torch.sigmoid(a * x),
        _swish,
        # g″ = a·σ′(t)(2 − t·tanh(t/2)), t = ax: one zero on either side
        zones=lambda a, b: _stretched(_SWISH_BEND, 1.0998394, a),
        smooth=True,
        bends=lambda a, b: [
            at(0.0, 0.5 * a),
            *(_about(p * _SWISH_TURN / a, -0.0369144 * a, _W / a) for p in (-1, 1)),
        ],
        pieces=_bent(_SWISH_BEND),
    ),
    # where it bends is enclosed in a test, by interval arithmetic
    "Mish": Activation(
        scalar.MISH,
        accuracy.gated(operand=32, output=8),
        lambda x, a, b: F.mish(x),
        zones=lambda a, b: [_about(_MISH_BENDS[0], -0.1125262), _about(_MISH_BENDS[1], 1.0884983)],
        pieces=lambda a, b: _bell(*_MISH_BENDS),
    ),
    "HardSwish": Activation(
        scalar.HARD_SWISH,
        accuracy.gated(operand=16, output=8),
        lambda x, a, b: x * torch.clamp(x / 6 + 0.5, 0, 1),
        zones=lambda a, b: [at(-3.0, -0.5), at(3.0, 1.5)],
        pieces=lambda a, b: [(-math.inf, -3.0, 0), (-3.0, 3.0, 1), (3.0, math.inf, 0)],
    ),
}
