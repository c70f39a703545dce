"""The largest radius at which a bound was seen to hold."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: Relative gap between a proved radius and its estimate at which the search stops.
TOLERANCE = 1e-3
#: How far above the radius known so far the first widening pass looks, the most passes, and how
#: far beyond its radius a pass must reach for another one to be made.
FIRST_STRIDE, MOST_PASSES, WORTH_A_PASS = 1.4, 10, 1.5


def in_range(
    reached: torch.Tensor, rho: torch.Tensor, gap: torch.Tensor, amplification: float
) -> torch.Tensor:
    """``reached`` where underflow in an expansion cannot matter, else 0.

    Every product on the way back from the logits may lose 2^−1075 where it underflows. Later
    factors enlarge that by at most ``amplification``, the product of the layers' absolute gains,
    and it acts on moves of at most ρ (ρ² in a second-order term). Within the limits here that
    stays below 1e-120 in all, a share of less than 1e-20 of the smallest gap allowed: far inside
    the relative inflations.
    """
    if not amplification < 1e80:
        return torch.zeros_like(reached)
    return torch.where((gap.amin(dim=0) > 1e-100) & (rho < 1e60), reached, 0.0)


def widen(
    prove: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], known: torch.Tensor, passes: int
) -> torch.Tensor:
    """The best radius that passes above ``known`` prove, each sample for itself.

    A pass at ρ bounds what happens anywhere inside ρ, so it proves min(ρ, prove(ρ)), where
    prove(ρ) is how far its bound would reach. Samples that reach far beyond their ρ get more
    than ``passes``.

    Parameters
    ----------
    prove : (rows, (b,) radii of those samples) → (b,) reaches; nan proves nothing.
    known : (B,) radii to look above; samples where it is 0 or not finite are left out.

    Returns
    -------
    (B,) proved radii, 0 where no pass proved any.
    """
    best, guess = torch.zeros_like(known), known * FIRST_STRIDE
    rows = torch.nonzero(torch.isfinite(guess) & (guess > 0)).reshape(-1)
    for turn in range(MOST_PASSES):
        if not len(rows):
            break
        radius = guess[rows]
        reached = prove(rows, radius)
        # fmax: a nan proves nothing
        best[rows] = torch.fmax(best[rows], torch.minimum(radius, reached))
        whole = reached >= radius
        # a bound that holds with room to spare says how far to look: halfway, on a log scale
        middle = torch.sqrt(radius) * torch.sqrt(torch.clamp(reached, min=0))
        further = torch.clamp(middle, radius * 1.2, radius * 30)
        guess[rows] = torch.maximum(torch.where(whole, further, middle), best[rows])
        if turn + 1 >= passes:
            rows = rows[reached > WORTH_A_PASS * radius]
    return best


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
