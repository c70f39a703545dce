"""What must hold of a frame at points of its region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from unittest.mock import patch

import torch

from boundcert.bounds import sketch
from boundcert.bounds.backward import Linear
from boundcert.bounds.excess import Excess
from boundcert.bounds.frame import Frame
from boundcert.bounds.margins import Margins
from boundcert.bounds.methods import Bounds
from boundcert.bounds.prefix import prefix
from boundcert.bounds.primitives import primitives
from boundcert.bounds.problem import Problem
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.relax import DUAL, OPTIMIZE, RELAX, Ladder
from boundcert.clip import Clip
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import Layer, numel
from boundcert.layers.max_pool import MaxPool
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: All rungs, with a short ascent: how long it is decides how tight bounds are, not if they hold.
CLIMB = (RELAX, DUAL, replace(OPTIMIZE, steps=3))


def problem_of(
    network: Network,
    norm: Norm,
    x: torch.Tensor,
    clip: Clip | None = None,
    arithmetic: Arithmetic | None = None,
) -> Problem:
    small = primitives(network)
    return Problem.of(small, norm, prefix(small.network, norm), x, clip, arithmetic)


def classes(network: Network, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.logits(x).argmax(dim=1)


def radii_of(
    method: Ladder, network: Network, x: torch.Tensor, many: int
) -> tuple[torch.Tensor, Bounds, Bounds]:
    """Classes of samples, and what a method and its walk say; with sketches from ``many`` rows."""
    with torch.no_grad(), patch.object(sketch, "MANY", many):
        evaluation = Evaluation(network, network.run(x))
        label = evaluation.values[-1].reshape(len(x), -1).argmax(dim=1)
        return label, method(evaluation, label), method.walk(evaluation, label)


def margins_of(frame: Frame, label: torch.Tensor) -> Linear:
    return Margins.of(frame.problem, label).bounds(frame)


def assert_holds(frame: Frame, label: torch.Tensor, points: Iterable[torch.Tensor]) -> None:
    """Boxes, 2-norms and margins hold at points (B, *shape), up to their values' own rounding."""
    lower = least_margins(frame, label)
    for point in points:
        with torch.no_grad():
            values = frame.problem.network.run(point)
        assert_values_hold(frame, label, lower, dict(enumerate(values)))


def least_margins(frame: Frame, label: torch.Tensor) -> torch.Tensor:
    """(B, C − 1) bounds on the margins at the frame's radii."""
    classes = frame.problem.network.classes
    with torch.no_grad():
        found = margins_of(frame, label).at(frame.eps.repeat_interleave(classes - 1))
    return found.reshape(len(label), -1)


def assert_values_hold(
    frame: Frame, label: torch.Tensor, lower: torch.Tensor, values: Mapping[int, torch.Tensor]
) -> None:
    """Boxes, 2-norms and margins hold for values (B, *shape) by node, the logits' among them."""
    network, count = frame.problem.network, len(label)
    for k, value in values.items():
        box = frame.boxes[k]
        room = 1e-10 * (value.abs() + value.abs().amax() + 1e-200)
        assert not bool((value < box.low - room).any()), k
        assert not bool((value > box.high + room).any()), k
        if box.spread is not None:
            moved = Norm.L2.of_rows(value - box.point)
            assert not bool((moved > box.spread * (1 + 1e-9) + 1e-290).any()), k
    for k, spread in frame.spreads.items():
        (operand,) = network.nodes[k].inputs
        if operand in values:
            value = values[operand]
            far = torch.where(spread.entries, value - frame.boxes[operand].point, 0.0)
            room = 1e-12 * (value.abs().flatten(1).amax(dim=1) + 1e-200)
            assert not bool((Norm.L2.of_rows(far) > spread.at(frame.eps) * (1 + 1e-9) + room).any())
    for k, excess in frame.excesses.items():
        (operand,) = network.nodes[k].inputs
        if operand in values:
            assert_exceeds(excess, network.nodes[k].layer, values[operand], frame.eps)
    z = values[len(network.nodes) - 1].reshape(count, -1)
    apart = z.gather(1, label[:, None]) - z
    others = torch.arange(network.classes) != label[:, None]
    apart = apart[others].reshape(count, -1)
    assert not bool((apart < lower - 1e-9 * z.abs().amax(dim=1, keepdim=True)).any())


def assert_exceeds(
    excess: Excess, layer: Layer | None, value: torch.Tensor, eps: torch.Tensor
) -> None:
    """No entry of a window exceeds the mean by more than was proved."""
    assert isinstance(layer, MaxPool)
    table = torch.from_numpy(layer.windows.table())
    planes = value.reshape(len(value), -1, numel(layer.windows.size))
    entries = planes[:, :, table.clamp(min=0)]
    most = torch.where(table >= 0, entries, -torch.inf).amax(dim=-1)
    over, proved = most - (excess.weight * entries).sum(dim=-1), excess.at(eps)
    room = 1e-10 * (value.abs().amax() + 1e-200)
    assert not bool((proved.isfinite() & (over > proved + room)).any())
