"""How bounds widen with the radius, as frames show: what scouts look ahead with."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from boundcert.layers.max_pool import MaxPool
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import Box

if TYPE_CHECKING:
    from boundcert.bounds.form import Form
    from boundcert.bounds.frame import Ahead, Frame
    from boundcert.network.graph import Network

#: How the gap of a relaxation grows with its operand's width: a power of it. Between curves or
#: kinks and their lines it is of second order, between a window's maximum and an entry of first.
SECOND, FIRST = 2.0, 1.0
#: What rests of a node's bounds are made of: this share of what came from further in front.
INHERITED = 2 / 3
#: The least and the most that the exponent of an entry may be that two frames tell.
LEAST, MOST = 1.0, 5.0


@dataclass
class _Last:
    """What the last frame said of a node's entries, (2, B, *shape), low ends first.

    A bound lies d(s) = d·(s/ε)^p·(1 − r + r·(s/ε)^(a − 1)) from the value at the sample.

    Attributes
    ----------
    logs : log d; nan where neither end had a bound.
    powers, rests : p and r: 1 and the share of d that relaxations lost on the way, where one frame
        is known; what two frames tell and 0 where they do.
    lost : (B,) a, the exponent of what was lost.
    order : of relaxations in front of the node.
    """

    logs: torch.Tensor
    powers: torch.Tensor
    rests: torch.Tensor
    lost: torch.Tensor
    order: float

    @classmethod
    def none(cls, samples: int, shape: torch.Size, order: float) -> _Last:
        """Nothing is known of so many samples."""
        logs, powers, rests = torch.full((3, 2, samples, *shape), torch.nan, dtype=torch.float32)
        return cls(logs, powers, rests, torch.full((samples,), torch.nan), order)


class Trend:
    """Distances of nodes' bounds from the samples' values in the last frame, and how they grow.

    A bound's slope times ε grows like ε, near enough. The rest is what relaxations lost: of second
    order in the width of their operands, which itself grows faster than ε the further in the
    network. So one frame says roughly what bounds at other radii would be. Two frames say it
    closely: each entry then follows its own power of the radius. Bounds in between or a little
    beyond are known to second order without carrying anything back. These are estimates, which
    prove nothing: they say where the next frame goes.

    Attributes
    ----------
    eps : (B,) radii of the last frames.
    last : what they said, by node.
    """

    def __init__(self, count: int) -> None:
        self.eps = torch.full((count,), torch.nan, dtype=torch.float64)
        self.last: dict[int, _Last] = {}

    def ahead(self, rows: torch.Tensor, frame: Frame) -> Ahead:
        """Boxes of samples ``rows`` at other radii than their newest frame's.

        The frame becomes their last when the first box is asked for: a frame that proves its root
        at once is never looked at.
        """
        pending = [frame]

        def box(k: int, box: Box, eps: torch.Tensor) -> Box:
            while pending:
                self._add(rows, pending.pop())
            return self._box(k, box, eps, rows) if k in self.last else box

        return box

    def _add(self, rows: torch.Tensor, frame: Frame) -> None:
        """A new frame of samples ``rows``."""
        step = (frame.eps / self.eps[rows]).log().float()
        self.eps[rows] = frame.eps
        width, lost = torch.ones_like(step), None
        for k in sorted({*self.last, *frame.forms}):
            point = frame.boxes[k].point
            if k not in self.last:
                order = _order(frame.problem.network, k, self.last)
                self.last[k] = _Last.none(len(self.eps), point.shape[1:], order)
            last = self.last[k]
            if k not in frame.forms:
                last.logs[:, rows] = torch.nan
                continue
            inherited = torch.full_like(width, last.order) if lost is None else lost
            lost = INHERITED * inherited + (1 - INHERITED) * last.order * width
            wide = (-1, *([1] * (point.dim() - 1)))
            logs, rest = _distances(frame.forms[k], frame.boxes[k], frame.eps)
            power = _powers(logs - last.logs[:, rows], step)
            one = power.isnan()
            last.logs[:, rows], last.lost[rows] = logs, lost
            last.powers[:, rows] = torch.where(one, 1.0, power)
            last.rests[:, rows] = torch.where(one, rest, 0.0)
            power = torch.where(one, 1 + (lost.reshape(wide) - 1) * rest, power)
            width = power.transpose(0, 1).flatten(1).nanmean(dim=1).nan_to_num(1.0)

    def _box(self, k: int, box: Box, eps: torch.Tensor, rows: torch.Tensor) -> Box:
        """The box of node k of samples ``rows`` as it would be at radii ``eps``.

        Ends of which the last frame said nothing keep what ``box`` says.
        """
        last, wide = self.last[k], (-1, *([1] * (box.point.dim() - 1)))
        ratio = (eps / self.eps[rows]).float()
        more = (ratio ** (last.lost[rows] - 1) - 1).reshape(wide)
        far = last.logs[:, rows] + last.powers[:, rows] * ratio.log().reshape(wide)
        far = far.double().exp() * (1 + last.rests[:, rows] * more)
        known = far.isfinite()
        return replace(
            box,
            low=torch.where(known[0], box.point - far[0], box.low),
            high=torch.where(known[1], box.point + far[1], box.high),
        )


def _order(network: Network, node: int, known: Container[int]) -> float:
    """The lowest order of layers in front of a node, up to those of which something is known.

    What linear layers hand on is of the order of what comes before.
    """
    pending, seen = [node], {0}
    while pending:
        k = pending.pop()
        layer, inputs = network.nodes[k].layer, network.nodes[k].inputs
        if isinstance(layer, MaxPool):
            return FIRST
        seen.add(k)
        linear = isinstance(layer, LINEAR)
        pending += [i for i in inputs if i not in seen and (linear or i not in known)]
    return SECOND


def _distances(form: Form, box: Box, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of how far both ends are from the point, and which share is rest, (2, B, …) each.

    An end that nobody bounded is about as far as the other one.
    """
    wide = (-1, *([1] * (box.point.dim() - 1)))
    far = torch.stack((box.point - box.low, box.high - box.point))
    far = torch.where(torch.stack(form.known), far, torch.nan)
    straight = torch.stack((form.low.slope, form.high.slope)) * eps.reshape(wide)
    rest = (1 - straight / far).clamp(0.0, 1.0)
    # float32 holds the logarithm of any number
    parts = (part.float() for part in (far.log(), rest))
    logs, rest = (torch.where(part.isnan(), part.flip(0), part) for part in parts)
    return logs, rest


def _powers(grown: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Exponents (2, B, …) of distances that grew so much, in logarithms, where ε grew by ``step``.

    What two frames say of a sample's entries on the whole is for those that only one saw; nan
    where they say nothing.
    """
    wide = (-1, *([1] * (grown.dim() - 2)))
    power = grown / step.reshape(wide)
    power = torch.where(power.isfinite(), power, torch.nan)
    usual = power.flatten(2).nanmean(dim=2).reshape(2, *wide)
    return torch.where(power.isnan(), usual, power).clamp(LEAST, MOST)
