"""The walk: from the exact distance at the output back to a certified radius at the input.

If every deviation of a block's output from its computed value smaller than κ_out is harmless, so
is every deviation of its input smaller than κ_in = sup{ρ : φ(ρ) + e ≤ κ_out}, φ the block's
modulus and e its rounding error: an exact block at the computed input + q, ‖q‖ ≤ ρ, gives
something within φ(ρ) + e of the computed output. So a network evaluated in float64 certifies
the network in exact arithmetic. (Corrects 003, Algorithm 5.1, which asks for growth of the norm
instead; see the errata tests.)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from boundcert.bounds.deployed import errors_over
from boundcert.bounds.head import Head, compose, distances
from boundcert.bounds.methods import Bounds, Stage
from boundcert.bounds.propagate import Evaluation, forward_moves
from boundcert.bounds.search import largest
from boundcert.bounds.segments import Segment, segments
from boundcert.bounds.tail import PASSES, RIVALS, expansion_radius, nearest_rivals
from boundcert.bounds.taylor import Stack, centre, smooth_stack, taylor_radius
from boundcert.layers.affine import Affine
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import Deviation, numel
from boundcert.layers.structure import Rearrange
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: Below this a radius is lost in underflow and counts as 0.
TINY = 1e-270
#: The margins are expanded linearly over blocks in front of the head while that takes at most
#: so many times the work of an evaluation, in all.
EXPANSION_WORK = 3.5
#: Relative gain below which expanding over still more blocks is not worth trying.
EXPANSION_GAIN = 1e-3


@dataclass(frozen=True)
class Plan:
    """What the walk computes once per network and norm.

    Attributes
    ----------
    head, blocks : the affine end, and the blocks in front of it.
    expanded : blocks at whose entry the margins are expanded.
    smooth : the smooth dense layers in front of the head, for FC-Taylor.
    euclidean : the same for the 2-norm, whose radii hold in the other norms, too; None in L2.
    """

    network: Network
    norm: Norm
    head: Head
    blocks: tuple[Segment, ...]
    expanded: frozenset[int]
    smooth: Stack | None
    euclidean: Plan | None = None


def plan(network: Network, norm: Norm) -> Plan:
    """Blocks and head of a network; operator norms are computed (and cached) on first use."""
    head = compose(network, norm)
    blocks = tuple(b for b in segments(network) if b.exit <= head.start)
    if blocks and blocks[-1].exit != head.start:
        raise AssertionError("the head must start at a cut point")
    flat = head if norm is Norm.L2 else compose(network, Norm.L2)
    smooth = smooth_stack(network, flat)
    expanded = _expanded(network, blocks)
    companion = None if norm is Norm.L2 else Plan(network, Norm.L2, flat, blocks, expanded, smooth)
    return Plan(network, norm, head, blocks, expanded, smooth, companion)


def _work(network: Network, nodes: Iterable[int]) -> float:
    layers = (network.nodes[k].layer for k in nodes)
    return sum(layer.work for layer in layers if isinstance(layer, Affine)) + 1.0


def _expanded(network: Network, blocks: tuple[Segment, ...]) -> frozenset[int]:
    """Blocks at whose entry an expansion is tried: those that are more than a rearrangement,
    from the head on (the first in any case), as long as the work allows."""
    last = len(network.nodes)
    budget = EXPANSION_WORK * _work(network, range(1, last))
    chosen: list[int] = []
    for i in range(len(blocks) - 1, -1, -1):
        if all(isinstance(network.nodes[k].layer, Rearrange) for k in blocks[i].nodes):
            continue
        budget -= PASSES * RIVALS * _work(network, range(blocks[i].entry + 1, last))
        if budget < 0 and chosen:
            break
        chosen.append(i)
    return frozenset(chosen)


def walk(plan: Plan, evaluation: Evaluation, label: torch.Tensor) -> Bounds:
    """Certified radii for one evaluated batch (label: (B,) the classes to keep).

    No perturbation of norm smaller than the radius changes the class of the exact network.
    """
    apart = distances(evaluation, plan.head, label)
    kappa = apart.amin(dim=1)
    rivals = nearest_rivals(evaluation, label, apart)
    rest = _Rest(len(plan.blocks), rivals.rest)
    floor = _floor(plan, evaluation, label)
    least = centre(evaluation, plan.smooth) if plan.smooth else None
    columns, expanding = [kappa], torch.ones_like(kappa, dtype=torch.bool)
    for i in range(len(plan.blocks) - 1, -1, -1):
        block = plan.blocks[i]
        kappa = torch.fmax(block_radius(plan, evaluation, block, kappa), floor[:, i])
        if i in plan.expanded:
            # 0 leaves a sample out: over this block and more its expansion no longer pays
            wanted = torch.where(expanding, kappa, torch.zeros_like(kappa))
            found = expansion_radius(evaluation, block.entry, rivals, wanted, plan.norm)
            rest, found = _within(plan, evaluation, rest, i, kappa, found)
            expanding = expanding & (found > kappa * (1 + EXPANSION_GAIN))
            kappa = torch.fmax(kappa, found)
        stack = plan.smooth.behind(block.entry) if plan.smooth else None
        if stack is not None and least is not None:
            found = taylor_radius(evaluation, stack, least, rivals, kappa, plan.norm)
            rest, found = _within(plan, evaluation, rest, i, kappa, found)
            kappa = torch.fmax(kappa, found)
        # what underflow may have spoilt certifies nothing
        kappa = torch.where(kappa > TINY, kappa, torch.zeros_like(kappa))
        columns.append(kappa)
    table = torch.stack(columns[::-1], dim=1)
    radius = table[:, 0]
    certified = torch.isfinite(radius) & (radius > TINY)
    radius = torch.where(certified, radius, torch.zeros_like(radius))
    return Bounds(radius, table, ("walk",) * len(label))


@dataclass(frozen=True)
class _Rest:
    """How far the value in front of block ``block`` may move before a rival that is not expanded
    wins (B,): as far back as anybody has asked."""

    block: int
    kappa: torch.Tensor


def _within(
    plan: Plan,
    evaluation: Evaluation,
    rest: _Rest,
    i: int,
    kappa: torch.Tensor,
    found: torch.Tensor,
) -> tuple[_Rest, torch.Tensor]:
    """What an expansion in front of block ``i`` found, no more than all other rivals allow.

    Where it found nothing above ``kappa``, they do not matter, and nothing is computed for them.
    """
    if not bool((found > kappa).any()):
        return rest, found
    for k in range(rest.block - 1, i - 1, -1):
        rest = _Rest(k, block_radius(plan, evaluation, plan.blocks[k], rest.kappa))
    return rest, torch.minimum(found, rest.kappa)


def _floor(plan: Plan, evaluation: Evaluation, label: torch.Tensor) -> torch.Tensor:
    """(B, blocks) what the walk in the 2-norm says of the value in front of each block.

    ‖δ‖₂ ≤ ‖δ‖₁ and ‖δ‖₂ ≤ √n‖δ‖_∞, so a deviation harmless up to κ₂ in the 2-norm is harmless up to
    κ₂ in the 1-norm and κ₂/√n in the ∞-norm. Products of 1- and ∞-norms grow so much faster
    with depth than products of 2-norms that this usually wins deep inside a network.
    """
    if plan.euclidean is None:
        return torch.zeros(evaluation.samples, len(plan.blocks), device=label.device)
    table = walk(plan.euclidean, evaluation, label).kappa[:, : len(plan.blocks)]
    if plan.norm is Norm.L1:
        return table
    sizes = [numel(plan.network.nodes[block.entry].shape) for block in plan.blocks]
    roots = torch.tensor(sizes, dtype=torch.float64, device=table.device).sqrt()
    return table / roots * (1 - 1e-15)


def block_radius(
    plan: Plan, evaluation: Evaluation, block: Segment, kappa: torch.Tensor
) -> torch.Tensor:
    """κ_in of a block from its κ_out."""
    if len(block.nodes) == 1:
        gain = evaluation.layer(block.exit).gain(plan.norm)
        if gain is not None:
            left = kappa - evaluation.rounding(block.exit, plan.norm) * (1 + 1e-14)
            left = torch.where(left > 0, left, torch.zeros_like(left))
            if gain > 0:
                return left * (1 - 1e-15) / gain
            # a constant layer stops every deviation; a gain that is no number proves nothing
            proved = (left > 0) & (gain == 0)
            return torch.where(proved, torch.inf, torch.zeros_like(left))

    for k in block.nodes:
        evaluation.rounding(k, plan.norm)  # once for all samples; steps take their rows of it

    def bound(rows: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        here = evaluation.take(rows, block.entry, block.exit)
        moves = forward_moves(here, block.nodes, block.entry, Deviation(rho), plan.norm)
        return moves[block.exit].size

    found = largest(bound, kappa, kappa / _gain_estimate(plan, evaluation, block))
    # nothing is harmful behind the block, so nothing is in front of it
    return torch.where(torch.isposinf(kappa), kappa, found)


def _gain_estimate(plan: Plan, evaluation: Evaluation, block: Segment) -> float:
    """A first guess at the block's gain: only a guess, any positive number would do."""
    product = 1.0
    for k in block.nodes:
        gain = evaluation.layer(k).gain(plan.norm)
        product *= 1.0 if gain is None or not 0 < gain < 1e100 else gain
    return product


class Walk:
    """The walk made ready for one network and norm.

    With an arithmetic, for the network as a runtime deploys it in that. The exact walk's radius
    then says over which balls errors are to be bounded; with these beside the rounding of every
    node's value the walk holds for what the runtime computes, up to that radius.
    """

    def __init__(self, network: Network, norm: Norm, arithmetic: Arithmetic | None = None) -> None:
        self.plan, self.arithmetic = plan(network, norm), arithmetic

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The blocks, and the affine head as one last stage."""
        nodes = self.plan.network.nodes
        groups = [block.nodes for block in self.plan.blocks]
        head = tuple(range(self.plan.head.start + 1, len(nodes)))
        return tuple(
            Stage("+".join(nodes[k].name for k in g), "+".join(nodes[k].op for k in g))
            for g in [*groups, head]
        )

    def __call__(self, evaluation: Evaluation, label: torch.Tensor) -> Bounds:
        bounds = walk(self.plan, evaluation, label)
        if self.arithmetic is None:
            return bounds
        errors = errors_over(evaluation, bounds.radius, self.plan.norm, self.arithmetic)
        there = Evaluation(evaluation.network, evaluation.values, errors)
        deployed = walk(without_taylor(self.plan), there, label)
        radius = torch.minimum(deployed.radius, bounds.radius)
        # nor may the input be said to move further than errors are known
        kappa = deployed.kappa.clone()
        kappa[:, 0] = torch.where(radius > 0, radius, kappa[:, 0])
        return replace(deployed, radius=radius, kappa=kappa)


def without_taylor(plan: Plan) -> Plan:
    """The plan without FC-Taylor, which knows no errors of others than the samples' values."""
    euclidean = None if plan.euclidean is None else without_taylor(plan.euclidean)
    return replace(plan, smooth=None, euclidean=euclidean)
