"""What the head behind the logits costs, and the class that the model's own output shows.

Bounds are on logits z, but what is certified is the class that the model itself gives: the arg max
of its output y as a runtime computes it, the first of equals. A runtime rounds y, so that logits
that differ by little, or that saturate, become one number. Each head has a slack τ here with

    z_c − z_j > τ for all j  ⟹  computed y_c > computed y_j for all j,

which counts as an error of τ/2 of every logit (:mod:`boundcert.network.substitutes`). With u the
unit roundoff of the model's precision, and what layer kinds assume of library functions
(:mod:`boundcert.layers.activation_table`):

*Softmax*, y_i = e_i/S, e_i = exp(z_i − m), m the largest logit, which is z_c. So e_c = 1 but for
the error of exp, E = 16u relative; e_j ≤ exp(−g(1 − u))(1 + E), g = z_c − z_j, as the difference is
rounded relative to itself. The quotient, or the product with one rounded 1/S, is rounded by u, and
rounding once more on the way by as much. So y_c > y_j where
g(1 − u) > log((1 + E)(1 + u)²/((1 − E)(1 − u)²)), for which 44u is enough for all u ≤ 2⁻⁸
(at that u the right side is 36.7u). What vanishes below tiny is smaller than y_c ≥ 1/(2C).

*LogSoftmax*, y_i = z_i − l with one rounded l, or (z_i − m) − L with one L. Two such results are in
the order of their operands' differences unless rounding joins them: g > u(2|z_c − l| + g) is
enough, where |z_c − l| ≤ log C + 8u(|z_c| + 1) (l = m + log S, rounded). Where the least wins,
z_c may be 2 max|z| farther from l.

*Sigmoid*, one a class: absolute errors of up to e = 12u (and some tiny) on y. Where
z_c − z_j > τ, z_j < T and z_c > −T, the exact outputs differ by more than the least of
σ(t + τ) − σ(t) for −T − τ ≤ t ≤ T, which is at an end: as σ′ falls on either side of 0, the
difference does on either side of t = −τ/2, and by symmetry it is the same at both ends. It is
σ(T + τ) − σ(T) ≥ τσ′(T + τ) > 2e. T is chosen so that τ is about e^−T: a saturated output beyond
it is not certified (:mod:`boundcert.bounds.saturation`).

*Sigmoid*, one output: the class is 1 where y > t. With b = logit(t), y > t surely where
σ(z) > t + e, and y ≤ t where σ(z) < t − e: τ is the larger distance from b of logit(t ± e).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from boundcert.layers.activation import elementwise
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.relaxation import Box
from boundcert.network.substitutes import Substitute

#: Softmax: see above.
SOFTMAX_SLACK = 44.0
#: Rounds a few float64 operations up.
UP = 1 + 1e-9


@dataclass(frozen=True)
class SoftmaxSlack:
    """τ/2 of a softmax."""

    def __call__(self, arithmetic: Arithmetic, box: Box | None) -> torch.Tensor:
        return torch.tensor(0.5 * SOFTMAX_SLACK * arithmetic.unit * UP, dtype=torch.float64)


@dataclass(frozen=True)
class LogSoftmaxSlack:
    """τ/2 of a log-softmax of so many classes, about logits in a box."""

    classes: int
    least: bool

    def __call__(self, arithmetic: Arithmetic, box: Box | None) -> torch.Tensor:
        assert box is not None
        unit, most = arithmetic.unit, box.magnitude.flatten(1).amax(dim=1)
        size = math.log(self.classes) + 8 * unit * (most + 1) + (2 * most if self.least else 0.0)
        half = unit * size / (1 - unit) * UP + 4 * arithmetic.tiny
        return half.reshape(-1, *([1] * (box.magnitude.dim() - 1)))


@dataclass(frozen=True)
class SigmoidSlack:
    """τ/2 of several sigmoids."""

    def __call__(self, arithmetic: Arithmetic, box: Box | None) -> torch.Tensor:
        return torch.tensor(0.5 * saturation(arithmetic)[1], dtype=torch.float64)


@dataclass(frozen=True)
class ThresholdSlack:
    """τ of one sigmoid that is compared with a number."""

    threshold: float

    def __call__(self, arithmetic: Arithmetic, box: Box | None) -> torch.Tensor:
        error, t = sigmoid_error(arithmetic), self.threshold
        about = logit(t)
        if not 0 < t - error < t + error < 1:
            return torch.tensor(math.inf, dtype=torch.float64)
        apart = max(logit(t + error) - about, about - logit(t - error))
        return torch.tensor(apart * UP + 1e-14 * (1 + abs(about)), dtype=torch.float64)


def sigmoid_error(arithmetic: Arithmetic) -> float:
    """What a runtime's sigmoid may be off by, anywhere."""
    ends = torch.tensor([[-1000.0, 1000.0]], dtype=torch.float64)
    layer = elementwise("Sigmoid", (2,))
    error = layer.runtime_error(arithmetic, Box(ends.clamp(max=-1), ends.clamp(min=1), ends))
    assert error is not None
    return float(error.max()) * UP


def saturation(arithmetic: Arithmetic) -> tuple[float, float]:
    """(T, τ) of several sigmoids: how far out outputs are told apart, and by how much.

    e^−T = √(2e) makes τ and e^−T much the same. τσ′(T + τ) > 2e is tested, not assumed.
    """
    twice = 2 * sigmoid_error(arithmetic)
    top = max(-0.5 * math.log(twice), 0.0)
    slack = 2 * twice * math.exp(top)
    for _ in range(60):
        steep = math.exp(-(top + slack)) / (1 + math.exp(-(top + slack))) ** 2
        if slack * steep > twice * UP:
            return top, slack
        slack *= 1.25
    return 0.0, math.inf


def logit(t: float) -> float:
    """log(t/(1 − t))."""
    return math.log(t) - math.log1p(-t)


def head_substitute(
    tensor: str, root: str, scores: str, classes: int, least: bool, threshold: float | None
) -> Substitute | None:
    """The slack of a head as an error of ``tensor``, a copy of the logits ``root``; None for none.

    ``scores`` is one of :data:`boundcert.network.passes.heads.SCORES` or "", ``threshold`` that of
    a single output.
    """
    why = f"{scores} behind the logits is rounded"
    if scores == "Softmax":
        return Substitute(tensor, None, SoftmaxSlack(), why)
    if scores == "LogSoftmax":
        return Substitute(tensor, root, LogSoftmaxSlack(classes, least), why)
    if scores == "Sigmoid" and classes == 1:
        assert threshold is not None
        return Substitute(tensor, None, ThresholdSlack(threshold), why)
    return Substitute(tensor, None, SigmoidSlack(), why) if scores == "Sigmoid" else None
