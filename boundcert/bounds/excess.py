"""How far entries of windows exceed weighted means of them: rows, bounded like any others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from boundcert.bounds.backward import Linear
from boundcert.bounds.sought import Sought, Start, bounds_on
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.relaxation import Relaxation
from boundcert.network.graph import Network

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame


@dataclass(frozen=True)
class Excess:
    """z_j − z̄ ≤ −bound for entries j of windows that were asked for, z̄ = Σ_k weight·z_k.

    Attributes
    ----------
    weight : (B, C, W, K).
    bound : (B, C, W, K) on z̄ − z_j, on balls as large as the frame's and smaller; +∞ where the
        entry was not asked for.
    """

    weight: torch.Tensor
    bound: Linear

    def at(self, eps: torch.Tensor) -> torch.Tensor:
        """(B, C, W) max_j z_j − z̄ at most, at radii eps; −∞ where nothing was asked."""
        found = self.bound.at(eps.reshape(-1, 1, 1, 1))
        return torch.where(self.bound.base == torch.inf, -torch.inf, -found).amax(dim=-1)

    def take(self, samples: torch.Tensor) -> Excess:
        """That of some samples."""
        bound = Linear(self.bound.base[samples], self.bound.slope[samples])
        return Excess(self.weight[samples], bound)


def windowed(network: Network) -> bool:
    """Whether there are maxima of windows in a network of primitive layers."""
    return any(isinstance(node.layer, MaxPool) for node in network.nodes)


def excess_of(frame: Frame, node: int, relaxation: Relaxation) -> Excess | None:
    """Bounds on what the node's relaxation asks for; None: nothing.

    Rows begin at the operand itself, whatever a runtime adds to it being in its deviation.
    """
    contrasts = relaxation.contrasts(frame.problem.room)
    if contrasts is None:
        return None
    (operand,) = frame.problem.network.nodes[node].inputs
    place = torch.nonzero(contrasts.asked)
    owner, entry = place[:, 0].contiguous(), (place[:, 1:] @ _strides(contrasts.asked))

    def first(cut: slice, precision: torch.dtype) -> Start:
        rows = contrasts.rows(place[cut], precision)
        return {operand: rows}, torch.zeros(len(rows), dtype=torch.float64)

    region = frame.problem.region
    # rows of the operand's own entries are told apart by other numbers
    name = -2 - node
    sought = Sought(name, first, contrasts.at_sample(), owner, entry, region.concretise)
    found = bounds_on(frame, sought, 0)
    base = torch.full(contrasts.asked.shape, torch.inf, dtype=torch.float64)
    slope = torch.zeros_like(base)
    # what is no number bounds nothing; +∞ says that nothing was asked
    base[contrasts.asked] = torch.where(found.base == torch.inf, torch.nan, found.base)
    slope[contrasts.asked] = found.slope
    return Excess(contrasts.weight, Linear(base, slope))


def _strides(asked: torch.Tensor) -> torch.Tensor:
    """What tells entries (channel, window, entry) of one sample apart."""
    windows, entries = asked.shape[2:]
    return torch.tensor([windows * entries, entries, 1])
