"""The deployed network: what a runtime's arithmetic may add to the value of every node.

A runtime that computes node after node in some precision computes, at each, the exact layer of
the operands that it has, and an error no greater than :meth:`Layer.runtime_error` says for
operands in these boxes. So bounds that allow for such an error at every node, in boxes that hold
the values with all errors, hold for whatever the runtime computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from boundcert.bounds.boxes import ByNode
from boundcert.bounds.propagate import Evaluation, size_of
from boundcert.clip import Clip
from boundcert.errors import UsageError
from boundcert.layers.affine import Affine
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import UNIT, Deviation, Layer, numel
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import NUDGE, Box, largest
from boundcert.network.graph import Network, Node
from boundcert.network.substitutes import Substitute
from boundcert.norms import Norm, flat

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
class Placed:
    """A substitute for the value of a node: the position of its root, and that value's shape."""

    substitute: Substitute
    root: int | None
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Rounded:
    """A layer that a runtime computes of the values at ``operands``, then maxima over windows.

    |max_i ỹ_i − max_i y_i| ≤ max_i |ỹ_i − y_i|.

    Attributes
    ----------
    fusion : its values ahead are positions where ``operands`` are.
    instead : what may be put in place of its value; by the triangle inequality the differences add
        up.
    """

    layer: Layer
    operands: tuple[int, ...]
    fusion: Fusion
    pool: Layer | None = None
    instead: tuple[Placed, ...] = ()

    def error(self, arithmetic: Arithmetic, boxes: ByNode) -> torch.Tensor | None:
        """(B, *shape) what a runtime's value may be off by; ``boxes`` are those of nodes so far."""
        error = self._own(arithmetic, boxes)
        for one in self.instead:
            box = None if one.root is None else boxes[one.root]
            more = one.substitute.difference(arithmetic, box).nan_to_num(torch.inf, torch.inf)
            more = more.expand(len(boxes[self.operands[0]].low), *one.shape)
            error = more if error is None else (error + more) * (1 + 2 * UNIT)
        return error

    def _own(self, arithmetic: Arithmetic, boxes: ByNode) -> torch.Tensor | None:
        """See :meth:`Layer.runtime_error`.

        A product of coefficients that is smaller than tiny may be lost, at each of F roundings:
        one of n² that n terms may be fused to, and it acts on a value ahead of the node.
        """
        fused = arithmetic.beside(self.fusion.terms)
        error = self.layer.runtime_error(fused, *(boxes[i] for i in self.operands))
        if error is None:
            return None
        if self.fusion.ahead and isinstance(self.layer, LINEAR):
            most = torch.stack([largest(boxes[i].magnitude) for i in self.fusion.ahead]).amax(dim=0)
            terms = fused.fused + self.fusion.total
            lost = 4 * fused.fused * terms**2 * arithmetic.tiny * (most + self.fusion.offset)
            error = error + lost.reshape(-1, *([1] * (error.dim() - 1)))
            if not self.fusion.scale <= arithmetic.largest:
                error = torch.full_like(error, torch.inf)
        # no number is no bound
        error = error.nan_to_num(torch.inf, torch.inf)
        return error if self.pool is None else self.pool.forward(error)


def within_type(
    radius: torch.Tensor, x: torch.Tensor, norm: Norm, kind: Arithmetic
) -> torch.Tensor:
    """Radii (B,) for perturbed samples x (B, …) that are rounded to numbers of the model's type.

    Rounding x′ moves it by no more than u|x′| and tiny, entry by entry: by u(‖x‖ + r) + tiny·‖1‖
    in all. So what holds up to ``radius`` for every x′ holds for rounded ones up to that less, as
    long as no x′ is so large that it may overflow.
    """
    size = norm.of_rows(x)
    radius = torch.minimum(radius, kind.largest - size)
    size = size + radius
    ones = norm.of_rows(torch.ones_like(x)) * kind.tiny
    left = radius - (size * kind.unit + ones) * (1 + 1e-9)
    return torch.where(left > 0, left * (1 - 1e-14), torch.zeros_like(left))


def widened_clip(clip: Clip | None, kind: Arithmetic | None) -> Clip | None:
    """The range with what rounding its ends to the model's type may add."""
    if clip is None or kind is None:
        return clip
    low, high = clip.low, clip.high
    return Clip(
        low - 2 * (abs(low) * kind.unit + kind.tiny), high + 2 * (abs(high) * kind.unit + kind.tiny)
    )


@dataclass(frozen=True)
class Fusion:
    """What a runtime may fuse an affine node with: those of its connected run of affine nodes.

    Attributes
    ----------
    terms : that the others sum in all. The operand that one of them adds may go through the sums
        of all of them, where branches meet in a sum, too.
    ahead : the values in front of the node in the run, which fused coefficients act on.
    offset : what a value ahead may be larger than those listed.
    total : terms of the whole run.
    scale : no fused coefficient is larger: scalings multiply up, on top of one sum's coefficients.
    """

    terms: int = 0
    ahead: tuple[int, ...] = ()
    offset: float = 0.0
    total: int = 0
    scale: float = 1.0


def fusions(network: Network) -> list[Fusion]:
    """For each node what it may be fused with; nothing for one that is not affine."""
    nodes = network.nodes
    run, ahead = list(range(len(nodes))), [set(node.inputs) for node in nodes]
    for k, node in enumerate(nodes):
        for i in node.inputs if isinstance(node.layer, LINEAR) else ():
            if isinstance(nodes[i].layer, LINEAR):
                ahead[k] |= ahead[i]
                old, new = run[i], run[k]
                run = [new if r == old else r for r in run]
    terms = dict.fromkeys(run, 0)
    scales, sums = dict.fromkeys(run, 1.0), dict.fromkeys(run, 1.0)
    for k, node in enumerate(nodes):
        terms[run[k]] += _terms(node)
        if isinstance(node.layer, Affine) and not node.layer.moves_only:
            gain = max(node.layer.absolute_gain(Norm.LINF), 1.0)
            if isinstance(node.layer, Diagonal):
                scales[run[k]] *= gain
            else:
                sums[run[k]] = max(sums[run[k]], gain)
    return [
        Fusion(terms[r] - _terms(node), tuple(sorted(before)), 0.0, terms[r], scales[r] * sums[r])
        if isinstance(node.layer, LINEAR)
        else Fusion()
        for r, before, node in zip(run, ahead, nodes)
    ]


def placed(network: Network) -> list[tuple[Placed, ...]]:
    """For each node what may be put in place of its value."""
    nodes = network.nodes
    where = {node.tensor: k for k, node in enumerate(nodes) if node.tensor}
    found: list[tuple[Placed, ...]] = [()] * len(nodes)
    for substitute in network.substitutes:
        k = where[substitute.tensor]
        root = None if substitute.root is None else where[substitute.root]
        found[k] += (Placed(substitute, root, nodes[k].shape),)
    return found


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
    boxes, errors, fused = [_about(evaluation, moves, 0)], {}, fusions(network)
    instead = placed(network)
    for k, node in enumerate(network.nodes[1:], start=1):
        layer = evaluation.layer(k)
        rounded = Rounded(layer, node.inputs, fused[k], instead=instead[k])
        error = rounded.error(arithmetic, boxes)
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
    most = torch.full_like(flat(value), torch.inf)
    for moved in moves.values():
        reach = moved[k].entries(1)
        entries = reach.unit * reach.scale[:, None] + reach.offset[:, None]
        entries = torch.fmin(entries, moved[k].size[:, None])
        most = torch.minimum(most, entries.nan_to_num(torch.inf, torch.inf))
    return widened(Box(value, value, value), most.reshape(value.shape) * (1 + 1e-12))
