"""Margins z_label − z_rival of samples: the rows that decide, bounded by a frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from boundcert.bounds.backward import Linear
from boundcert.bounds.sought import MARGINS, Sought, Start, bounds_on
from boundcert.layers.relaxation import down
from boundcert.layers.rows import Rows

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame
    from boundcert.bounds.problem import Problem


@dataclass(frozen=True)
class Margins:
    """The margins of every sample to all other classes, a sample's together.

    Attributes
    ----------
    owner, mine, rival : (B·(C − 1),) sample, label and other class.
    point : (B·(C − 1),) what they are at the samples, rounded down.
    """

    owner: torch.Tensor
    mine: torch.Tensor
    rival: torch.Tensor
    point: torch.Tensor

    @classmethod
    def of(cls, problem: Problem, label: torch.Tensor) -> Margins:
        """Those of samples with labels (B,)."""
        classes, logits = problem.network.classes, problem.values[-1].reshape(len(label), -1)
        rival = torch.arange(classes - 1).repeat(len(label), 1)
        rival = (rival + (rival >= label[:, None])).reshape(-1)
        owner = torch.arange(len(label)).repeat_interleave(classes - 1)
        mine = label[owner]
        return cls(owner, mine, rival, down(logits[owner, mine], -logits[owner, rival]))

    @cached_property
    def _rows(self) -> dict[torch.dtype, Rows]:
        """All of them as rows of the logits, by precision: frames start with the same."""
        return {}

    def bounds(self, frame: Frame) -> Linear:
        """Bounds on all of them, (B·(C − 1),)."""
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
