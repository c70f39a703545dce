"""Where the root of R(ε) = ε lies: secants in log ε, log R, kept inside what is known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: A step between frames is at most a factor.
STRIDE = 8.0

#: A number a sample, and samples.
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


#: Hints are followed for so many frames on one side of the root; then the bracket is closed
#: without them.
PATIENCE = 2
#: The logarithm of what counts as nothing known.
LOST = math.log(1e-300)


class Enclosure:
    """Where R(ε) = ε lies: log ε and log R/ε at the nearest frame on each side.

    ``known`` (B,) are radii that are proved already: the root does not lie below.
    """

    def __init__(self, like: Numbers, beyond: float, known: Numbers) -> None:
        self.beyond = beyond
        self.known = np.log(np.maximum(known, math.exp(LOST)))
        self.streak, self.side = np.zeros_like(like), np.zeros_like(like)
        self.below, self.above = np.full_like(like, -np.inf), np.full_like(like, np.inf)
        self.rise, self.fall = np.zeros_like(like), np.zeros_like(like)
        self.last = np.zeros_like(like)

    def next(self, rows: Places, eps: Numbers, root: Numbers) -> Numbers:
        """The next ε to try, after a frame at ``eps`` found ``root``."""
        here, most = np.log(eps), math.log(STRIDE)
        gap = (np.log(np.maximum(root, 1e-300)) - here).clip(-most, most)
        up = (gap >= 0) & (here > self.below[rows])
        down = (gap < 0) & (here < self.above[rows])
        # Illinois' rule: an end that stays where it is twice counts for half
        again = self.last[rows]
        self.fall[rows] = np.where(up & (again > 0), self.fall[rows] * 0.5, self.fall[rows])
        self.rise[rows] = np.where(down & (again < 0), self.rise[rows] * 0.5, self.rise[rows])
        self.last[rows] = up.astype(eps.dtype) - down
        self.below[rows] = np.where(up, here, self.below[rows])
        self.rise[rows] = np.where(up, gap, self.rise[rows])
        self.above[rows] = np.where(down, here, self.above[rows])
        self.fall[rows] = np.where(down, gap, self.fall[rows])
        low, high = self.below[rows], self.above[rows]
        rise, fall = self.rise[rows], self.fall[rows]
        share = np.nan_to_num(rise / (rise - fall), nan=0.5).clip(0.02, 0.98)
        enclosed = np.isfinite(low) & np.isfinite(high)
        inside = low + share * (high - low)
        return np.exp(np.where(enclosed, inside, here + gap * self.beyond))

    def closed(
        self, rows: Places, eps: Numbers, root: Numbers, further: Numbers
    ) -> tuple[Numbers, NDArray[np.bool_]]:
        """The next ε, whatever hints say; and whether the search has to go on beyond it.

        A ``root`` that is no number, or the third in a row on one side, is not believed. Beyond
        all frames ε is then multiplied by 2, 4, 16, … Between a frame that reached its own radius
        (or what is known) and one that did not, it goes to the middle at least, on a log scale, or
        as far as such steps go. Where the first frame says nothing, begin from what is known.
        """
        here, nothing = np.log(eps), ~(root > 0)
        up = ~nothing & (root >= eps)
        side = np.where(up, 1.0, -1.0)
        streak = np.where(side == self.side[rows], self.streak[rows] + 1, 1.0)
        self.streak[rows], self.side[rows] = streak, side
        low = np.fmax(self.below[rows], self.known[rows])
        late = (streak > PATIENCE) | nothing
        step = math.log(2.0) * 2.0 ** (streak - PATIENCE - 1).clip(0, 6)
        least = np.minimum(0.5 * (here + self.above[rows]), here + step)
        begin = low + math.log(STRIDE)
        most = np.maximum(0.5 * (low + here), here - math.log(STRIDE) * 2.0**streak)
        most = np.where(
            nothing & (streak == 1) & (begin < here) & (self.known[rows] > LOST), begin, most
        )
        onward = np.log(further)
        onward = np.where(up, np.maximum(onward, least), np.minimum(onward, most))
        return np.where(late, np.exp(onward), further), late & up & np.isinf(self.above[rows])

    def halved(self, rows: Places, eps: Numbers, root: Numbers) -> tuple[Numbers, Numbers]:
        """A root not past the middle between the nearest frames; and how far they are apart."""
        low, high, here = self.below[rows], self.above[rows], np.log(root)
        middle = 0.5 * (low + high)
        past = np.abs(here - np.log(eps)) > 0.5 * (high - low)
        halfway = np.where(past & np.isfinite(middle), np.exp(middle), root)
        return halfway, high - low
