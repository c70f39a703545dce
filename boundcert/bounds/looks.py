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

#: Looks end when the next would go no further in log s than this, if nothing else is said; or than
#: so many times the square of log s/ε, but no further than the last: the nearer to the frame's
#: radius a root is, the more exactly it is the one sought.
LOOK, SQUARE, FURTHEST = 1e-3, 10.0, 0.015
#: How the gap (see :func:`_gap`) falls with log s where nothing is known, and at most.
STEEP, STEEPEST = 2.0, 200.0
#: Most looks at the margins of one frame; they end when no more than a share of samples is left.
MOST_LOOKS, FEW = 5, 0.2
#: Gaps of up to about this are straight in log s, and count for no more where the root is enclosed.
FAR = 8.0
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
    them are of the precision ``rough``. Looks end at steps of ``look``,
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
    square = SQUARE if frame.forms else 0.0
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
        apart = _apart(reached / at)
        gap = _gap(apart)
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
        stride = _stride(apart, steep)
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
            enough = np.minimum(square * (here - centre) ** 2, FURTHEST)
            done = np.abs(gap) / steep <= np.maximum(enough, look)
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


def _apart(ratio: Numbers) -> Numbers:
    """ρ − 1 of ρ = reach(s)/s; nan, of no bound, is far below."""
    return np.minimum(np.where(ratio > LOWEST, ratio, LOWEST), HIGHEST) - 1.0


def _gap(apart: Numbers) -> Numbers:
    """ρ − 1, which is nearly straight in log s about the root, by its logarithm far from there."""
    return FAR * np.arcsinh(apart / FAR)


def _stride(apart: Numbers, steep: Numbers) -> Numbers:
    """How far in log s to the root, by how ``steep`` the gap falls there.

    Where ρ is a power of s, the logarithm of ρ tells; of both the smaller is taken.
    """
    straight = np.abs(_gap(apart)) / steep
    power = np.log1p(np.abs(apart)) / np.minimum(steep, STEEP)
    stride = np.copysign(np.minimum(straight, power), apart)
    return stride.clip(-math.log(RETREAT), math.log(STRIDE))
