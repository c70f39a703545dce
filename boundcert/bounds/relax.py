"""The tight tier: backward linear relaxation of the whole network, climbing from the walk."""

from __future__ import annotations

import torch

from boundcert.bounds.clock import Clock
from boundcert.bounds.memory import batch_size, kept_bytes
from boundcert.bounds.methods import ANY, About, Bounds, Limits, Stage
from boundcert.bounds.prefix import Prefix, prefix
from boundcert.bounds.primitives import Primitive, primitives
from boundcert.bounds.problem import Problem
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.root import Rung, largest_radius
from boundcert.bounds.walk import Walk
from boundcert.layers.base import Unsupported, numel
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: Samples that are bounded together: enough to fill matrix products. Where nothing is timed so
#: many more, up to the second number, as have no more than so many values in all: small networks
#: take hardly longer for them.
BATCH, MOST, VALUES = 32, 128, 2**19


#: The best multipliers for a few slopes, and means where there are maxima of windows, cost little,
#: and tell the ascent where to begin.
RELAX, DUAL, OPTIMIZE = (
    Rung("relax"),
    Rung("optimize", ball=True),
    Rung("optimize", ball=True, steps=16),
)
CLIMB = (RELAX, DUAL, OPTIMIZE)


class Ladder:
    """The walk and the rungs above it, made ready for one network and norm.

    Every rung starts from the radius that the one below proved, and none returns less. A network
    that cannot be relaxed, or not in the memory there is, is left to the walk, and the bounds
    say so.

    Parameters
    ----------
    rungs : in order.
    timed : whether rungs stop when the budget is used up, be it before the first has proved
        anything.
    about : what radii are about; the walk bounds whole balls, whatever the range.
    """

    def __init__(
        self,
        network: Network,
        norm: Norm,
        limits: Limits,
        rungs: tuple[Rung, ...],
        timed: bool,
        about: About = ANY,
    ) -> None:
        self.walk, self.norm, self.rungs = Walk(network, norm, about.arithmetic), norm, rungs
        self.about = about
        self.budget = limits.budget if timed else None
        self.batch, self.room = 0, kept_bytes(limits.memory)
        self.primitive: Primitive | None = None
        self.prefix: Prefix | None = None
        try:
            # rows, boxes and lines live in host memory, whatever device the walk runs on
            self.primitive = primitives(network.to("cpu"), pool_first=norm is not Norm.LINF)
        except Unsupported:
            return
        most = BATCH if timed else _together(self.primitive.network)
        self.batch = min(batch_size(self.primitive.network, limits.memory), most)
        if self.batch:
            self.prefix = prefix(self.primitive.network, norm)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The walk's: relaxation sees the network as a whole."""
        return self.walk.stages

    def __call__(self, evaluation: Evaluation, label: torch.Tensor) -> Bounds:
        bounds = self.walk(evaluation, label)
        if self.prefix is None or self.primitive is None:
            return bounds
        x, found = evaluation.values[0].cpu(), []
        for start in range(0, len(label), self.batch):
            cut = slice(start, start + self.batch)
            about = (self.about.clip, self.about.arithmetic, self.room)
            problem = Problem.of(self.primitive, self.norm, self.prefix, x[cut], *about)
            found.append(self._climb(problem, label[cut].cpu(), bounds.radius[cut].cpu()))
        for k, rung in enumerate(self.rungs):
            radius = torch.cat([part[k] for part in found])
            bounds = bounds.raised(radius.to(bounds.radius.device), rung.name)
        return bounds

    def _climb(
        self, problem: Problem, label: torch.Tensor, known: torch.Tensor
    ) -> list[torch.Tensor]:
        """Radii (B,) after each rung."""
        clock = Clock(None if self.budget is None else self.budget * len(label))
        result = []
        for rung in self.rungs:
            if not clock.over:
                known = largest_radius(problem, label, known, rung, clock)
            result.append(known)
        return result


def _together(network: Network) -> int:
    """How many samples to bound together where nothing is timed."""
    return max(BATCH, min(MOST, VALUES // sum(numel(node.shape) for node in network.nodes)))
