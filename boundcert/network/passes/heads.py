"""Drop the head: bounds are on logits, and softmax, sigmoid and argmax do not move the winner."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx

from boundcert.network.read import STANDARD, opset_of

#: Operators that only reshape or rename between the logits and a head.
TRANSPARENT = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Flatten", "Reshape")
HEADS = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "ArgMin", "Hardmax")


@dataclass(frozen=True)
class Head:
    """The logits' tensor name, and what was dropped behind it (operator types, last first)."""

    logits: str
    dropped: tuple[str, ...]

    @property
    def least_wins(self) -> bool:
        """Whether the model itself takes the least output."""
        return "ArgMin" in self.dropped


def find_head(model: onnx.ModelProto, output: str, shapes: dict[str, tuple[int, ...]]) -> Head:
    """Walk back from the output over heads that act on the whole output vector.

    ``shapes`` are inferred at batch size one; a softmax over part of the entries is not a head.
    """
    opset = opset_of(model)
    made_by = {name: node for node in model.graph.node for name in node.output}
    logits, name = output, output
    dropped: list[str] = []
    passed: list[str] = []
    while name in made_by:
        node = made_by[name]
        source = node.input[0] if node.input else ""
        if node.domain not in STANDARD:
            break
        if node.op_type in HEADS and _acts_on_all(node, shapes.get(source), opset):
            dropped += [*passed, node.op_type]
            passed = []
            logits = source
        elif node.op_type in TRANSPARENT:
            passed.append(node.op_type)
        else:
            break
        name = source
    return Head(logits, tuple(dropped))


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
