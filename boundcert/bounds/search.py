"""The largest radius at which a bound was seen to hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

#: Relative gap between a proved radius and its estimate at which the search stops.
TOLERANCE = 1e-3
#: How far above the radius known so far the first widening pass looks, the most passes, and how
#: far beyond its radius a pass must reach for another one to be made.
FIRST_STRIDE, MOST_PASSES, WORTH_A_PASS = 1.4, 10, 1.5

#: (rows, (b,) radii of those samples) → (b,) how far a bound at those radii would reach.
Prove = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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


def above(known: torch.Tensor) -> torch.Tensor:
    """The samples that :func:`widen` makes passes for."""
    guess = known * FIRST_STRIDE
    return torch.nonzero(torch.isfinite(guess) & (guess > 0)).reshape(-1)


def widen(prove: Prove, known: torch.Tensor, passes: int) -> torch.Tensor:
    """The best radius that passes above ``known`` prove, each sample for itself.

    A pass at ρ bounds what happens anywhere inside ρ, so it proves min(ρ, prove(ρ)), where
    prove(ρ) is how far its bound would reach. Samples that reach far beyond their ρ get more
    than ``passes``.

    Parameters
    ----------
    prove : a nan proves nothing.
    known : (B,) radii to look above; samples where it is 0 or not finite are left out.

    Returns
    -------
    (B,) proved radii, 0 where no pass proved any.
    """
    best, guess = torch.zeros_like(known), known * FIRST_STRIDE
    rows = above(known)
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
        # one that reached nothing at all says nothing of where to look
        again = guess[rows] > best[rows]
        if turn + 1 >= passes:
            again &= reached > WORTH_A_PASS * radius
        rows = rows[again]
    return best


def largest(
    bound: Prove,
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
    bound : (rows, (b,) radii of those samples) → (b,) values.
    limit, start : (B,), start > 0 where anything is to be found.
    steps : most evaluations.

    Returns
    -------
    (B,) radii ≥ 0; 0 where nothing was proved.
    """
    # a few numbers a sample: NumPy takes a fraction of torch's time for them
    limits, first = limit.cpu().numpy(), start.cpu().numpy()
    found = np.zeros_like(limits)
    # a hair inside: where ``start`` is the exact root, the first evaluation then closes the search
    guess = np.where((first > 0) & np.isfinite(first), first * (1 - 1e-9), 0.0)
    rows = np.flatnonzero((limits > 0) & (guess > 0))
    guess, most = guess[rows], limits[rows]
    low, high = np.zeros_like(guess), np.full_like(guess, np.inf)
    with np.errstate(all="ignore"):
        for _ in range(steps):
            if not rows.size:
                break
            places = torch.from_numpy(rows).to(limit.device)
            value = bound(places, torch.from_numpy(guess).to(limit.device)).cpu().numpy()
            holds = value <= most
            low = np.where(holds & (guess > low), guess, low)
            high = np.where(~holds & (guess < high), guess, high)
            found[rows] = low
            scaled = guess * (most / value)
            closed = holds & (scaled <= guess * (1 + tolerance))
            closed |= high <= low * (1 + tolerance)
            guess = _next_guess(guess, scaled, holds, low, high)
            if closed.any():
                rows, guess, most, low, high = (
                    part[~closed] for part in (rows, guess, most, low, high)
                )
    return torch.from_numpy(found).to(limit.device)


def _next_guess(
    guess: np.ndarray, scaled: np.ndarray, holds: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Where to look next: at ``scaled`` if that lies inside the bracket, else in its middle."""
    usable = np.isfinite(scaled)
    # shrink a little, so that rounding does not reject the exact root of a linear bound
    target = np.where(usable & (scaled > 0), scaled * (1 - 1e-9), guess / 16)
    target = np.where(holds, np.minimum(target, guess * 1e6), target)
    target = np.where(holds & ~usable, guess * 16, target)
    middle = np.where(low > 0, np.sqrt(low) * np.sqrt(high), np.minimum(high, guess) / 16)
    inside: np.ndarray = np.where((target > low) & (target < high), target, middle)
    return inside
