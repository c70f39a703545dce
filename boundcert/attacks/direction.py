"""Attacks that fix one direction and search its size, and the search for any fixed-size attack."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch

from boundcert.attacks.base import FixedEpsilonAttack, MinimizationAttack, Victim
from boundcert.attacks.geometry import per_row, step_within, unit
from boundcert.attacks.gradients import changed
from boundcert.attacks.search import DOUBLINGS, natural_size, smallest_size
from boundcert.norms import Norm

# perturb(sizes (A,), rows (A,)) -> candidate points (A, *S) of those samples
SizedPerturb = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_TOLERANCE = 1e-3


def _search(
    perturb: SizedPerturb, victim: Victim, x: torch.Tensor, label: torch.Tensor, start: torch.Tensor
) -> torch.Tensor:
    """The candidate of the smallest size that changes the victim's class; NaN where none."""

    def flips(size: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return changed(victim, perturb(size, rows), label[rows])

    size = smallest_size(flips, start, DOUBLINGS, _TOLERANCE)
    result = torch.full_like(x, torch.nan)
    rows = torch.isfinite(size).nonzero()[:, 0]
    if rows.numel():
        result[rows] = perturb(size[rows], rows)
    return result


def minimize_by_search(
    attack: FixedEpsilonAttack, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
) -> torch.Tensor:
    """Turn any fixed-size attack into a minimal one by searching its epsilon.

    Same arguments and result as :meth:`MinimizationAttack.minimize`; the attack is run
    afresh at every size tried.
    """

    def perturb(size: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return attack.perturb(victim, x[rows], label[rows], norm, size)

    return _search(perturb, victim, x, label, natural_size(x, norm))


class DirectionAttack(FixedEpsilonAttack, MinimizationAttack):
    """An attack along one direction, which does not depend on the size of the step."""

    @abstractmethod
    def direction(
        self, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
    ) -> torch.Tensor:
        """The direction to move in, (B, *S) float64; its length is ignored, zero means none."""

    def perturb(
        self,
        victim: Victim,
        x: torch.Tensor,
        label: torch.Tensor,
        norm: Norm,
        epsilon: torch.Tensor,
    ) -> torch.Tensor:
        """The point at distance ``epsilon`` along the direction (see the base class)."""
        return step_within(x, unit(self.direction(victim, x, label, norm), norm), norm, epsilon)

    def minimize(
        self, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
    ) -> torch.Tensor:
        """The nearest class change found along the direction, which is computed once."""
        heading = unit(self.direction(victim, x, label, norm), norm)

        def perturb(size: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return x[rows] + per_row(size, x) * heading[rows]

        nowhere = ~(norm.of_rows(heading) > 0)
        start = natural_size(x, norm).masked_fill(nowhere, torch.nan)
        return _search(perturb, victim, x, label, start)
