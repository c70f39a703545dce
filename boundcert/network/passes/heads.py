"""Find the head: what stands between the logits, which bounds are on, and the model's own output.

A softmax, log-softmax or sigmoid does not move the winner among real numbers. What it does in the
model's own precision, :mod:`boundcert.network.heads` knows; so one of them is left out at most, and
only where that is known. The index of the greatest or least entry, a one-hot vector, and what only
reshapes or widens move no winner at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from boundcert.layers.arithmetic import BY_CODE
from boundcert.network.read import STANDARD, opset_of

#: Operators that only reshape or rename between the logits and a head.
TRANSPARENT = ("Identity", "Squeeze", "Unsqueeze", "Flatten", "Reshape")
#: Heads that say which entry wins, and those that turn logits into something like probabilities.
PICKS = ("ArgMax", "ArgMin", "Hardmax")
SCORES = ("Softmax", "LogSoftmax", "Sigmoid")
#: Types that indices of classes come in.
INDICES = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


@dataclass(frozen=True)
class Head:
    """What was left out behind the logits.

    Attributes
    ----------
    logits : name of their tensor.
    scores : one of :data:`SCORES`, "" for none.
    pick : one of :data:`PICKS`, "" for none.
    """

    logits: str
    scores: str = ""
    pick: str = ""


def find_head(
    model: onnx.ModelProto, output: str, shapes: dict[str, tuple[int, ...]], decision: str | None
) -> Head:
    """Walk back from the output over heads that act on the whole output vector.

    ``shapes`` are inferred at batch size one; a softmax over part of the entries is not a head.
    Where the least output wins (``decision`` "min", or the model itself takes it), a softmax and a
    sigmoid stay: the least probabilities are those that vanish.
    """
    opset, types = opset_of(model), _types(model)
    made_by = {name: node for node in model.graph.node for name in node.output}
    head = Head(output)
    logits, name = output, output
    while name in made_by:
        node = made_by[name]
        source = node.input[0] if node.input else ""
        if node.domain not in STANDARD:
            break
        whole = _acts_on_all(node, shapes.get(source), opset)
        if node.op_type in PICKS and whole and not (head.pick or head.scores):
            head, logits = Head(source, "", node.op_type), source
        elif node.op_type in SCORES and whole and not head.scores:
            least = decision == "min" or head.pick == "ArgMin"
            if least and node.op_type != "LogSoftmax":
                break
            head, logits = Head(source, node.op_type, head.pick), source
        elif node.op_type not in TRANSPARENT and not _widens(node, types):
            break
        name = source
    return Head(logits, head.scores, head.pick)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element types, as far as known."""
    graph = model.graph
    known = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info)}
    return known | {v.name: v.type.tensor_type.elem_type for v in graph.output}


def _widens(node: onnx.NodeProto, types: dict[str, int]) -> bool:
    """Whether a node casts what it reads to a type that has all of its numbers (or indices)."""
    if node.op_type != "Cast":
        return False
    to = next((a.i for a in node.attribute if a.name == "to"), 0)
    old = types.get(node.input[0], 0)
    if old in INDICES:
        return to in INDICES or to in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
    if old not in BY_CODE or to not in BY_CODE:
        return False
    one, other = BY_CODE[old], BY_CODE[to]
    return other.unit <= one.unit and other.tiny <= one.tiny and other.largest >= one.largest


def _acts_on_all(node: onnx.NodeProto, shape: tuple[int, ...] | None, opset: int) -> bool:
    """Whether the head compares all entries with each other (or acts on each alone)."""
    if shape is None:
        return False
    if node.op_type == "Sigmoid":
        return True
    count = math.prod(shape)
    flattens = opset < 13 and node.op_type in ("Softmax", "LogSoftmax", "Hardmax")
    default = 0 if node.op_type.startswith("Arg") else 1 if flattens else -1
    axis = {a.name: a.i for a in node.attribute}.get("axis", default)
    axis = axis + len(shape) if axis < 0 else axis
    if not 0 <= axis <= len(shape):
        return False
    covered = math.prod(shape[axis:]) if flattens else (*shape, 1)[axis]
    return count > 1 and covered == count
