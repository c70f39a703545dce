"""A linear expansion of the margins over the last blocks, where that beats the product of gains.

For a rival j and any entry u, m_j(u+q) ≥ m_j(u) − ‖c_j‖_q·‖q‖ − R_j for all ‖q‖ ≤ ρ, with
c_j the margin's cotangent pulled back to u and R_j the remainders on the way at radius ρ
(:func:`~boundcert.bounds.propagate.backward_expansion`). So one pass at ρ proves the radius
min(ρ, min_j (m_j(u) − R_j)/‖c_j‖_q).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from boundcert.bounds.head import logit_error
from boundcert.bounds.propagate import Evaluation, backward_expansion, forward_moves
from boundcert.layers.base import Deviation, norms_of
from boundcert.norms import Norm

#: Rivals expanded one by one; the others are covered by the product of gains.
RIVALS = 2
#: Expansions at different radii.
PASSES = 2
#: How far above the radius known so far the first pass looks.
FIRST_STRIDE = 1.4


@dataclass(frozen=True)
class Rivals:
    """The nearest rivals of a batch, and what their margins are.

    Attributes
    ----------
    label, index : (B,) and (K, B) the classes.
    cotangent : (K, B, C) e_label − e_rival.
    gap : (K, B) margins, rounding taken off.
    rest : (B,) distance to the nearest rival left out (inf if none is).
    """

    label: torch.Tensor
    index: torch.Tensor
    cotangent: torch.Tensor
    gap: torch.Tensor
    rest: torch.Tensor


def nearest_rivals(evaluation: Evaluation, label: torch.Tensor, distances: torch.Tensor) -> Rivals:
    """The ``RIVALS`` nearest by hyperplane distance (B, C)."""
    samples, classes = distances.shape
    count = min(RIVALS, classes - 1)
    order = torch.topk(distances, count + 1, dim=1, largest=False)
    chosen = order.indices[:, :count].T
    logits = evaluation.values[-1].reshape(samples, -1)
    mine = label.expand(count, samples)
    cotangent = logits.new_zeros(count, samples, classes)
    cotangent = cotangent.scatter(2, mine[..., None], 1.0).scatter(2, chosen[..., None], -1.0)
    top, other = logits.gather(1, label[:, None])[:, 0], logits.gather(1, chosen.T).T
    error = logit_error(evaluation, len(evaluation.values) - 1)
    gap = top - other - 2 * error - 1e-15 * (top.abs() + other.abs())
    return Rivals(label, chosen, cotangent, gap, order.values[:, count])


def expansion_radius(
    evaluation: Evaluation, entry: int, rivals: Rivals, known: torch.Tensor, norm: Norm
) -> torch.Tensor | None:
    """Radius (B,) at node ``entry`` within which the nearest rivals stay behind.

    ``known`` is a radius to look above. None where a layer on the way has no expansion.
    """
    last = len(evaluation.values) - 1
    nodes = tuple(range(entry + 1, last + 1))
    shape = evaluation.values[last].shape
    cotangent = rivals.cotangent.reshape(-1, *shape)
    best, guess = torch.zeros_like(known), known * FIRST_STRIDE
    for _ in range(PASSES):
        moves = forward_moves(evaluation, nodes, entry, Deviation(guess), norm)
        expansion = backward_expansion(evaluation, nodes, entry, cotangent, moves, norm)
        if expansion is None:
            return None
        linear, rest = expansion
        terms = linear[0, 0].numel()
        slope = norms_of(norm.dual, linear) * (1 + 4e-16 * (terms + 8))
        left = (rivals.gap - rest) * (1 - 1e-15)
        reached = torch.where(slope > 0, left / slope, torch.inf) * (1 - 1e-15)
        reached = torch.where(left > 0, reached, torch.zeros_like(reached)).amin(dim=0)
        proved = torch.minimum(guess, reached)
        # fmax: a nan proves nothing
        best = torch.fmax(best, proved)
        guess = torch.where(reached >= guess, guess * 1.2, torch.sqrt(guess * reached))
        guess = torch.maximum(guess, best)
    return best
