"""The checker's graph as it grows: values by name, constants, and the nodes so far."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from boundcert.checker.maps import Array, Map, Pick
from boundcert.checker.nodes import DETOUR, Affine, Input, Node, NotUnderstood

#: Unit, smallest normal and largest safe number by ONNX element type.
TYPES = {1: (2.0**-24, 2.0**-126, 2.0**126), 11: (2.0**-53, 2.0**-1022, 2.0**1020)}
#: Opsets whose operators are read as they are meant.
OPSETS = range(7, 29)
#: The node that makes a value, and the value's shape.
Value = tuple[int, tuple[int, ...]]


def moderate(what: str, *numbers: NDArray[Any] | float) -> None:
    """Refuse numbers with which more may be lost on a runtime's way than is accounted for."""
    if not all(np.all(np.abs(part) <= DETOUR) for part in numbers):
        raise NotUnderstood(f"{what} multiplies or divides by numbers beyond {DETOUR:g}")


class Builder:
    """What is read of a model so far."""

    def __init__(self, model: onnx.ModelProto, shape: tuple[int, ...], source: str) -> None:
        self.nodes: list[Node] = [Input(math.prod(shape))]
        #: affine nodes that a runtime computes as they stand, without numbers of any other size
        self.plain: set[int] = set()
        self.source = source
        self.read = {name for node in model.graph.node for name in node.input}
        self.values: dict[str, Value] = {source: (0, shape)}
        self.constants: dict[str, NDArray[Any]] = {}
        self.types = {v.type.tensor_type.elem_type for v in model.graph.input}
        (self.opset,) = (o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        if self.opset not in OPSETS or model.functions:
            raise NotUnderstood(f"opset {self.opset}, or functions of its own")
        for tensor in model.graph.initializer:
            self.constants[tensor.name] = self.tensor(tensor)

    def tensor(self, tensor: onnx.TensorProto) -> NDArray[Any]:
        if tensor.external_data:
            raise NotUnderstood("weights in a file of their own, which the model's hash is not of")
        self.types.add(tensor.data_type)
        return numpy_helper.to_array(tensor)

    def arithmetic(self) -> tuple[float, float, float]:
        """That of the coarsest type there is; integers only move entries about."""
        kinds = self.types - {0, 6, 7, 9}
        if not kinds <= set(TYPES):
            raise NotUnderstood(f"element types {sorted(kinds)}; float32 and float64 are known")
        return TYPES[min(kinds)]

    def put(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def affine(
        self,
        inputs: tuple[int, ...],
        maps: tuple[Map, ...],
        bias: Array | float = 0.0,
        size: Array | float | None = None,
        moves: bool = False,
        free: bool = False,
    ) -> int:
        (n,) = {len(m.forward(np.zeros(self.nodes[i].n))) for i, m in zip(inputs, maps)}
        whole = np.broadcast_to(np.asarray(bias, dtype=np.float64), (n,))
        most = np.abs(whole) if size is None else np.broadcast_to(size, (n,))
        return self.put(Affine(n, inputs, maps, whole, most, moves, free=free))

    def normalise(self, mean: Array, std: Array) -> None:
        """In front of the model."""
        position, shape = self.values[self.source]
        mean, std = (np.broadcast_to(part, shape).ravel() for part in (mean, std))
        moderate("a normalisation", mean, std, 1.0 / std)
        about = 1.0 / std, -mean / std, 2 * np.abs(mean / std)
        self.scale(self.source, (position, shape), *about)

    def scale(
        self, name: str, value: Value, weight: Array, bias: Array, size: Array | None = None
    ) -> None:
        """x·w + b, entry by entry."""
        n = math.prod(value[1])
        pick = Pick(np.arange(n), n, weight)
        self.values[name] = self.affine((value[0],), (pick,), bias, size), value[1]

    def operand(self, node: onnx.NodeProto, k: int) -> Value:
        if k >= len(node.input) or node.input[k] not in self.values:
            raise NotUnderstood(f"operand {k} of {node.op_type} {node.name!r} is not understood")
        return self.values[node.input[k]]

    def constant(self, node: onnx.NodeProto, k: int) -> Array | None:
        if k >= len(node.input) or not node.input[k]:
            return None
        if node.input[k] not in self.constants:
            raise NotUnderstood(f"operand {k} of {node.op_type} {node.name!r} is no constant")
        stored = np.asarray(self.constants[node.input[k]])
        array = stored.astype(np.float64)
        if stored.dtype.kind != "f" or not np.isfinite(array).all():
            raise NotUnderstood(f"a weight of {node.op_type} {node.name!r} is no finite number")
        return array
