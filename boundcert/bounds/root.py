"""The largest radius that frames prove: a safeguarded root search, each sample for itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from boundcert.bounds.clock import Clock, OutOfTime
from boundcert.bounds.enclosure import STRIDE, Enclosure, Numbers, Places
from boundcert.bounds.excess import windowed
from boundcert.bounds.first import guessed, sketched, straight
from boundcert.bounds.frame import Frame
from boundcert.bounds.kept import Kept
from boundcert.bounds.looks import STEEP, decided, frame_root
from boundcert.bounds.margins import Margins
from boundcert.bounds.problem import Problem
from boundcert.bounds.trend import Trend
from boundcert.norms import Norm

#: A frame is the last when what it proves comes so close to its root, and looks inside it go on
#: until they are this close.
GAP, INSIDE = 7e-4, 5e-4
#: A scout is the last when its root is off by no more than this, as far as can be told.
SLIP = 5e-4
#: A root is off by no more than this share of its distance from the frame; and where two frames
#: are known, by no more than the last root was, which the last frame tells, with this factor.
OFF, AGAIN = 0.04, 2.0
#: The root that scouts may find is at most this factor below their radius, and later ones': far
#: down there bounds shrink faster than those about them tell.
DESCENT, LATER = 3.0, 1.6
#: Where bounds jump, as lines do when a box grows past a kink's middle, a root is known well enough
#: between frames on either side of the jump that are so close together.
APART = 1e-3
#: With multipliers, where an ascent comes next, as close as a search need be will do.
GAP_DUAL = 1e-3
#: A frame that is to prove a root is built at this share of it: the first look at its margins then
#: succeeds.
PROVED = 1.0 - 1.5e-4
#: A scouted root below this share of what is known is not worth a frame.
SURELY = 0.9
#: Share of the time left that scouting may take.
SCOUTING = 0.5
#: Scouting ends when no more than this share of samples is left: they go on beside the others.
FEW = 0.2
#: Most frames that are built for a sample.
MOST_FRAMES = 14
#: No frame is built nearer to what is proved already.
ABOVE = 1.0 + 4e-4
#: Until the radius sought is enclosed, the next frame of an ascent goes this power of R/ε further,
#: where R is the root that the frame at ε found: a little past it, so as to enclose it.
BEYOND = 1.1
#: Where multipliers or an ascent are to help the first frame looks so much above what is known.
HIGHER, HIGHER_LINF = 1.15, 1.05
#: A radius that is so little above what is known: a frame there that finds less is the last.
HOPELESS = 1.002
#: An ascent that proved less than is known is tried again between there and where it was, at this
#: share of the way; what it proves this little below its own radius is about its root.
BACK, NEARER = 1 / 3, 0.99
#: With so many frames of ascent in mind the time left is shared out; a step of the ascent takes so
#: many times a plain frame; fewer steps are not worth it.
TUNED_FRAMES, STEP_COST, LEAST_STEPS = 1.5, 1.6, 2
#: How log R/ε falls with log ε from one frame of an ascent to the next: where nothing is known, and
#: at most.
STEEP_TUNED, STEEPEST_TUNED = 6.0, 50.0
#: Where nothing is known, neither of slopes nor of radii, the first frame is at this share of the
#: sample's norm; four steps of a frame are more than that.
FAINT_START = 2e-4
#: Plain frames whose time an ascent leaves, to finish what it has begun.
RESERVE = 1.5


@dataclass(frozen=True)
class Rung:
    """A way to build frames.

    Attributes
    ----------
    name : as records name it.
    ball : whether multipliers make use of the nodes' 2-norms; in L∞, where they have nothing to
        see, as all entries may be far out together, whether window maxima make use of means.
    steps : of the ascent that chooses lines; 0: none.
    """

    name: str
    ball: bool = False
    steps: int = 0


@np.errstate(all="ignore")
def largest_radius(
    problem: Problem,
    label: torch.Tensor,
    known: torch.Tensor,
    rung: Rung,
    clock: Clock,
) -> torch.Tensor:
    """Radii (B,) proved by relaxation, at least ``known`` (which is proved already).

    When the clock says that time is over, what is proved so far is returned.

    A frame built at ε proves min(s, reach(s)) for every s ≤ ε, reach(s) being how far its margins
    stay positive with the boxes of radius s. Above ε the same forms only estimate what a frame
    there would find. The radius sought is where the root R(ε) of reach(s) = s is ε itself. Frames
    in float32 find about where that is, and prove nothing; one in float64 a little below it is
    then mostly enough. Where lines are chosen by ascent, which costs far more than a proof, every
    frame proves.
    """
    linf = problem.norm is Norm.LINF
    if linf and rung.ball and not rung.steps and not windowed(problem.network):
        return known.clone()
    search = _Search(problem, Margins.of(problem, label), known.numpy().copy(), rung)
    best, (distance, search.near) = search.best, straight(problem, search.margins)
    first = guessed(distance, best, problem.norm)
    if rung.ball:
        first = np.where(best > 0, best * (HIGHER_LINF if linf else HIGHER), first)
    first = search.above(np.where(np.isfinite(first), first, _anywhere(problem, best)))
    (rows,) = np.nonzero(search.margins.least > 0)
    rows = rows[first[rows] > best[rows]]
    if not rung.steps:
        scouting = clock.share(SCOUTING)
        if not rung.ball and len(rows):
            first[rows] = search.sketched(rows, first[rows], scouting)
            first = search.above(first)
        search.run(rows, first, torch.float32, scouting)
        clock.frame = scouting.frame
        first = np.where(search.seen, search.guess * PROVED, first)
        rows = rows[~(search.seen & (first <= best * SURELY))[rows]]
    search.run(rows, first, torch.float64, clock)
    return torch.from_numpy(best)


def _anywhere(problem: Problem, known: Numbers) -> Numbers:
    """Radii (B,) to begin with where linearisations say nothing, as on plateaus.

    Any would do: frames step by factors from there.
    """
    size = problem.norm.of_rows(problem.values[0]).numpy()
    return np.where(known > 0, known * STRIDE, np.where(size > 0, size, 1.0) * FAINT_START)


class _Search:
    """Frames about the root of R(ε) = ε: each is built where looks at the last one expect it.

    Attributes
    ----------
    best : (B,) what is proved, raised in place.
    guess : (B,) where the next frame would be.
    seen : (B,) whether a frame of the last run had a root.
    scouted : (B,) radii of the last scouts.
    rough : the precision of rows that look ahead.
    near : the margins that scouts see.
    """

    def __init__(self, problem: Problem, margins: Margins, best: Numbers, rung: Rung) -> None:
        self.problem, self.margins, self.rung = problem, margins, rung
        self.near = margins
        self.best, self.guess = best, best
        self.steep = np.full_like(best, STEEP_TUNED if rung.steps else STEEP)
        self.last = (np.full_like(best, np.nan), np.full_like(best, np.nan))
        self.seen = np.zeros_like(best, dtype=np.bool_)
        self.scouted = np.full_like(best, np.nan)
        self.rough, self.trend = torch.float64, Trend(len(best))
        self.kept = Kept(problem.room)
        rooms = problem.region.rooms
        self.farthest = np.full_like(best, np.inf) if rooms is None else rooms.farthest.numpy()

    def within(self, radius: Numbers, rows: Places) -> Numbers:
        """Radii of samples ``rows``, none beyond the farthest point of the data's range."""
        return np.minimum(radius, self.farthest[rows])

    def above(self, radius: Numbers) -> Numbers:
        """Radii (B,), none nearer to what is proved than a frame is worth, or out of range."""
        return np.minimum(np.maximum(radius, self.best * ABOVE), self.farthest)

    def sketched(self, rows: Places, guess: Numbers, clock: Clock) -> Numbers:
        """See :func:`boundcert.bounds.first.sketched`."""
        samples, steep = torch.from_numpy(rows), self.steep[rows]
        near = self.near.take(samples)
        found = sketched(self.problem.take(samples), near, guess, steep, clock)
        self.steep[rows] = steep
        return found

    def run(self, rows: Places, guess: Numbers, precision: torch.dtype, clock: Clock) -> None:
        """Frames for samples ``rows`` from radii ``guess`` (B,) on, until roots meet radii."""
        # what scouts saw may be looked at roughly again
        self.rough = torch.float32 if self.seen[rows].all() else precision
        self.seen = np.zeros_like(self.seen)
        self.guess = guess.copy()
        proves, tuned = precision is torch.float64, self.rung.steps > 0
        enclosure = Enclosure(guess, BEYOND, self.best)
        share = PROVED if proves and not tuned else 1.0
        gap = GAP_DUAL if self.rung.ball and not tuned else GAP
        few = 0 if proves else int(len(rows) * FEW)
        for turn in range(MOST_FRAMES):
            if len(rows) <= few or (turn and clock.over):
                break
            started, eps = clock.elapsed, self.guess[rows]
            try:
                frame = self._frame(rows, eps, clock, precision)
            except OutOfTime:
                break
            proved, root = self._root(frame, rows)
            known = self.best[rows]
            if proves:
                self.best[rows] = np.fmax(known, proved)
            self.seen[rows] |= np.isfinite(root) & (root > 0)
            told, root = root, np.nan_to_num(root)
            if tuned:
                # bounds for a smaller radius may do better there than these say
                met = self.best[rows] >= np.maximum(root, eps * NEARER) * (1 - GAP)
                between = self.best[rows] ** (1 - BACK) * eps**BACK
                root = np.where(root > self.best[rows], root, between)
            elif proves:
                met = (root > 0) & (self.best[rows] >= root * (1 - gap))
            else:
                met = self._sure(frame, rows, root)
            if tuned or not proves:
                # as low as need be, and not as far as is known: more frames would find no more
                met |= (eps <= known * HOPELESS) & ~(root > eps)
            lowest = STRIDE if proves else DESCENT if turn == 0 else LATER
            root = root.clip(eps / lowest, eps * STRIDE)
            further = enclosure.next(rows, eps, root)
            if not tuned:
                # where bounds jump looks say either end of the enclosure, again and again
                further, apart = enclosure.halved(rows, eps, root)
                met |= apart <= APART
                further, beyond = enclosure.closed(rows, eps, told, further)
                met &= ~beyond
            further = np.maximum(further, self.best[rows] * ABOVE)
            further = self.within(further * share, rows)
            self.guess[rows] = np.where(met, root, further)
            clock.step = clock.elapsed - started
            if not tuned:
                clock.frame = clock.step / len(rows)
            rows = rows[~met]

    def _frame(self, rows: Places, eps: Numbers, clock: Clock, precision: torch.dtype) -> Frame:
        """The frame of some samples at radii eps, with as many steps as the time left allows."""
        steps, samples = self.rung.steps, torch.from_numpy(rows)
        if steps and clock.seconds is not None:
            share = (clock.seconds - clock.elapsed) / TUNED_FRAMES
            afforded = (share / max(clock.frame * len(rows), 1e-9) - 1) / STEP_COST
            if afforded < LEAST_STEPS:
                raise OutOfTime
            steps = int(min(steps, afforded))
            clock.reserve = RESERVE * clock.frame * len(rows)
        linf = self.problem.norm is Norm.LINF
        ball, means = self.rung.ball and not linf, self.rung.ball and linf
        problem = self.problem.take(samples)
        if steps:
            self.kept.turn(samples)
        kept = self.kept if steps else None
        ways = (ball, clock, precision, steps, kept, means)
        return Frame.build(problem, torch.from_numpy(eps), *ways)

    def _root(self, frame: Frame, rows: Places) -> tuple[Numbers, Numbers]:
        """(proved radius, estimated root), (B,) each, of a frame for some samples."""
        samples, eps = torch.from_numpy(rows), frame.eps.numpy()
        proves, steep = frame.precision is torch.float64, self.steep[rows]
        margins = (self.margins if proves else self.near).take(samples)
        if self.rung.steps:
            reached = decided(frame, margins.reach(frame))
            root = self._straight_on(eps, reached, rows)
        else:
            ahead = self.trend.ahead(samples, frame)
            reached, _, root = frame_root(frame, margins, steep, ahead, self.rough)
            self.steep[rows] = steep
        proved = np.minimum(eps, reached)
        (below,) = np.nonzero(~(reached >= eps))
        if proves and len(below):
            some = torch.from_numpy(below)
            part, steep = frame.take(some), self.steep[rows[below]]
            inside = frame_root(part, margins.take(some), steep, within=INSIDE)
            proved[below] = np.fmax(proved[below], inside.proved)
            root[below] = np.where(np.isfinite(root[below]), root[below], inside.root)
        return proved, root

    def _sure(self, frame: Frame, rows: Places, root: Numbers) -> NDArray[np.bool_]:
        """Which roots (B,) of a scout are known well enough to prove them."""
        eps = frame.eps.numpy()
        away, step = np.abs(np.log(root / eps)), np.abs(np.log(eps / self.scouted[rows]))
        self.scouted[rows] = eps
        if not frame.forms:
            return np.isfinite(away)
        return away * np.fmin(OFF, AGAIN * away / step) <= SLIP

    def _straight_on(self, eps: Numbers, reached: Numbers, rows: Places) -> Numbers:
        """The root (B,) that a secant through this frame's reach at ε and the last one's gives.

        Bounds whose lines were chosen for ε are far from the best beyond it: there is nothing to
        look at but the reach at ε alone.
        """
        log = np.log(reached / eps)
        slope = (self.last[1][rows] - log) / np.log(eps / self.last[0][rows])
        steep = np.where(np.isfinite(slope), slope.clip(1.0, STEEPEST_TUNED), self.steep[rows])
        for kept, new in zip((self.steep, *self.last), (steep, eps, log)):
            kept[rows] = new
        return eps * np.exp(log / steep)
