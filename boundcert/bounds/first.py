"""Where the first frames of a search go: guesses, which prove nothing."""

from __future__ import annotations

import numpy as np
import torch

from boundcert.bounds.clock import Clock, OutOfTime
from boundcert.bounds.enclosure import Numbers
from boundcert.bounds.frame import Frame
from boundcert.bounds.looks import decided, frame_root
from boundcert.bounds.margins import Margins
from boundcert.bounds.problem import Problem
from boundcert.bounds.sketch import Sketch, worthwhile
from boundcert.bounds.trend import Trend
from boundcert.norms import Norm

#: The first frame looks at c·s·(k/s)^d, s the distance that the linearisation at the sample gives,
#: k what is known: c and d, and for balls of norm ∞, fitted to networks of all kinds. Rather too
#: low: bounds built too high up say little.
FIRST, FIRST_LINF = (0.2, 0.15), (0.5, 0.2)
#: So much nearer to the middle of all samples, on a log scale: radii of one network lie closer
#: together than linearisations say.
TOGETHER = 0.35
#: No more is made of a known radius that is a smaller share than this.
FAINT = 1e-6
#: The step at which looks at a sketch end, and the most that it moves a guess, as a factor.
ROUGHLY, MOVES = 0.25, 10.0


def straight(problem: Problem, margins: Margins) -> tuple[Numbers, Margins]:
    """(B,) distances to where the linearisations at the samples change class; the margins near.

    In float64 only where numbers are too large or small for float32.
    """
    nothing = torch.zeros(margins.samples, dtype=torch.float64)
    for precision in (torch.float32, torch.float64):
        frame = Frame.build(problem, nothing, precision=precision)
        reaches = margins.reach(frame)
        reach = decided(frame, reaches)
        if np.isfinite(reach).all() and (reach > 0).all():
            break
    return reach, margins.near(reaches, nothing)


def guessed(distance: Numbers, known: Numbers, norm: Norm) -> Numbers:
    """Radii (B,) from what the linearisations say and what is known."""
    share, power = FIRST_LINF if norm is Norm.LINF else FIRST
    return _together(distance * share * (known / distance).clip(FAINT, 1.0) ** power)


def _together(radius: Numbers) -> Numbers:
    """Radii (B,) drawn to the middle of those that are numbers."""
    known = radius[np.isfinite(radius) & (radius > 0)]
    if not len(known):
        return radius
    return radius ** (1 - TOGETHER) * np.exp(TOGETHER * np.median(np.log(known)))


def sketched(
    problem: Problem, margins: Margins, guess: Numbers, steep: Numbers, clock: Clock
) -> Numbers:
    """Guesses (B,) moved to where sketches there have their roots; ``steep`` as looks take it."""
    if not worthwhile(problem):
        return guess
    try:
        frame = Frame.build(problem, torch.from_numpy(guess), clock=clock, sketch=Sketch())
    except OutOfTime:
        return guess
    ahead = Trend(len(guess)).ahead(torch.arange(len(guess)), frame)
    root = frame_root(frame, margins, steep, ahead, torch.float32, look=ROUGHLY).root
    return np.where(np.isfinite(root), root.clip(guess / MOVES, guess * MOVES), guess)
