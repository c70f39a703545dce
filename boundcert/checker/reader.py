"""ONNX bytes to the checker's graph: a second reading, which shares nothing with the importer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from boundcert.checker.maps import Array, Convolution, Map, Matrix, Pick
from boundcert.checker.nodes import (
    DETOUR,
    Affine,
    Bend,
    Graph,
    Input,
    Maximum,
    Node,
    NotUnderstood,
)
from boundcert.checker.rearrange import REARRANGE, windows

#: Unit, smallest normal and largest safe number by ONNX element type.
TYPES = {1: (2.0**-24, 2.0**-126, 2.0**126), 11: (2.0**-53, 2.0**-1022, 2.0**1020)}
#: Opsets whose operators are read as they are meant.
OPSETS = range(7, 29)
#: What may stand behind the logits without changing which is the greatest; so may Sigmoid.
HEADS = ("Softmax", "LogSoftmax")
Value = tuple[int, tuple[int, ...]]


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
    nodes = _needed(reader.nodes, position)
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


def _moderate(what: str, *numbers: NDArray[Any] | float) -> None:
    """Refuse numbers with which more may be lost on a runtime's way than is accounted for."""
    if not all(np.all(np.abs(part) <= DETOUR) for part in numbers):
        raise NotUnderstood(f"{what} multiplies or divides by numbers beyond {DETOUR:g}")


class _Reader:
    def __init__(self, model: onnx.ModelProto, shape: tuple[int, ...], source: str) -> None:
        self.nodes: list[Node] = [Input(math.prod(shape))]
        self.source = source
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

    def logits(self, model: onnx.ModelProto, target: str | None) -> Value:
        """The value in front of whatever turns it into probabilities."""
        outputs = [v.name for v in model.graph.output if target is None or v.name == target]
        if len(outputs) != 1:
            raise NotUnderstood(f"{len(outputs)} outputs {target or ''}; one works")
        made = {node.output[0]: node for node in model.graph.node if node.output}
        name = outputs[0]
        while name not in self.values or (name in made and made[name].op_type == "Sigmoid"):
            head = made.get(name)
            if head is None or head.op_type not in (*HEADS, "Sigmoid"):
                raise NotUnderstood(f"output {name!r} is not understood")
            name = head.input[0]
            axis = {a.name: a.i for a in head.attribute}.get("axis", -1)
            shape = self.values.get(name, (0, ()))[1]
            if head.op_type.endswith("oftmax") and (len(shape) != 2 or axis not in (1, -1)):
                raise NotUnderstood(f"{head.op_type} over axis {axis} of {list(shape)}")
        return self.values[name]

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
    ) -> int:
        (n,) = {len(m.forward(np.zeros(self.nodes[i].n))) for i, m in zip(inputs, maps)}
        whole = np.broadcast_to(np.asarray(bias, dtype=np.float64), (n,))
        most = np.abs(whole) if size is None else np.broadcast_to(size, (n,))
        return self.put(Affine(n, inputs, maps, whole, most, moves))

    def normalise(self, mean: Array, std: Array) -> None:
        """In front of the model."""
        position, shape = self.values[self.source]
        mean, std = (np.broadcast_to(part, shape).ravel() for part in (mean, std))
        _moderate("a normalisation", mean, std, 1.0 / std)
        about = 1.0 / std, -mean / std, 2 * np.abs(mean / std)
        self.scale(self.source, (position, shape), *about)

    def scale(
        self, name: str, value: Value, weight: Array, bias: Array, size: Array | None = None
    ) -> None:
        """x·w + b, entry by entry."""
        n = math.prod(value[1])
        pick = Pick(np.arange(n), n, weight)
        self.values[name] = self.affine((value[0],), (pick,), bias, size), value[1]

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
        elif node.op_type in OPERATORS:
            OPERATORS[node.op_type](self, node, attributes)
        elif node.op_type in HEADS:
            pass  # whoever reads on behind it finds no value
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


def _sum(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    """Add, Sub, Sum of computed values and constants."""
    shapes = [
        reader.values[n][1] if n in reader.values else reader.constants[n].shape
        for n in node.input
        if n in reader.values or n in reader.constants
    ]
    if len(shapes) != len(node.input):
        raise NotUnderstood(f"{node.op_type} {node.name!r} of a value that is not understood")
    shape = tuple(np.broadcast_shapes(*shapes))
    inputs, maps = [], []
    bias, size = np.zeros(math.prod(shape)), np.zeros(math.prod(shape))
    for k, name in enumerate(node.input):
        sign = -1.0 if node.op_type == "Sub" and k else 1.0
        if name in reader.values:
            position, old = reader.values[name]
            index = np.broadcast_to(np.arange(math.prod(old)).reshape(old), shape).ravel()
            inputs.append(position)
            maps.append(Pick(index, math.prod(old), sign))
        else:
            constant = reader.constant(node, k)
            assert constant is not None
            whole = np.broadcast_to(constant, shape).ravel()
            bias, size = bias + sign * whole, size + np.abs(whole)
    reader.values[node.output[0]] = reader.affine(tuple(inputs), tuple(maps), bias, size), shape


def _product(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    """Mul and Div by a constant; Neg."""
    place = 0 if node.input[0] in reader.values else 1
    if node.op_type == "Div" and place:
        raise NotUnderstood(f"Div {node.name!r} by a computed value")
    position, old = reader.operand(node, place)
    factor = np.array(-1.0) if node.op_type == "Neg" else reader.constant(node, 1 - place)
    assert factor is not None
    shape = tuple(np.broadcast_shapes(old, factor.shape))
    index = np.broadcast_to(np.arange(math.prod(old)).reshape(old), shape).ravel()
    whole = np.broadcast_to(factor, shape).ravel()
    if node.op_type == "Div":
        if not (np.abs(whole) >= reader.arithmetic()[1]).all():
            raise NotUnderstood(f"Div {node.name!r} by a number that a runtime may read as 0")
        whole = 1.0 / whole
    pick = Pick(index, math.prod(old), whole)
    reader.values[node.output[0]] = reader.affine((position,), (pick,)), shape


def _gemm(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    position, shape = reader.operand(node, 0)
    weight = reader.constant(node, 1)
    if weight is None or weight.ndim != 2 or attributes.get("transA", 0):
        raise NotUnderstood(f"{node.op_type} {node.name!r}: rows times a constant matrix works")
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    _moderate(f"{node.op_type} {node.name!r}", alpha, 1.0 / alpha, beta)
    weight = (weight.T if attributes.get("transB", 0) else weight) * alpha
    if shape[-1] != len(weight):
        raise NotUnderstood(f"{node.op_type} {node.name!r} of shapes that do not fit")
    out, bias = (*shape[:-1], weight.shape[1]), reader.constant(node, 2)
    whole = 0.0 if bias is None else np.broadcast_to(bias, out).ravel() * beta
    reader.values[node.output[0]] = reader.affine((position,), (Matrix(weight),), whole), out


def _conv(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    position, shape = reader.operand(node, 0)
    weight, bias = reader.constant(node, 1), reader.constant(node, 2)
    assert weight is not None
    size, axes = shape[2:], len(shape) - 2
    strides = tuple(attributes.get("strides", (1,) * axes))
    dilations = tuple(attributes.get("dilations", (1,) * axes))
    kernel = tuple(weight.shape[2:])
    pads = windows(size, kernel, strides, dilations, attributes, ceil=False)[1]
    groups = int(attributes.get("group", 1))
    if shape[0] != 1 or weight.shape[1] * groups != shape[1]:
        raise NotUnderstood(f"Conv {node.name!r} of shapes that do not fit")
    part = Convolution(weight, size, pads, strides, dilations, groups)
    whole = 0.0 if bias is None else np.repeat(bias, math.prod(part.out))
    at = reader.affine((position,), (part,), whole)
    reader.values[node.output[0]] = at, (1, weight.shape[0], *part.out)


def _normalise(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    """BatchNormalization as it is evaluated."""
    position, shape = reader.operand(node, 0)
    gain, shift, mean, variance = (reader.constant(node, k) for k in (1, 2, 3, 4))
    if attributes.get("training_mode", 0) or len([o for o in node.output if o]) > 1:
        raise NotUnderstood(f"BatchNormalization {node.name!r} in training mode")
    spread = np.sqrt(variance + attributes.get("epsilon", float(np.float32(1e-5))))  # type: ignore[operator]
    _moderate(f"BatchNormalization {node.name!r}", gain, mean, spread, 1.0 / spread)  # type: ignore[arg-type]
    weight, repeat = gain / spread, math.prod(shape[2:])
    bias, size = shift - mean * weight, np.abs(shift) + np.abs(mean * weight)  # type: ignore[operator,arg-type]
    parts = (np.repeat(part, repeat) for part in (weight, bias, size))
    reader.scale(node.output[0], (position, shape), *parts)


def _pool(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    """Maxima and averages over windows, or over whole planes."""
    position, shape = reader.operand(node, 0)
    whole = node.op_type.startswith("Global")
    kernel = shape[2:] if whole else tuple(attributes["kernel_shape"])
    ones = (1,) * len(kernel)
    strides = ones if whole else tuple(attributes.get("strides", ones))
    dilations = ones if whole else tuple(attributes.get("dilations", ones))
    ceil = bool(attributes.get("ceil_mode", 0))
    table, _, out = windows(shape[2:], kernel, strides, dilations, attributes, ceil)
    planes = np.arange(shape[0] * shape[1])[:, None, None] * math.prod(shape[2:])
    table = np.where(table < 0, -1, table + planes).reshape(-1, table.shape[1])
    real = (table >= 0).sum(axis=1)
    if not (real > 0).all():
        raise NotUnderstood(f"{node.op_type} {node.name!r} with a window of padding alone")
    if node.op_type.endswith("MaxPool"):
        if len([o for o in node.output if o]) > 1:
            raise NotUnderstood(f"MaxPool {node.name!r} with indices")
        at = reader.put(Maximum(len(table), (position,), table))
    else:
        counted = bool(attributes.get("count_include_pad", 0))
        if counted and ceil:
            raise NotUnderstood(f"AveragePool {node.name!r} counts padding, and rounds up")
        share = 1.0 / (np.full(len(table), float(math.prod(kernel))) if counted else real)
        n = math.prod(shape)
        maps = tuple(Pick(column, n, share) for column in table.T)
        at = reader.affine((position,) * len(maps), maps)
    reader.values[node.output[0]] = at, (*shape[:2], *out)


def _bend(reader: _Reader, node: onnx.NodeProto, attributes: Any) -> None:
    position, shape = reader.operand(node, 0)
    name, n = node.op_type, math.prod(shape)
    usual = {"LeakyRelu": 0.01, "Elu": 1.0, "HardSigmoid": 0.2}
    a = np.array([float(np.float32(attributes.get("alpha", usual.get(name, 0.0))))])
    b = float(np.float32(attributes.get("beta", 0.5))) if name == "HardSigmoid" else 0.0
    if name == "PRelu":
        slope = reader.constant(node, 1)
        assert slope is not None
        name, a = "LeakyRelu", np.ascontiguousarray(np.broadcast_to(slope, shape)).ravel()
    if name == "Clip":
        ends = [reader.constant(node, k) for k in (1, 2)]
        low, high = (
            float(attributes.get(key, default)) if end is None else float(end)
            for end, key, default in zip(ends, ("min", "max"), (-math.inf, math.inf))
        )
        if not low < high:
            raise NotUnderstood(f"Clip {node.name!r} to [{low}, {high}]")
        a, b = np.array([low]), high
    if (name == "HardSigmoid" and a[0] == 0) or (name == "Elu" and a[0] < 0):
        raise NotUnderstood(f"{name} {node.name!r} with alpha {a[0]}")
    reader.values[node.output[0]] = reader.put(Bend(n, (position,), name, a, b)), shape


Operator = Callable[[_Reader, onnx.NodeProto, Any], None]
OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(("Add", "Sub", "Sum"), _sum),
    **dict.fromkeys(("Mul", "Div", "Neg"), _product),
    **dict.fromkeys(("Gemm", "MatMul"), _gemm),
    "Conv": _conv,
    "BatchNormalization": _normalise,
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"), _pool),
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "PRelu", "Clip", "HardSigmoid", "Sigmoid", "Tanh"), _bend
    ),
    **dict.fromkeys(("Softplus", "Softsign", "Elu", "Abs"), _bend),
}


def _needed(nodes: list[Node], target: int) -> list[Node]:
    """What the target depends on, the target last."""
    keep = {0, target}
    for k in range(target, 0, -1):
        if k in keep:
            keep.update(nodes[k].inputs)
    order = sorted(keep)
    return [_with(nodes[k], tuple(order.index(i) for i in nodes[k].inputs)) for k in order]


def _with(node: Node, inputs: tuple[int, ...], **changes: Any) -> Node:
    return type(node)(**{**vars(node), "inputs": inputs, **changes})


def _pool_first(nodes: list[Node]) -> list[Node]:
    """max relu(z) = relu(max z), where nobody else reads relu(z): fewer entries bend."""
    out = list(nodes)
    for k, node in enumerate(nodes):
        before = nodes[node.inputs[0]] if isinstance(node, Maximum) else None
        if isinstance(before, Bend) and before.name == "Relu":
            place = node.inputs[0]
            if sum(n.inputs.count(place) for n in nodes) == 1:
                # the pool takes the place of the activation, and the other way round
                out[place] = _with(node, before.inputs)
                out[k] = _with(before, (place,), n=node.n)
    return out
