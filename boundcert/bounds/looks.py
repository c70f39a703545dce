"""Looks at one frame: what it proves, and where its margins would vanish."""

from __future__ import annotations

import torch

from boundcert.bounds.backward import Linear
from boundcert.bounds.enclosure import STRIDE
from boundcert.bounds.frame import Frame

#: Looks end when reach(s)/s is this close to 1, or in logarithms within a share of s/ε: the
#: secant then does the rest.
LOOK, SHARE = 2e-3, 0.5
#: How log reach(s)/s falls with log s where nothing is known, and at most.
STEEP, STEEP_TUNED, STEEPEST = 2.0, 6.0, 50.0
#: Most looks at the margins of one frame.
MOST_LOOKS = 6
#: Where nothing is known below a radius whose reach is not positive, the next look is at this
#: share of it, down to the least share of ε.
RETREAT, LEAST = 0.3, 0.1


def frame_root(
    frame: Frame, label: torch.Tensor, straight: torch.Tensor, steep: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(proved radius, estimated root of reach(s) = s), (B,) each, for one frame.

    log reach(s)/s falls by ``steep`` for a unit of log s, or so: what the last frame found, and
    what is found here is left there in place. Two looks are a secant; where the reach is not
    positive, a retreat or a secant of reach(s) − s itself comes back below. The root is nan where
    no look found a number.
    """
    eps = frame.eps
    low, low_gap = torch.zeros_like(eps), straight.clone()
    high, high_gap = torch.full_like(eps, torch.inf), torch.full_like(eps, -torch.inf)
    here, proved, root = eps, torch.zeros_like(eps), eps.clone()
    before, before_log = torch.full_like(eps, torch.nan), torch.full_like(eps, torch.nan)
    open_ = torch.ones_like(eps, dtype=torch.bool)
    unknown = open_.clone()
    for look in range(MOST_LOOKS):
        reached = reach_of(frame if look == 0 else frame.tightened(here), label)
        unknown &= ~reached.isfinite()
        inside = torch.minimum(here, reached)
        proved = torch.where(open_ & (here <= eps) & (inside > proved), inside, proved)
        gap, log = reached - here, (reached / here).log()
        slope = (before_log - log) / (here / before).log()
        steep[:] = torch.where(open_ & slope.isfinite(), slope.clamp(1.0, STEEPEST), steep)
        newton = here * (log / steep).exp()
        above = ~(gap >= 0)
        high, high_gap = torch.where(above, here, high), torch.where(above, gap, high_gap)
        low, low_gap = torch.where(above, low, here), torch.where(above, low_gap, gap)
        share = low_gap / (low_gap - high_gap)
        secant = low + (high - low) * torch.where(share.isfinite(), share, 0.5)
        newton = torch.where((newton > low) & (newton < high), newton, secant)
        newton = torch.where((low > 0) | log.isfinite(), newton, here * RETREAT)
        # right at the root, as at the farthest point of a range, neither has a way to go
        newton = torch.where(gap == 0, here, newton)
        # a sample that is done keeps its root, whoever else is looked at
        root = torch.where(open_, newton, root)
        near = torch.clamp(SHARE * (here / eps).log().abs(), min=LOOK)
        open_ &= ~((log.abs() <= near) | (root < LEAST * eps))
        if not bool(open_.any()):
            break
        before, before_log = here, log
        here = torch.where(open_, torch.minimum(newton, here * STRIDE), here)
    return proved, torch.where(unknown, torch.nan, root)


def reach_of(frame: Frame, label: torch.Tensor) -> torch.Tensor:
    """(B,) signed radius at which the smallest margin would vanish; rounded down where positive."""
    margins: Linear = frame.margins(label)
    return frame.problem.region.within(margins.reach().reshape(len(label), -1).amin(dim=1))
