"""ONNX bytes to the checker's graph: a second reading, which shares nothing with the importer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from boundcert.checker.builder import TYPES, Builder, Value
from boundcert.checker.gates import with_gates
from boundcert.checker.maps import Array, Pick
from boundcert.checker.nodes import Bend, Graph, Maximum, Node, NotUnderstood, altered
from boundcert.checker.operators import OPERATORS
from boundcert.checker.rearrange import REARRANGE

#: What may stand behind the logits without changing which is the greatest; these take all of them.
HEADS = ("Softmax", "LogSoftmax")
TURNS = (*HEADS, "Sigmoid")


def read(
    data: bytes,
    shape: tuple[int, ...],
    source: str | None,
    target: str | None,
    decision: str | None,
    front: tuple[Array, ...] | None,
    pool_first: bool,
) -> Graph:
    """The graph from the model's input, of a shape, to its logits.

    ``source`` and ``target`` name them where there are several; what turns logits into
    probabilities is left out. ``front`` is (mean, std) of a normalisation in front of it; with
    ``pool_first`` a pool of rectified values is read as the rectified pool.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        onnx.checker.check_model(model)
    except Exception as error:
        raise NotUnderstood(f"not an ONNX model ({error})") from None
    try:
        with np.errstate(all="ignore"):
            reader = _Reader(model, shape, _source(model, shape, source))
            if front is not None:
                reader.normalise(*front)
            for node in model.graph.node:
                reader.take(node)
            position, logits = reader.logits(model, target)
            arithmetic = reader.arithmetic()
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        raise NotUnderstood(f"attributes or shapes that do not fit ({error})") from error
    except (ArithmeticError, MemoryError) as error:
        raise NotUnderstood(f"attributes that are out of range ({error})") from error
    count = math.prod(logits)
    if count != max(logits, default=1):
        raise NotUnderstood(f"logits of shape {list(logits)} are no vector")
    if count == 1:
        pair = Pick(np.zeros(2, dtype=np.int64), 1, np.array([0.0, 1.0]))
        position = reader.affine((position,), (pair,), moves=True)
    elif decision == "min":
        minus = Pick(np.arange(count), count, -1.0)
        position = reader.affine((position,), (minus,), moves=True)
    nodes = _needed(*with_gates(reader.nodes, position, reader.plain))
    return Graph(tuple(_pool_first(nodes) if pool_first else nodes), *arithmetic)


def _source(model: onnx.ModelProto, shape: tuple[int, ...], name: str | None) -> str:
    """The input's name; its declared shape must allow for one sample of this shape."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in constants]
    inputs = [v for v in inputs if name is None or v.name == name]
    if len(inputs) != 1:
        raise NotUnderstood(f"{len(inputs)} inputs {'' if name is None else name}; one works")
    dims = inputs[0].type.tensor_type.shape.dim
    fixed = [d.dim_value if d.HasField("dim_value") else None for d in dims]
    fits = len(fixed) == len(shape) and all(f in (None, 0, s) for f, s in zip(fixed, shape))
    if not fits or (fixed and fixed[0] in (None, 0) and shape[0] != 1):
        raise NotUnderstood(f"an input of shape {fixed} does not take one sample of {list(shape)}")
    if inputs[0].type.tensor_type.elem_type not in TYPES:
        raise NotUnderstood("an input that is neither float32 nor float64")
    return inputs[0].name


class _Reader(Builder):
    """Takes one ONNX node after the other."""

    def logits(self, model: onnx.ModelProto, target: str | None) -> Value:
        """The value in front of whatever turns it into probabilities."""
        outputs = [v.name for v in model.graph.output if target is None or v.name == target]
        if len(outputs) != 1:
            raise NotUnderstood(f"{len(outputs)} outputs {target or ''}; one works")
        made = {node.output[0]: node for node in model.graph.node if node.output}
        name = outputs[0]
        while name not in self.values or (name in made and made[name].op_type in TURNS):
            head = made.get(name)
            if head is None or head.op_type not in TURNS:
                raise NotUnderstood(f"output {name!r} is not understood")
            name = head.input[0]
            axis = {a.name: a.i for a in head.attribute}.get("axis", -1)
            shape = self.values.get(name, (0, ()))[1]
            if head.op_type.endswith("oftmax") and (len(shape) != 2 or axis not in (1, -1)):
                raise NotUnderstood(f"{head.op_type} over axis {axis} of {list(shape)}")
        return self.values[name]

    def take(self, node: onnx.NodeProto) -> None:
        """Append one ONNX node, or fold it into a constant."""
        if node.domain not in ("", "ai.onnx"):
            raise NotUnderstood(f"{node.op_type} of domain {node.domain!r}")
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        known = [name in self.constants or not name for name in node.input]
        if node.op_type == "Constant":
            if "value" not in attributes and not any(k.startswith("value_i") for k in attributes):
                raise NotUnderstood(f"Constant {node.output[0]!r} that is no tensor of numbers")
            value = attributes.pop("value", None)
            self.constants[node.output[0]] = (
                np.asarray(next(iter(attributes.values()))) if value is None else self.tensor(value)
            )
        elif node.op_type == "Shape" and node.input[0] in self.values:
            self.constants[node.output[0]] = np.array(self.values[node.input[0]][1])[
                attributes.get("start", 0) : attributes.get("end")
            ]
        elif node.op_type in REARRANGE:
            self._rearrange(node, attributes, known)
        elif all(known):
            raise NotUnderstood(f"{node.op_type} {node.output[0]!r} computes a constant")
        elif node.op_type in HEADS and (
            node.output[0] not in self.read or node.op_type != "Softmax"
        ):
            pass  # whoever reads on behind it finds no value
        elif node.op_type in OPERATORS:
            OPERATORS[node.op_type](self, node, attributes)
        else:
            raise NotUnderstood(f"operator {node.op_type} (node {node.name!r})")

    def _rearrange(self, node: onnx.NodeProto, attributes: Any, known: list[bool]) -> None:
        """Nodes that move entries: done with their indices, or with a constant itself."""
        live = [k for k, name in enumerate(node.input) if name in self.values]
        arrays: list[Any] = []
        for k, name in enumerate(node.input):
            if k in live:
                shape = self.values[name][1]
                arrays.append(np.arange(math.prod(shape)).reshape(shape))
            elif not known[k]:
                raise NotUnderstood(f"{node.op_type} reads {name!r}, of which nothing is known")
            else:
                arrays.append(self.constants[name] if name else None)
        if not live:
            if node.op_type == "Pad":
                raise NotUnderstood(f"Pad {node.output[0]!r} of a constant")
            found = REARRANGE[node.op_type](arrays, attributes, node, self.opset)
            self.constants.update({n: np.asarray(f) for n, f in zip(node.output, found)})
            return
        if live != [0] and node.op_type != "Concat":
            raise NotUnderstood(f"{node.op_type} of a computed {node.input[live[-1]]!r}")
        picked: list[list[NDArray[np.int64]]] = []
        for k in live:
            # everybody else's entries are nobody's
            others = [
                a if a is None or j == k or (node.op_type != "Concat") else np.full(a.shape, -1)
                for j, a in enumerate(arrays)
            ]
            found = REARRANGE[node.op_type](others, attributes, node, self.opset)
            picked.append([np.asarray(f, dtype=np.int64) for f in found])
        fills: list[Any] = [0.0] * len(node.output)
        fixed = [j for j in range(len(arrays)) if j not in live]
        if node.op_type == "Concat" and fixed:
            zeros = [np.zeros(a.shape) if j in live else a for j, a in enumerate(arrays)]
            fills = [f.ravel() for f in REARRANGE["Concat"](zeros, attributes, node, self.opset)]
        elif node.op_type == "Pad":
            given = arrays[2] if len(arrays) > 2 and arrays[2] is not None else None
            fill = float(attributes.get("value", 0.0) if given is None else given)
            fills = [np.where(picked[0][0].ravel() < 0, fill, 0.0)]
        inputs = tuple(self.values[node.input[k]][0] for k in live)
        for which, name in enumerate(node.output):
            if name and (which == 0 or node.op_type == "Split"):
                maps = tuple(
                    Pick(p[which].ravel(), self.nodes[i].n) for i, p in zip(inputs, picked)
                )
                fill = fills[which]
                at = self.affine(inputs, maps, fill, moves=not np.any(fill))
                self.values[name] = at, picked[0][which].shape


def _needed(nodes: list[Node], target: int) -> list[Node]:
    """What the target depends on, the target last."""
    keep = {0, target}
    for k in range(target, 0, -1):
        if k in keep:
            keep.update(nodes[k].inputs)
    order = sorted(keep)
    return [altered(nodes[k], tuple(order.index(i) for i in nodes[k].inputs)) for k in order]


def _pool_first(nodes: list[Node]) -> list[Node]:
    """max relu(z) = relu(max z), where nobody else reads relu(z): fewer entries bend."""
    out = list(nodes)
    for k, node in enumerate(nodes):
        before = nodes[node.inputs[0]] if isinstance(node, Maximum) else None
        if isinstance(before, Bend) and before.name == "Relu":
            place = node.inputs[0]
            if sum(n.inputs.count(place) for n in nodes) == 1:
                # the pool takes the place of the activation, and the other way round
                out[place] = altered(node, before.inputs)
                out[k] = altered(before, (place,), n=node.n)
    return out
