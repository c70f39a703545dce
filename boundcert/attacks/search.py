"""The one vectorised size search that every attack shares.

This is the binary search of Algorithm 2.1 (dissertation of J. Peck, §2.5.2), for all samples
at once, each with its own bracket, and without the data-dependent upper end M: the bracket
grows until the class changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from boundcert.norms import Norm

# flips(sizes (A,), rows (A,)) -> (A,) bool: does this size change the class of this sample?
Flips = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# From a thousandth of the sample's own size to about 1e9 times it.
DOUBLINGS: tuple[float, ...] = tuple(2.0**k for k in range(-10, 31))


def expand(
    flips: Flips, start: torch.Tensor, factors: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Try ``start * factor`` for increasing factors until the class changes.

    Parameters
    ----------
    flips : Flips
        Called with the sizes and row numbers of the samples that are still open only.
    start : torch.Tensor
        (B,) float64; a NaN row is not searched.
    factors : sequence of float
        Increasing and positive.

    Returns
    -------
    low, high : torch.Tensor
        (B,) float64: the last size that did not change the class (0 if the first one did)
        and the first that did (NaN if none did).
    """
    low, high = torch.zeros_like(start), torch.full_like(start, torch.nan)
    rows = torch.isfinite(start).nonzero()[:, 0]
    for factor in factors:
        if rows.numel() == 0:
            break
        size = start[rows] * factor
        hit = flips(size, rows)
        high[rows[hit]] = size[hit]
        low[rows[~hit]] = size[~hit]
        rows = rows[~hit]
    return low, high


def bisect(flips: Flips, low: torch.Tensor, high: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Halve each bracket until ``high - low <= tolerance * high``; returns the upper ends.

    ``high`` must change the class, or be NaN (left alone). The upper end only ever moves to
    a size that was seen to change the class.

    The number of steps is bounded: enough for a threshold down to a hundredth of ``high``,
    but a sample on a boundary, whose class changes at every size, must not be driven to
    sizes that a float32 input cannot hold. Smaller thresholds get an upper end all the same,
    less than ``tolerance`` times the first ``high``.
    """
    low, high = low.clone(), high.clone()
    for _ in range(math.ceil(-math.log2(tolerance)) + 7):
        rows = (high - low > tolerance * high).nonzero()[:, 0]  # false where high is NaN
        if rows.numel() == 0:
            break
        middle = low[rows] + (high[rows] - low[rows]) / 2
        hit = flips(middle, rows)
        high[rows[hit]] = middle[hit]
        low[rows[~hit]] = middle[~hit]
    return high


def smallest_size(
    flips: Flips, start: torch.Tensor, factors: Sequence[float], tolerance: float
) -> torch.Tensor:
    """Smallest class-changing size found, by :func:`expand` then :func:`bisect`: (B,) or NaN."""
    low, high = expand(flips, start, factors)
    return bisect(flips, low, high, tolerance)


def natural_size(x: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The size to search around, (B, *S) → (B,): the sample's own norm.

    No data range is known. A sample at (or next to) the origin says nothing about it, hence
    the floor; starting too high costs only a few more halvings.
    """
    size = norm.of_rows(x)
    return torch.where(size > 1e-9, size, torch.ones_like(size))
