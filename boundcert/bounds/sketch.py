"""Frames sketched from few rows: where scouts begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import numel
from boundcert.layers.registry import LINEAR
from boundcert.norms import flat

if TYPE_CHECKING:
    from boundcert.bounds.backward import Linear
    from boundcert.bounds.form import Form
    from boundcert.bounds.problem import Problem

#: Ends of a node that are carried back for a sample.
ROWS = 12
#: A sketch is not worth its looks where fewer rows, of all samples and at all affine layers, are
#: carried back for every frame.
MANY = 15_000


class Sketch:
    """Guesses bounds on a node's entries from bounds on a few of them.

    A few ends, drawn at random, are carried back for every sample. All others are taken to be as
    far from their values at the sample as these are in the mean, in slope and rest. Nothing of that
    is proved: it says where frames go, to within a tenth mostly, for few rows.
    """

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def some(self, wanted: torch.Tensor) -> torch.Tensor:
        """A few of the wanted ends (B, n, 2), for every sample."""
        score = torch.rand(wanted.shape, generator=self.generator).masked_fill_(~wanted, -1.0)
        first = score.flatten(1).topk(min(ROWS, score[0].numel()), dim=1)
        some = torch.zeros_like(score, dtype=torch.bool).flatten(1)
        return some.scatter_(1, first.indices, first.values >= 0).reshape(wanted.shape)


def fill(
    form: Form, wanted: torch.Tensor, found: torch.Tensor, bound: Linear, value: torch.Tensor
) -> None:
    """Guess all wanted ends (B, n, 2) from bounds on the ends ``found`` (R, 3) about values."""
    value = flat(value)
    owner, index, side = found.unbind(dim=1)
    lost = value[owner, index] * (1 - 2 * side) - bound.base
    parts = torch.stack((torch.ones_like(lost), bound.slope, lost))
    total = value.new_zeros(3, len(value)).index_add_(1, owner, parts)
    slope, rest = (part[:, None].expand_as(value) for part in total[1:] / total[0])
    for end, linear in enumerate((form.low, form.high)):
        base, known = linear.base.view_as(value), linear.base.isfinite().view_as(value)
        guessed = wanted[..., end] & ~known
        base[guessed] = (value * (1 - 2 * end) - rest)[guessed]
        linear.slope.view_as(value)[guessed] = slope[guessed]


def worthwhile(problem: Problem) -> bool:
    """Whether frames may carry back so many rows that a sketch pays.

    There may be a row for every entry that is bounded backward (see
    :func:`boundcert.bounds.refine.refine`), which passes every affine layer in front of it.
    """
    nodes, found = problem.network.nodes, set()
    for node in nodes[1:]:
        for i in () if isinstance(node.layer, LINEAR) else node.inputs:
            while isinstance(nodes[i].layer, Elementwise):
                i = nodes[i].inputs[0]
            found.add(i)
    exact = problem.prefix.norms if problem.region.rooms is None else {0: None}
    affine = [isinstance(node.layer, Affine) for node in nodes]
    rows = sum(numel(nodes[k].shape) * sum(affine[: k + 1]) for k in found - set(exact))
    return len(problem.values[0]) * rows >= MANY
