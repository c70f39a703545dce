"""A linear expansion of the margins over the last blocks, where that beats the product of gains.

For a rival j and any entry u, m_j(u+q) ≥ m_j(u) − ‖c_j‖_q·‖q‖ − R_j for all ‖q‖ ≤ ρ, with
c_j the margin's cotangent pulled back to u and R_j the remainders on the way at radius ρ
(:class:`~boundcert.bounds.propagate.Expansion`). So one pass at ρ proves the radius
min(ρ, min_j (m_j(u) − R_j)/‖c_j‖_q).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from boundcert.bounds.head import logit_error
from boundcert.bounds.propagate import (
    Evaluation,
    begin_expansion,
    end_expansion,
    forward_moves,
)
from boundcert.bounds.search import Prove, above, in_range, widen
from boundcert.layers.affine import Affine
from boundcert.layers.base import Deviation, norms_of
from boundcert.norms import Norm

#: Rivals expanded one by one; the others are covered by the product of gains.
RIVALS = 2
#: Expansions at different radii.
PASSES = 2


def amplification(evaluation: Evaluation, nodes: Iterable[int], norm: Norm) -> float:
    """Product of the absolute gains (at least 1 each) of the affine layers among ``nodes``."""
    layers = [evaluation.layer(k) for k in nodes]
    gains = [m.absolute_gain(n) for m in layers if isinstance(m, Affine) for n in (norm, norm.dual)]
    return math.prod(max(g, 1.0) for g in gains)


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

    def take(self, rows: torch.Tensor) -> Rivals:
        """Those of some samples."""
        if len(rows) == len(self.label):
            return self  # rows come in order, so these are all
        return Rivals(
            self.label[rows],
            self.index[:, rows],
            self.cotangent[:, rows],
            self.gap[:, rows],
            self.rest[rows],
        )


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
) -> torch.Tensor:
    """Radius (B,) at node ``entry`` within which the nearest rivals stay behind.

    ``known`` is a radius to look above. 0 where a layer on the way has no expansion.
    """
    nodes = tuple(range(entry + 1, len(evaluation.values)))
    for k in nodes:
        evaluation.rounding(k, norm)  # once for all samples; passes take their rows of it
    open_ = above(known)
    best = torch.zeros_like(known)
    if len(open_):
        here, near = evaluation.take(open_, entry), rivals.take(open_)
        prove, ceiling = _prover(here, nodes, near, norm)
        best[open_] = widen(prove, promising(known[open_], ceiling), PASSES)
    return best


def promising(known: torch.Tensor, ceiling: torch.Tensor) -> torch.Tensor:
    """``known``, 0 (which leaves a sample out) where no pass can reach beyond it."""
    return torch.where(ceiling > known, known, torch.zeros_like(known))


def _prover(
    evaluation: Evaluation, nodes: tuple[int, ...], rivals: Rivals, norm: Norm
) -> tuple[Prove, torch.Tensor]:
    """How far an expansion at radius ρ reaches, for some of the samples, and at most (B,).

    The linear part behind the last layer whose slopes depend on the radius is the same in all
    passes: it is computed once, be it only a part of the whole. Where it is the whole, no
    remainder can make a pass reach beyond the gap over the slope.
    """
    entry, amplified = nodes[0] - 1, amplification(evaluation, nodes, norm)
    cotangent = rivals.cotangent.reshape(-1, *evaluation.values[-1].shape)
    begun = begin_expansion(evaluation, nodes, cotangent, norm)
    settled, ceiling = None, torch.full_like(rivals.rest, torch.inf)
    if not begun.left:
        linear, begun = begun.split(entry)
        settled = slopes(linear, norm)
        ceiling = torch.where(settled > 0, rivals.gap / settled, torch.inf).amin(dim=0)

    def prove(rows: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        here, gap, start = evaluation.take(rows, entry), rivals.gap, begun
        if len(rows) < evaluation.samples:
            gap, start = gap[:, rows], begun.take(rows)
        moves = forward_moves(here, nodes, entry, Deviation(rho), norm)
        whole = end_expansion(here, start, moves, norm)
        if whole is None:
            return torch.zeros_like(rho)
        slope = slopes(whole.cotangents[entry], norm) if settled is None else settled[:, rows]
        left = (gap - whole.remainder(moves)) * (1 - 1e-15)
        reached = torch.where(slope > 0, left / slope, torch.inf) * (1 - 1e-15)
        reached = torch.where(left > 0, reached, torch.zeros_like(reached)).amin(dim=0)
        return in_range(reached, rho, gap, amplified)

    return prove, ceiling


def slopes(linear: torch.Tensor, norm: Norm) -> torch.Tensor:
    """(K, B) dual norms of linear parts, rounded up."""
    return norms_of(norm.dual, linear) * (1 + 4e-16 * (linear[0, 0].numel() + 8))
