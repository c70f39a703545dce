"""Pulling a point back along the straight segment to its sample, while the class stays changed."""

from __future__ import annotations

import torch

from boundcert.attacks.base import Victim
from boundcert.attacks.geometry import finite_rows, per_row
from boundcert.attacks.gradients import changed
from boundcert.attacks.search import smallest_size

# Attacks stop a few per cent past the boundary, so [0.97, 1] usually brackets it.
_FACTORS = (0.97, 1.0)


def pull_back(
    victim: Victim,
    x: torch.Tensor,
    point: torch.Tensor,
    label: torch.Tensor,
    tolerance: float = 1e-4,
) -> torch.Tensor:
    """Move each point towards its sample as far as the victim's class change holds.

    Parameters
    ----------
    victim : Victim
        The float64 network.
    x, point : torch.Tensor
        Samples and the points found for them, (B, *S) float64.
    label : torch.Tensor
        The class predicted at each sample, (B,) int64.
    tolerance : float
        Relative width of the final bracket on the segment.

    Returns
    -------
    torch.Tensor
        (B, *S) float64. Points that are not finite, that do not change the victim's class, or
        whose sample the victim itself already misclassifies (the segment then has no inner
        end) come back as they were.
    """
    offset = point - x

    def flips(size: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return changed(victim, x[rows] + per_row(size, x) * offset[rows], label[rows])

    usable = finite_rows(point) & ~changed(victim, x, label)
    start = torch.ones_like(usable, dtype=x.dtype).masked_fill(~usable, torch.nan)
    size = smallest_size(flips, start, _FACTORS, tolerance)
    found = per_row(torch.isfinite(size), x)
    return torch.where(found, x + per_row(size, x) * offset, point)
