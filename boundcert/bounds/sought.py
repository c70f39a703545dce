"""Rows that a frame is asked to bound, carried back a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

from boundcert.bounds.backward import Carried, Choices, Linear, blocks, carry
from boundcert.bounds.tune import tune
from boundcert.layers.relaxation import down
from boundcert.layers.rows import Rows

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame

#: Stands for the margins, where rows are told apart by the node whose entries they are.
MARGINS = -1
#: Rows to begin with, by node, and their rest.
Start = tuple[dict[int, Rows], torch.Tensor]
#: Bounds over the input from rows there; see :class:`boundcert.bounds.region.Region`.
Concretise = Callable[[Rows, torch.Tensor, tuple[int, ...], torch.Tensor], Linear]


class Sought(NamedTuple):
    """Rows that are to be bounded.

    Attributes
    ----------
    node : whose entries they are, or :data:`MARGINS`.
    first : some of them, in a precision.
    point : (R,) their values at the samples.
    owner : (R,) the samples.
    entry : (R,) tells the rows of one sample apart.
    """

    node: int
    first: Callable[[slice, torch.dtype], Start]
    point: torch.Tensor
    owner: torch.Tensor
    entry: torch.Tensor
    concretise: Concretise


class _Bounded(NamedTuple):
    """Bounds on rows, and the most coefficients that one had on the way."""

    linear: Linear
    widest: int


def bounds_on(frame: Frame, sought: Sought, steps: int) -> Linear:
    """Bounds on all rows, by the frame's relaxations, as many rows at a time as fit a block.

    With steps to tune, the better of the relaxations' own lines (or multipliers) and of the lines
    that an ascent finds. A frame that came as far as its margins is worth finishing, whatever the
    clock says.

    Raises
    ------
    OutOfTime
        The frame's clock says so, between blocks.
    """

    def bounded(cut: slice) -> _Bounded:
        if sought.node != MARGINS:
            frame.clock.check()
        return _bounded(frame, sought, cut, steps)

    widths, found = frame.problem.widths, []
    for _, part in blocks(
        len(sought.point), bounded, widths.get(sought.node), frame.precision.itemsize
    ):
        found.append(part.linear)
        widths[sought.node] = max(widths.get(sought.node, 1), part.widest)
    if len(found) == 1:
        return found[0]
    return Linear(
        torch.cat([part.base for part in found]), torch.cat([part.slope for part in found])
    )


def _bounded(frame: Frame, sought: Sought, cut: slice, steps: int) -> _Bounded:
    problem, owner, point = frame.problem, sought.owner[cut], sought.point[cut]
    eps, kept = frame.eps[owner], frame.kept

    def pull(precision: torch.dtype, choices: Choices | None) -> Carried:
        start = sought.first(cut, precision)
        ways = (frame.relaxations, frame.boxes, *start, choices, frame.shortcuts)
        return carry(problem.network, *ways, errors=frame.errors)

    def linear(found: Carried) -> Linear:
        return sought.concretise(found.rows, down(point, found.rest), found.shape, eps)

    plain = pull(frame.precision, None)
    bound = linear(plain)
    if steps and not frame.clock.short:
        name = (sought.node, owner, sought.entry[cut])
        begun = kept.begun(*name) if kept else None
        taped = lambda choices: pull(torch.float32, choices)  # noqa: E731
        choices = tune(taped, eps, problem.region, steps, begun)
        if choices is not None:
            bound = bound.better(linear(pull(frame.precision, choices)), eps)
            if kept:
                kept.keep(*name, choices.nodes)
    return _Bounded(bound, plain.widest)
