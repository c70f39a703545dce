"""The walk: from the exact distance at the output back to a certified radius at the input.

If every deviation of a block's output from its computed value smaller than κ_out is harmless, so
is every deviation of its input smaller than κ_in = sup{ρ : φ(ρ) + e ≤ κ_out}, φ the block's
modulus and e its rounding error: an exact block at the computed input + q, ‖q‖ ≤ ρ, gives
something within φ(ρ) + e of the computed output. So a network evaluated in float64 certifies
the network in exact arithmetic. (Corrects 003, Algorithm 5.1, which asks for growth of the norm
instead; see the errata tests.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from boundcert.bounds.head import Head, compose, distances
from boundcert.bounds.propagate import Evaluation, forward_moves
from boundcert.bounds.search import largest
from boundcert.bounds.segments import Segment, segments
from boundcert.bounds.tail import Rivals, expansion_radius, nearest_rivals
from boundcert.layers.base import Deviation
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: Below this a radius is lost in underflow and counts as 0.
TINY = 1e-290
#: Blocks in front of the head over which the margins are expanded linearly.
EXPANDED = 1


@dataclass(frozen=True)
class Plan:
    """What the walk computes once per network and norm."""

    network: Network
    norm: Norm
    head: Head
    blocks: tuple[Segment, ...]


@dataclass(frozen=True)
class WalkResult:
    """Radii of a batch, and how the walk came to them.

    Attributes
    ----------
    radius : (B,) certified: no perturbation of smaller norm changes the class of the exact
        network. 0 where nothing is certified.
    kappa : (B, blocks+1): harmless deviation at each block's entry, from the input on; the last
        column is the exact distance at the head.
    """

    radius: torch.Tensor
    kappa: torch.Tensor


def plan(network: Network, norm: Norm) -> Plan:
    """Blocks and head of a network; operator norms are computed (and cached) on first use."""
    head = compose(network, norm)
    blocks = tuple(b for b in segments(network) if b.exit <= head.start)
    if blocks and blocks[-1].exit != head.start:
        raise AssertionError("the head must start at a cut point")
    return Plan(network, norm, head, blocks)


def walk(plan: Plan, evaluation: Evaluation, label: torch.Tensor) -> WalkResult:
    """Certified radii for one evaluated batch (label: (B,) the classes to keep)."""
    apart = distances(evaluation, plan.head, label)
    kappa = apart.amin(dim=1)
    rivals = nearest_rivals(evaluation, label, apart)
    rest = rivals.rest
    columns = [kappa]
    for i in range(len(plan.blocks) - 1, -1, -1):
        block = plan.blocks[i]
        kappa = block_radius(plan, evaluation, block, kappa)
        if i >= len(plan.blocks) - EXPANDED:
            rest = block_radius(plan, evaluation, block, rest)
            kappa = _better(plan, evaluation, block.entry, rivals, rest, kappa)
        columns.append(kappa)
    table = torch.stack(columns[::-1], dim=1)
    radius = table[:, 0]
    certified = torch.isfinite(radius) & (radius > TINY)
    return WalkResult(torch.where(certified, radius, torch.zeros_like(radius)), table)


def _better(
    plan: Plan,
    evaluation: Evaluation,
    entry: int,
    rivals: Rivals,
    rest: torch.Tensor,
    kappa: torch.Tensor,
) -> torch.Tensor:
    """The better of ``kappa`` and an expansion of the nearest margins, the others at ``rest``."""
    found = expansion_radius(evaluation, entry, rivals, kappa, plan.norm)
    return kappa if found is None else torch.maximum(kappa, torch.minimum(found, rest))


def block_radius(
    plan: Plan, evaluation: Evaluation, block: Segment, kappa: torch.Tensor
) -> torch.Tensor:
    """κ_in of a block from its κ_out."""
    if len(block.nodes) == 1:
        gain = evaluation.layer(block.exit).gain(plan.norm)
        if gain is not None:
            left = kappa - evaluation.rounding(block.exit, plan.norm) * (1 + 1e-14)
            left = torch.where(left > 0, left, torch.zeros_like(left))
            return left * (1 - 1e-15) / gain if gain > 0 else torch.full_like(kappa, torch.inf)

    def bound(rho: torch.Tensor) -> torch.Tensor:
        start = Deviation(rho)
        moves = forward_moves(evaluation, block.nodes, block.entry, start, plan.norm)
        return moves[block.exit].size

    return largest(bound, kappa, kappa / _gain_estimate(plan, evaluation, block))


def _gain_estimate(plan: Plan, evaluation: Evaluation, block: Segment) -> float:
    """A first guess at the block's gain: only a guess, any positive number would do."""
    product = 1.0
    for k in block.nodes:
        gain = evaluation.layer(k).gain(plan.norm)
        product *= 1.0 if gain is None or not 0 < gain < 1e100 else gain
    return product
