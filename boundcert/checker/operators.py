"""How the checker reads each ONNX operator that computes something."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from boundcert.checker.bends import BENDS, parameters
from boundcert.checker.builder import Builder, Value, moderate
from boundcert.checker.maps import Convolution, Matrix, Pick
from boundcert.checker.nodes import Bend, NotUnderstood, Product
from boundcert.checker.normalisers import lrn, softmax
from boundcert.checker.rearrange import windows
from boundcert.checker.reductions import extremum, pool, reduce


def _sum(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
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
    at = reader.affine(tuple(inputs), tuple(maps), bias, size)
    reader.plain.add(at)
    reader.values[node.output[0]] = at, shape


def _product(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    """Mul and Div by a constant; Neg; Mul and Div of two computed values."""
    pair = [reader.values.get(name) for name in node.input]
    below = pair[1] if node.op_type == "Div" else None
    if below is not None:
        # u·(1/v), whose errors are no smaller than those of a quotient
        inverse = Bend(math.prod(below[1]), (below[0],), "Reciprocal", np.zeros(1), 0.0)
        pair[1] = reader.put(inverse), below[1]
    if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
        _gate(reader, node, [pair[0], pair[1]])
        return
    place = 0 if pair[0] is not None else 1
    position, old = pair[1] if below and pair[1] else reader.operand(node, place)
    factor = np.array(-1.0) if node.op_type == "Neg" else reader.constant(node, 1 - place)
    assert factor is not None
    shape = tuple(np.broadcast_shapes(old, factor.shape))
    index = np.broadcast_to(np.arange(math.prod(old)).reshape(old), shape).ravel()
    whole = np.broadcast_to(factor, shape).ravel()
    if node.op_type == "Div" and below is None:
        if not (np.abs(whole) >= reader.arithmetic()[1]).all():
            raise NotUnderstood(f"Div {node.name!r} by a number that a runtime may read as 0")
        whole = 1.0 / whole
    at = reader.affine((position,), (Pick(index, math.prod(old), whole),))
    reader.plain.add(at)
    reader.values[node.output[0]] = at, shape


def _gate(reader: Builder, node: onnx.NodeProto, pair: list[Value]) -> None:
    """A product of two computed values, broadcast first; a square where they are one."""
    shape = tuple(np.broadcast_shapes(*(old for _, old in pair)))
    n, wide = math.prod(shape), []
    for position, old in pair:
        index = np.broadcast_to(np.arange(math.prod(old)).reshape(old), shape).ravel()
        pick = Pick(index, math.prod(old))
        copied = len(index) != math.prod(old) or (index != np.arange(n)).any()
        wide.append(reader.affine((position,), (pick,), moves=True) if copied else position)
    square = Bend(n, (wide[0],), "Pow", np.array([2.0]), 0.0)
    at = reader.put(square if wide[0] == wide[1] else Product(n, tuple(wide)))
    reader.values[node.output[0]] = at, shape


def _gemm(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    position, shape = reader.operand(node, 0)
    weight = reader.constant(node, 1)
    if weight is None or weight.ndim != 2 or attributes.get("transA", 0):
        raise NotUnderstood(f"{node.op_type} {node.name!r}: rows times a constant matrix works")
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    moderate(f"{node.op_type} {node.name!r}", alpha, 1.0 / alpha, beta)
    weight = (weight.T if attributes.get("transB", 0) else weight) * alpha
    if shape[-1] != len(weight):
        raise NotUnderstood(f"{node.op_type} {node.name!r} of shapes that do not fit")
    out, bias = (*shape[:-1], weight.shape[1]), reader.constant(node, 2)
    whole = 0.0 if bias is None else np.broadcast_to(bias, out).ravel() * beta
    reader.values[node.output[0]] = reader.affine((position,), (Matrix(weight),), whole), out


def _conv(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
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


def _normalise(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    """BatchNormalization as it is evaluated."""
    position, shape = reader.operand(node, 0)
    gain, shift, mean, variance = (reader.constant(node, k) for k in (1, 2, 3, 4))
    if attributes.get("training_mode", 0) or len([o for o in node.output if o]) > 1:
        raise NotUnderstood(f"BatchNormalization {node.name!r} in training mode")
    spread = np.sqrt(variance + attributes.get("epsilon", float(np.float32(1e-5))))  # type: ignore[operator]
    moderate(f"BatchNormalization {node.name!r}", gain, mean, spread, 1.0 / spread)  # type: ignore[arg-type]
    weight, repeat = gain / spread, math.prod(shape[2:])
    bias, size = shift - mean * weight, np.abs(shift) + np.abs(mean * weight)  # type: ignore[operator,arg-type]
    parts = (np.repeat(part, repeat) for part in (weight, bias, size))
    reader.scale(node.output[0], (position, shape), *parts)


def _bend(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    position, shape = reader.operand(node, 0)
    name, a, b = parameters(reader, node, attributes, shape)
    at = reader.put(Bend(math.prod(shape), (position,), name, a, b))
    reader.values[node.output[0]] = at, shape


Operator = Callable[[Builder, onnx.NodeProto, Any], None]
OPERATORS: dict[str, Operator] = {
    **dict.fromkeys(("Add", "Sub", "Sum"), _sum),
    **dict.fromkeys(("Mul", "Div", "Neg"), _product),
    **dict.fromkeys(("Gemm", "MatMul"), _gemm),
    "Conv": _conv,
    "BatchNormalization": _normalise,
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"), pool),
    **dict.fromkeys(("ReduceMean", "ReduceSum"), reduce),
    **dict.fromkeys(BENDS, _bend),
    **dict.fromkeys(("Max", "Min"), extremum),
    "Softmax": softmax,
    "LRN": lrn,
}
