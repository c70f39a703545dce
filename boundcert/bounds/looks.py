"""Looks at one frame: what it proves, and where its margins would vanish."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from boundcert.bounds.backward import Linear
from boundcert.bounds.frame import Ahead, Frame

#: Looks end when the gap (see :func:`_gap`) is this close to 0, or within a share of log s/ε.
LOOK, SHARE = 2e-3, 0.25
#: How the gap falls with log s where nothing is known, and at most.
STEEP, STEEP_TUNED, STEEPEST = 2.0, 6.0, 50.0
#: Most looks at the margins of one frame.
MOST_LOOKS = 4
#: A look goes at most this factor further than the last, and back; it is no use to look below the
#: least share of ε.
STRIDE, RETREAT, LEAST = 8.0, 4.0, 0.05
#: Where the root is enclosed, the next look stays this share of the enclosure away from its ends.
INSIDE = 0.02


class Looked(NamedTuple):
    """What looks at a frame say, (B,) each.

    Attributes
    ----------
    reach : how far the margins of the frame's own radius reach.
    proved : a radius that the frame proves.
    root : estimate of the root; nan where no look found a number.
    """

    reach: torch.Tensor
    proved: torch.Tensor
    root: torch.Tensor


def frame_root(
    frame: Frame,
    label: torch.Tensor,
    steep: torch.Tensor,
    ahead: Ahead | None = None,
) -> Looked:
    """What a frame proves, and where the root of reach(s) = s lies.

    The root is sought in log s, by secants between the nearest looks on either side (Illinois'
    rule), or along ``steep`` where all looks are on one side: what the last frame found, and what
    is found here is left there in place. Boxes that ``ahead`` estimates prove nothing.
    """
    eps, first = frame.eps, frame.eps
    low, here = torch.full_like(eps, -torch.inf), eps.log()
    high, side = -low, torch.zeros_like(eps)
    rise, fall = torch.zeros_like(eps), torch.zeros_like(eps)
    proved, root = torch.zeros_like(eps), here
    before, before_gap = torch.full_like(eps, torch.nan), torch.full_like(eps, torch.nan)
    open_ = torch.ones_like(eps, dtype=torch.bool)
    unknown = open_.clone()
    for look in range(MOST_LOOKS):
        at = eps if look == 0 else here.exp()
        reached = reach_of(frame if look == 0 else frame.tightened(at, ahead), label)
        first = reached if look == 0 else first
        unknown &= ~reached.isfinite()
        if ahead is None or look == 0:
            inside = torch.minimum(at, reached)
            proved = torch.where(open_ & (at <= eps) & (inside > proved), inside, proved)
        gap = _gap(reached / at)
        slope = (before_gap - gap) / (here - before)
        steep[:] = torch.where(open_ & slope.isfinite(), slope.clamp(1.0, STEEPEST), steep)
        up = gap >= 0
        # an end that stays where it is twice counts for half
        fall = torch.where(up & (side > 0), fall * 0.5, fall)
        rise = torch.where(~up & (side < 0), rise * 0.5, rise)
        side = torch.where(up, 1.0, -1.0)
        low, rise = torch.where(up, here, low), torch.where(up, gap, rise)
        high, fall = torch.where(up, high, here), torch.where(up, fall, gap)
        share = (rise / (rise - fall)).nan_to_num(0.5).clamp(INSIDE, 1 - INSIDE)
        stride = (gap / steep).clamp(-math.log(RETREAT), math.log(STRIDE))
        enclosed = low.isfinite() & high.isfinite()
        further = torch.where(enclosed, low + share * (high - low), here + stride)
        # so near the root that a step along the slope is better than where it is enclosed
        newton = here + stride
        inner = enclosed & (newton > low) & (newton < high) & (gap.abs() < 0.1)
        # right at the root, as at the farthest point of a range, there is no way to go
        further = torch.where(inner | (gap == 0), newton, further)
        # a sample that is done keeps its root, whoever else is looked at
        root = torch.where(open_, further, root)
        near = torch.clamp(SHARE * (here - eps.log()).abs(), min=LOOK)
        open_ &= ~((gap.abs() <= near) | (root < eps.log() + math.log(LEAST)))
        if not bool(open_.any()):
            break
        before, before_gap = here, gap
        here = torch.where(open_, further, here)
    return Looked(first, proved, torch.where(unknown, torch.nan, root.exp()))


def reach_of(frame: Frame, label: torch.Tensor) -> torch.Tensor:
    """(B,) signed radius at which the smallest margin would vanish; rounded down where positive."""
    margins: Linear = frame.margins(label)
    return frame.problem.region.within(margins.reach().reshape(len(label), -1).amin(dim=1))


def _gap(ratio: torch.Tensor) -> torch.Tensor:
    """log ρ of ρ = reach(s)/s ≥ 1, and −log(2 − ρ) below, which goes on as smoothly to −∞.

    Far from the root either way ρ is a power of s, or so; nan, of no bound, is far below.
    """
    above = ratio.clamp(min=1.0).log()
    below = (2 - ratio.clamp(max=1.0)).log()
    return (above - below).nan_to_num(-math.log(1e6), 500.0, -math.log(1e6))
