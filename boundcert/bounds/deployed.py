"""The deployed network: what a runtime's arithmetic may add to the value of every node.

A runtime that computes node after node in some precision computes, at each, the exact layer of
the operands that it has, and an error no greater than :meth:`Layer.runtime_error` says for
operands in these boxes. So bounds that allow for such an error at every node, in boxes that hold
the values with all errors, hold for whatever the runtime computes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from boundcert.bounds.propagate import Evaluation, size_of
from boundcert.errors import UsageError
from boundcert.layers.affine import Affine
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import UNIT, Deviation, Layer, numel
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import NUDGE, Box
from boundcert.network.graph import Network, Node
from boundcert.norms import Norm

#: Which network radii are about, the usual first: the one that a runtime evaluates in the model's
#: own arithmetic, or the function of real numbers.
SEMANTICS = ("deployed", "exact")


def check_semantics(name: str) -> str:
    """The name itself.

    Raises
    ------
    UsageError
        There is no such semantics.
    """
    if name not in SEMANTICS:
        raise UsageError(f"semantics {name!r} is unknown; use {' or '.join(SEMANTICS)}")
    return name


@dataclass(frozen=True)
class Errors:
    """What a runtime adds, over balls about the samples.

    Attributes
    ----------
    own : node → (B, *shape) its own errors.
    points : affine nodes in front of every nonlinear one → boxes of the value at the samples with
        all errors up to there: what is in them besides the linear part of the perturbation.
    """

    own: dict[int, torch.Tensor] = field(default_factory=dict)
    points: dict[int, Box] = field(default_factory=dict)

    def take(self, samples: torch.Tensor) -> Errors:
        """Those of some samples."""
        return Errors(
            {k: error[samples] for k, error in self.own.items()},
            {k: box.take(samples) for k, box in self.points.items()},
        )


@dataclass(frozen=True)
class Rounded:
    """A layer that a runtime computes of the values at ``operands``, then maxima over windows.

    |max_i ỹ_i − max_i y_i| ≤ max_i |ỹ_i − y_i|.

    Attributes
    ----------
    terms : see :func:`terms_beside`.
    """

    layer: Layer
    operands: tuple[int, ...]
    terms: int
    pool: Layer | None = None

    def error(self, arithmetic: Arithmetic, boxes: Sequence[Box]) -> torch.Tensor | None:
        """See :meth:`Layer.runtime_error`; ``boxes`` are those of all nodes so far."""
        fused = arithmetic.beside(self.terms)
        error = self.layer.runtime_error(fused, *(boxes[i] for i in self.operands))
        if error is None:
            return None
        # no number is no bound
        error = error.nan_to_num(torch.inf, torch.inf)
        return error if self.pool is None else self.pool.forward(error)


def terms_beside(network: Network) -> list[int]:
    """How many terms the affine nodes next to each node sum, along the longest path through it.

    Affine nodes that follow one another may be fused: the operand that one of them adds may then
    go through the sums of the others.
    """
    nodes = network.nodes
    ahead, behind = [0] * len(nodes), [0] * len(nodes)
    for k, node in enumerate(nodes):
        if isinstance(node.layer, LINEAR):
            ahead[k] = _terms(node) + max((ahead[i] for i in node.inputs), default=0)
    for k in range(len(nodes) - 1, -1, -1):
        if isinstance(nodes[k].layer, LINEAR):
            behind[k] += _terms(nodes[k])
            for i in nodes[k].inputs:
                if isinstance(nodes[i].layer, LINEAR):
                    behind[i] = max(behind[i], behind[k])
    return [max(a + b - 2 * _terms(node), 0) for a, b, node in zip(ahead, behind, nodes)]


def _terms(node: Node) -> int:
    """What one entry of an affine node's value sums."""
    if isinstance(node.layer, Affine):
        return 0 if node.layer.moves_only else node.layer.fan_in
    return len(node.inputs) if isinstance(node.layer, LINEAR) else 0


def widened(box: Box, error: torch.Tensor | None) -> Box:
    """The box of a value with errors of up to so much."""
    if error is None:
        return box
    low, high = box.low - error, box.high + error
    return Box(low - low.abs() * NUDGE, high + high.abs() * NUDGE, box.point, box.spread)


def errors_over(
    evaluation: Evaluation, radius: torch.Tensor, norm: Norm, arithmetic: Arithmetic
) -> Mapping[int, torch.Tensor]:
    """Errors of the nodes over balls of radii (B,), by the moduli of one layer after the other.

    Values deviate from those at the samples by no more than moduli and errors say, so that every
    operand lies in a box about its value there. In norms 1 and ∞ the 2-norm of the deviation is
    followed, too: ‖q‖₂ ≤ ‖q‖₁ and ‖q‖₂ ≤ √n‖q‖_∞.
    """
    network = evaluation.network
    moves: dict[Norm, dict[int, Deviation]] = {norm: {0: Deviation(radius)}}
    if norm is not Norm.L2:
        copies = numel(network.input_shape) if norm is Norm.LINF else 1
        moves[Norm.L2] = {0: Deviation(radius * (copies**0.5 * (1 + 4 * UNIT)))}
    boxes, errors, beside = [_about(evaluation, moves, 0)], {}, terms_beside(network)
    for k, node in enumerate(network.nodes[1:], start=1):
        layer = evaluation.layer(k)
        error = Rounded(layer, node.inputs, beside[k]).error(arithmetic, boxes)
        if error is not None:
            errors[k] = error
        for which, moved in moves.items():
            move = layer.modulus(evaluation.site(k, which), *(moved[i] for i in node.inputs))
            rounding = evaluation.rounding(k, which)
            moved[k] = move.plus(rounding if error is None else rounding + size_of(error, which))
        boxes.append(_about(evaluation, moves, k))
    return errors


def _about(evaluation: Evaluation, moves: Mapping[Norm, dict[int, Deviation]], k: int) -> Box:
    """The box of node k's values that deviate so much from those at the samples."""
    value = evaluation.values[k]
    flat = torch.full_like(value.flatten(1), torch.inf)
    for moved in moves.values():
        reach = moved[k].entries(1)
        entries = reach.unit * reach.scale[:, None] + reach.offset[:, None]
        entries = torch.fmin(entries, moved[k].size[:, None])
        flat = torch.minimum(flat, entries.nan_to_num(torch.inf, torch.inf))
    return widened(Box(value, value, value), flat.reshape(value.shape) * (1 + 1e-12))
