"""The largest radius at which a bound was seen to hold."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: Relative gap between a proved radius and its estimate at which the search stops.
TOLERANCE = 1e-3


def largest(
    bound: Callable[[torch.Tensor], torch.Tensor],
    limit: torch.Tensor,
    start: torch.Tensor,
    steps: int = 12,
    tolerance: float = TOLERANCE,
) -> torch.Tensor:
    """Largest ρ tried with bound(ρ) ≤ limit, for each sample.

    Every returned radius was itself evaluated, so nothing is assumed of ``bound`` (not even
    monotonicity); a nan or inf counts as a failure. The next guess is ρ·limit/bound(ρ), which
    is exact for a linear bound and safe for a convex one, kept inside the bracket.

    Parameters
    ----------
    bound : (B,) radii → (B,) values.
    limit, start : (B,), start > 0 where anything is to be found.
    steps : most evaluations.

    Returns
    -------
    (B,) radii ≥ 0; 0 where nothing was proved.
    """
    low = torch.zeros_like(limit)
    high = torch.full_like(limit, torch.inf)
    # a hair inside: where ``start`` is the exact root, the first evaluation then closes the search
    guess = torch.where((start > 0) & torch.isfinite(start), start * (1 - 1e-9), 0.0)
    closed = ~((limit > 0) & (guess > 0))
    for _ in range(steps):
        if bool(closed.all()):
            break
        value = bound(guess)
        holds = (value <= limit) & ~closed
        fails = ~holds & ~closed
        low = torch.where(holds & (guess > low), guess, low)
        high = torch.where(fails & (guess < high), guess, high)
        scaled = guess * (limit / value)
        closed = closed | (holds & (scaled <= guess * (1 + tolerance)))
        closed = closed | (high <= low * (1 + tolerance))
        # shrink a little, so that rounding does not reject the exact root of a linear bound
        target = torch.where(torch.isfinite(scaled) & (scaled > 0), scaled * (1 - 1e-9), guess / 16)
        target = torch.where(holds, torch.minimum(target, guess * 1e6), target)
        target = torch.where(holds & ~torch.isfinite(scaled), guess * 16, target)
        inside = (target > low) & (target < high)
        middle = torch.where(
            low > 0, torch.sqrt(low) * torch.sqrt(high), torch.minimum(high, guess) / 16
        )
        guess = torch.where(closed, guess, torch.where(inside, target, middle))
    return low
