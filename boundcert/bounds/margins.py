"""Margins z_label − z_rival of samples: the rows that decide, bounded by a frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from boundcert.bounds.backward import Linear
from boundcert.bounds.sought import MARGINS, Sought, Start, bounds_on
from boundcert.layers.relaxation import down
from boundcert.layers.rows import Rows

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame
    from boundcert.bounds.problem import Problem


#: Margins that reach so many times as far as the smallest of a sample hardly decide.
BEYOND = 3.0


@dataclass(frozen=True)
class Margins:
    """The margins of every sample to all other classes, or to those that may decide.

    Attributes
    ----------
    owner, mine, rival : (R,) sample, label and other class, a sample's together.
    point : (R,) what they are at the samples, rounded down.
    samples : how many there are.
    """

    owner: torch.Tensor
    mine: torch.Tensor
    rival: torch.Tensor
    point: torch.Tensor
    samples: int

    @classmethod
    def of(cls, problem: Problem, label: torch.Tensor) -> Margins:
        """All those of samples with labels (B,)."""
        classes, logits = problem.network.classes, problem.values[-1].reshape(len(label), -1)
        rival = torch.arange(classes - 1).repeat(len(label), 1)
        rival = (rival + (rival >= label[:, None])).reshape(-1)
        owner = torch.arange(len(label)).repeat_interleave(classes - 1)
        mine = label[owner]
        point = down(logits[owner, mine], -logits[owner, rival])
        return cls(owner, mine, rival, point, len(label))

    @cached_property
    def least(self) -> NDArray[np.float64]:
        """(B,) the smallest margin at each sample; where it is not positive nothing can be kept."""
        least = torch.full((self.samples,), torch.inf, dtype=torch.float64)
        return least.scatter_reduce(0, self.owner, self.point.cpu(), "amin").numpy()

    def take(self, samples: torch.Tensor) -> Margins:
        """Those of some samples, in order."""
        place = torch.full((self.samples,), -1)
        place[samples] = torch.arange(len(samples))
        owner = place[self.owner]
        return self._of(owner, owner >= 0, len(samples))

    def near(self, reaches: torch.Tensor, eps: torch.Tensor) -> Margins:
        """Those that may decide elsewhere, where at radii eps (B,) they reach so far.

        Those left out reach beyond ε: a bound that holds for every s ≤ ε is positive up to ε, so
        they stay positive in all smaller balls. At larger radii they are left out by experience:
        bounds there only guide.
        """
        least = reaches.amin(dim=1)
        far = reaches > torch.where(least > eps, least * BEYOND, eps)[:, None]
        return self._of(self.owner, ~far[self._place], self.samples)

    def _of(self, owner: torch.Tensor, keep: torch.Tensor, samples: int) -> Margins:
        """Some of the rows, by other owners."""
        mine, rival, point = self.mine[keep], self.rival[keep], self.point[keep]
        return Margins(owner[keep], mine, rival, point, samples)

    @property
    def _place(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where they stand among all of a sample's."""
        return self.owner, self.rival - (self.rival > self.mine).long()

    @cached_property
    def _rows(self) -> dict[torch.dtype, Rows]:
        """All of them as rows of the logits, by precision: frames start with the same."""
        return {}

    def reach(self, frame: Frame) -> torch.Tensor:
        """(B, C − 1) where bounds on them vanish; inf for those left out."""
        classes = frame.problem.network.classes
        reaches = torch.full((self.samples, classes - 1), torch.inf, dtype=torch.float64)
        reaches[self._place] = self.bounds(frame).reach()
        return reaches

    def bounds(self, frame: Frame) -> Linear:
        """Bounds on them, (R,)."""
        network, last = frame.problem.network, len(frame.problem.network.nodes) - 1
        classes, shape = network.classes, network.nodes[last].shape

        def first(cut: slice, precision: torch.dtype) -> Start:
            if precision not in self._rows:
                values = torch.zeros(len(self.owner), classes, dtype=precision)
                values.scatter_(1, self.mine[:, None], 1.0).scatter_(1, self.rival[:, None], -1.0)
                self._rows[precision] = Rows.of(values, self.owner, shape)
            rows = self._rows[precision].take(cut)
            return {last: rows}, torch.zeros(len(rows), dtype=torch.float64)

        concretise = frame.problem.region.vanishing
        sought = Sought(MARGINS, first, self.point, self.owner, self.rival, concretise)
        return bounds_on(frame, sought, frame.steps)
