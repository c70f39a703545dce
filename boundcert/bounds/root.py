"""The largest radius that frames prove: a safeguarded root search, each sample for itself."""

from __future__ import annotations

import torch

from boundcert.bounds.backward import Linear
from boundcert.bounds.clock import Clock, OutOfTime
from boundcert.bounds.frame import Frame, Problem

#: A frame whose root lies so close above or below its radius is the last: what is proved is the
#: radius in the first case, and in the second the root, whose error is a fraction of the gap.
GAP_ABOVE, GAP_BELOW = 3e-4, 8e-4
#: Looks end when they are this close to the root, or to within a share of its distance from ε.
LOOK, SHARE = 2e-4, 0.1
#: Most frames that are built for a sample, and most looks at the margins of one frame.
MOST_FRAMES, MOST_LOOKS = 14, 6
#: The first frame looks at this share of the distance that the linearisation at the sample gives.
FIRST = 0.1
#: Frames are built a little above the root, so that the root itself is proved inside them.
ABOVE = 1.0 + 4e-4
#: Until the radius sought is enclosed, the next frame goes this power of R/ε further, where R is
#: the root that the frame at ε found: above ε, and below.
CLIMB, DESCEND = 0.9, 0.7
#: How far ahead of their radius the first frames look for entries that will become loose.
AHEAD = (2.0, 1.3, 1.05)
#: With multipliers the first frame looks so much above what is known.
HIGHER = 1.25
#: A step between frames is at most a factor.
STRIDE = 8.0


def largest_radius(
    problem: Problem,
    label: torch.Tensor,
    known: torch.Tensor,
    ball: bool,
    clock: Clock,
) -> torch.Tensor:
    """Radii (B,) proved by relaxation, at least ``known`` (which is proved already).

    ``ball`` lets multipliers see the nodes' 2-norms. When the clock says that time is over, what
    is proved so far is returned.

    A frame built at ε proves min(s, reach(s)) for every s ≤ ε, reach(s) being how far its margins
    stay positive with the boxes of radius s. Above ε the same forms only estimate what a frame
    there would find. The radius sought is where the root R(ε) of reach(s) = s is ε itself; the
    next frame is built where a secant in log ε, log R says.
    """
    best = known.clone()
    straight = _reach(Frame.build(problem, torch.zeros_like(known)), label)
    guess = torch.maximum(straight * FIRST, best * (HIGHER if ball else ABOVE))
    search = _Enclosure(guess)
    rows = torch.nonzero(straight.isfinite() & (guess > 0) & guess.isfinite()).reshape(-1)
    for turn in range(MOST_FRAMES):
        if not len(rows) or (turn and clock.over):
            break
        started, eps = clock.elapsed, guess[rows]
        ahead = AHEAD[turn] if turn < len(AHEAD) else 1.0
        try:
            frame = Frame.build(problem.take(rows), eps, ahead, ball, clock)
        except OutOfTime:
            break
        proved, root = frame_root(frame, label[rows], straight[rows])
        best[rows] = torch.fmax(best[rows], proved)
        guess[rows] = torch.maximum(search.next(rows, eps, root), best[rows]) * ABOVE
        clock.step = clock.elapsed - started
        rows = rows[~((root <= eps * (1 + GAP_ABOVE)) & (root >= eps * (1 - GAP_BELOW)))]
    return best


class _Enclosure:
    """Where R(ε) = ε lies: log ε and log R/ε at the nearest frame on each side."""

    def __init__(self, like: torch.Tensor) -> None:
        self.below = torch.full_like(like, -torch.inf)
        self.above = torch.full_like(like, torch.inf)
        self.rise, self.fall = torch.zeros_like(like), torch.zeros_like(like)
        self.last = torch.zeros_like(like)

    def next(self, rows: torch.Tensor, eps: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
        """The next ε to try, after a frame at ``eps`` found ``root``."""
        here = eps.log()
        most = torch.full_like(eps, STRIDE).log()
        gap = (torch.clamp(root, min=1e-300).log() - here).clamp(-most, most)
        up = (gap >= 0) & (here > self.below[rows])
        down = (gap < 0) & (here < self.above[rows])
        # Illinois' rule: an end that stays where it is twice counts for half
        again = self.last[rows]
        self.fall[rows] = torch.where(up & (again > 0), self.fall[rows] * 0.5, self.fall[rows])
        self.rise[rows] = torch.where(down & (again < 0), self.rise[rows] * 0.5, self.rise[rows])
        self.last[rows] = up.to(eps.dtype) - down.to(eps.dtype)
        self.below[rows] = torch.where(up, here, self.below[rows])
        self.rise[rows] = torch.where(up, gap, self.rise[rows])
        self.above[rows] = torch.where(down, here, self.above[rows])
        self.fall[rows] = torch.where(down, gap, self.fall[rows])
        low, high = self.below[rows], self.above[rows]
        rise, fall = self.rise[rows], self.fall[rows]
        share = (rise / (rise - fall)).nan_to_num(0.5).clamp(0.02, 0.98)
        open_ = here + gap * torch.where(gap >= 0, CLIMB, DESCEND)
        enclosed = low.isfinite() & high.isfinite()
        return torch.where(enclosed, low + share * (high - low), open_).exp()


def frame_root(
    frame: Frame, label: torch.Tensor, straight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(proved radius, estimated root of reach(s) = s), (B,) each, for one frame.

    The reach falls from ``straight`` at s = 0, slowly at first and about linearly near the root,
    so secants close in quickly; they are kept inside the bracket.
    """
    eps = frame.eps
    low, low_gap = torch.zeros_like(eps), straight.clone()
    high, high_gap = torch.full_like(eps, torch.inf), torch.full_like(eps, -torch.inf)
    here, proved = eps, torch.zeros_like(eps)
    open_ = torch.ones_like(eps, dtype=torch.bool)
    for look in range(MOST_LOOKS):
        reached = _reach(frame if look == 0 else frame.tightened(here), label)
        inside = torch.minimum(here, reached)
        proved = torch.where(open_ & (here <= eps) & (inside > proved), inside, proved)
        gap = reached - here
        above = ~(gap >= 0)
        high, high_gap = torch.where(above, here, high), torch.where(above, gap, high_gap)
        low, low_gap = torch.where(above, low, here), torch.where(above, low_gap, gap)
        share = low_gap / (low_gap - high_gap)
        secant = low + (high - low) * torch.where(share.isfinite(), share, 0.5)
        grown = torch.minimum(low * 4, low + 0.5 * low_gap)
        here = torch.where(open_, torch.where(high.isinf(), grown, secant), here)
        # a sample that is done keeps its root, whoever else is looked at
        open_ &= gap.abs() > torch.maximum(LOOK * here, SHARE * (here - eps).abs())
        if not bool(open_.any()):
            break
    return proved, here


def _reach(frame: Frame, label: torch.Tensor) -> torch.Tensor:
    """(B,) signed radius at which the smallest margin would vanish; rounded down where positive."""
    margins: Linear = frame.margins(label)
    return margins.reach().reshape(len(label), -1).amin(dim=1)
