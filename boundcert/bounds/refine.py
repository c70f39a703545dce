"""A frame's boxes made tighter where that would help, by rows carried backward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from boundcert.bounds.backward import first_rows
from boundcert.bounds.form import Form
from boundcert.bounds.sketch import fill
from boundcert.bounds.sought import Sought, Start, bounds_on
from boundcert.layers.activation import Elementwise
from boundcert.layers.relaxation import Relaxation
from boundcert.norms import flat

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame


def refine(
    frame: Frame,
    inputs: tuple[int, ...],
    relaxation: Relaxation,
    first: bool = False,
    steps: int = 0,
) -> bool:
    """Bound the operands' loose entries backward; whether anything was done.

    ``first`` bounds only the ends that :meth:`Relaxation.telling` says, where it does.
    """
    done = False
    telling = relaxation.telling() if first else (None,) * len(inputs)
    for i, mask, end in zip(inputs, relaxation.loose(), telling):
        if mask is None:
            continue
        ends = (mask, mask) if end is None else (mask & (end >= 0), mask & (end <= 0))
        done |= _tighten(frame, i, torch.stack([flat(end) for end in ends], dim=-1), steps)
    return done


def _tighten(frame: Frame, node: int, wanted: torch.Tensor, steps: int) -> bool:
    """Bound wanted ends (B, n, 2) of a node's entries backward; whether anything was done.

    The range of an activation over its operand's bounds is as good as a line of it carried
    back to where these come from, so that it is the operand which is bounded.
    """
    layer, inputs = (
        frame.problem.network.nodes[node].layer,
        frame.problem.network.nodes[node].inputs,
    )
    if node in frame.problem.prefix.norms:
        if node == 0 or frame.problem.region.rooms is None:
            return False
        # what holds for the ball is not all that holds in the box; there are no lines to choose
        steps = 0
    if isinstance(layer, Elementwise):
        if not layer.rises:
            wanted = wanted.any(dim=-1, keepdim=True).expand_as(wanted)
        done = _tighten(frame, inputs[0], wanted, steps)
        if done:
            relaxation = layer.relax(frame.operands(node), frame.problem.values[node])
            frame.relaxations[node] = frame.within(node, relaxation)
            box = frame.reached(node)
            frame.boxes[node] = frame.boxes[node].meet(box.low, box.high)
        return done
    if node not in frame.forms:
        frame.forms[node] = Form.unknown(frame.boxes[node].low.shape)
    if not steps:
        known = torch.stack(frame.forms[node].known, dim=-1)
        wanted = wanted & ~known.reshape(wanted.shape)
    if not bool(wanted.any()):
        return False
    _bound(frame, node, wanted, steps)
    return True


def _bound(frame: Frame, node: int, wanted: torch.Tensor, steps: int) -> None:
    """Backward bounds on wanted ends (B, n, 2) of a node's entries; a sketch bounds a few."""
    sketch = frame.sketch
    found = torch.nonzero(wanted if sketch is None else sketch.some(wanted))
    owner, index = found[:, 0].contiguous(), found[:, 1].contiguous()
    sign = 1.0 - 2.0 * found[:, 2].double()

    def first(cut: slice, precision: torch.dtype) -> Start:
        entries = (index[cut], owner[cut], sign[cut].to(precision))
        places = (frame.relaxations, frame.boxes, node, entries, frame.errors)
        return first_rows(frame.problem.network, *places)

    point = flat(frame.problem.values[node])[owner, index] * sign
    entry, concretise = 2 * index + found[:, 2], frame.problem.region.concretise
    bound = bounds_on(frame, Sought(node, first, point, owner, entry, concretise), steps)
    frame.forms[node].keep(found, bound)
    if sketch is not None:
        fill(frame.forms[node], wanted, found, bound, frame.problem.values[node])
    frame.boxes[node] = frame.boxes[node].meet(*frame.forms[node].ends(frame.eps))
