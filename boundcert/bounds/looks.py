"""Looks at one frame: what it proves, and where its margins would vanish."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from boundcert.bounds.enclosure import Numbers
from boundcert.bounds.frame import Ahead, Frame
from boundcert.bounds.margins import Margins

#: Looks end when the gap (see :func:`_gap`) is this close to 0, if nothing else is said, or within
#: a share of log s/ε.
LOOK, SHARE = 4e-3, 0.35
#: How the gap falls with log s where nothing is known, and at most.
STEEP, STEEP_TUNED, STEEPEST = 2.0, 6.0, 50.0
#: Most looks at the margins of one frame; they end when no more than a share of samples is left.
MOST_LOOKS, FEW = 5, 0.2
#: Gaps count for no more than this where the root is enclosed: far out they say little.
FAR = 1.0
#: Ratios of reaches and radii count for no less and no more.
LOWEST, HIGHEST = -1e6, 1e217
#: A look goes at most this factor further than the last, and back; it is no use to look below the
#: least share of ε.
STRIDE, RETREAT, LEAST = 8.0, 4.0, 0.05
#: A look that is to prove something goes this share of what may be lost below the root.
BELOW = 0.3
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

    reach: Numbers
    proved: Numbers
    root: Numbers


def frame_root(
    frame: Frame,
    margins: Margins,
    steep: Numbers,
    ahead: Ahead | None = None,
    rough: torch.dtype = torch.float64,
    within: float | None = None,
    look: float = LOOK,
) -> Looked:
    """What a frame proves, and where the root of reach(s) = s lies.

    The root is sought in log s, by secants between the nearest looks on either side (Illinois'
    rule), or along ``steep`` where all looks are on one side: what the last frame found, and what
    is found here is left there in place. Boxes that ``ahead`` estimates prove nothing; rows over
    them are of the precision ``rough``. Looks end at gaps of ``look``,
    or with ``within`` when what they prove lies within that share of the root. All margins given
    count for what is proved, also those that later looks leave out; see :meth:`Margins.near`.
    """
    eps = frame.eps.numpy()
    base = frame if ahead is None else replace(frame, precision=rough)
    centre = np.log(eps)
    low, here, high = np.full_like(eps, -np.inf), centre, np.full_like(eps, np.inf)
    rise, fall, side = np.zeros_like(eps), np.zeros_like(eps), np.zeros_like(eps)
    first, proved, root = eps, np.zeros_like(eps), here
    before, before_gap = np.full_like(eps, np.nan), np.full_like(eps, np.nan)
    open_ = np.ones_like(eps, dtype=np.bool_)
    unknown = open_.copy()
    # without forms all boxes ahead are as a frame there would find them
    share = SHARE if frame.forms else 0.0
    few = FEW * len(eps) if within is None else 0
    for turn in range(MOST_LOOKS):
        at = eps if turn == 0 else np.exp(here)
        there = frame if turn == 0 else base.tightened(torch.from_numpy(at), ahead)
        reaches = margins.reach(there)
        reached = decided(there, reaches)
        if turn == 0:
            first, margins = reached, margins.near(reaches, frame.eps)
        unknown &= ~np.isfinite(reached)
        if ahead is None or turn == 0:
            inside = np.minimum(at, reached)
            proved = np.where(open_ & (at <= eps) & (inside > proved), inside, proved)
        gap = _gap(reached / at)
        slope = (before_gap - gap) / (here - before)
        steep[:] = np.where(open_ & np.isfinite(slope), slope.clip(1.0, STEEPEST), steep)
        up = gap >= 0
        # an end that stays where it is twice counts for half
        fall = np.where(up & (side > 0), fall * 0.5, fall)
        rise = np.where(~up & (side < 0), rise * 0.5, rise)
        side = np.where(up, 1.0, -1.0)
        low, rise = np.where(up, here, low), np.where(up, np.minimum(gap, FAR), rise)
        high, fall = np.where(up, high, here), np.where(up, fall, np.maximum(gap, -FAR))
        part = rise / (rise - fall)
        part = np.where(np.isnan(part), 0.5, part).clip(INSIDE, 1 - INSIDE)
        stride = (gap / steep).clip(-math.log(RETREAT), math.log(STRIDE))
        enclosed = np.isfinite(low) & np.isfinite(high)
        further = np.where(enclosed, low + part * (high - low), here + stride)
        # so near the root that a step along the slope is better than where it is enclosed
        newton = here + stride
        inner = enclosed & (newton > low) & (newton < high) & (np.abs(gap) < 0.1)
        # right at the root, as at the farthest point of a range, there is no way to go
        further = np.where(inner | (gap == 0), newton, further)
        # a sample that is done keeps its root, whoever else is looked at
        root = np.where(open_, further, root)
        if within is None:
            done = np.abs(gap) <= np.maximum(share * np.abs(here - centre), look)
        else:
            done = proved >= np.exp(root) * (1 - within)
            further = further - BELOW * within
        open_ &= ~(done | (root < centre + math.log(LEAST)))
        if open_.sum() <= few:
            break
        before, before_gap = here, gap
        here = np.where(open_, further, here)
    return Looked(first, proved, np.where(unknown, np.nan, np.exp(root)))


def decided(frame: Frame, reaches: torch.Tensor) -> Numbers:
    """(B,) signed radius at which the smallest margin would vanish; rounded down where positive."""
    return frame.problem.region.within(reaches.amin(dim=1)).numpy()


def _gap(ratio: Numbers) -> Numbers:
    """log ρ of ρ = reach(s)/s ≥ 1, and −log(2 − ρ) below, which goes on as smoothly to −∞.

    Far from the root either way ρ is a power of s, or so; nan, of no bound, is far below.
    """
    ratio = np.minimum(np.where(ratio > LOWEST, ratio, LOWEST), HIGHEST)
    return np.log(np.maximum(ratio, 1.0)) - np.log(2 - np.minimum(ratio, 1.0))
