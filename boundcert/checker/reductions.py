"""How the checker reads what sums, averages or picks the greatest of several entries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from boundcert.checker.builder import Builder
from boundcert.checker.maps import Array, Pick, Total
from boundcert.checker.nodes import Maximum, NotUnderstood
from boundcert.checker.rearrange import given, windows


def pool(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
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
        at = _sums(reader, position, table, share)
    reader.values[node.output[0]] = at, (*shape[:2], *out)


def reduce(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    """Sums and means over axes."""
    position, shape = reader.operand(node, 0)
    arrays = [reader.constants.get(name, None) for name in node.input]
    if any(name and name not in reader.constants for name in node.input[1:]):
        raise NotUnderstood(f"{node.op_type} {node.name!r} over computed axes")
    axes = given(arrays, attributes, "axes", 1) or []
    if not axes and not attributes.get("noop_with_empty_axes", 0):
        axes = list(range(len(shape)))
    axes = sorted({axis + len(shape) if axis < 0 else axis for axis in axes})
    index = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axes, range(len(axes)))
    kept = [1 if k in axes else s for k, s in enumerate(shape)]
    out = (
        kept if attributes.get("keepdims", 1) else [s for k, s in enumerate(shape) if k not in axes]
    )
    table = index.reshape(math.prod(shape[k] for k in axes), -1).T
    if not table.size:
        raise NotUnderstood(f"{node.op_type} {node.name!r} of nothing")
    share = np.full(len(table), 1.0 if node.op_type == "ReduceSum" else 1.0 / table.shape[1])
    reader.values[node.output[0]] = _sums(reader, position, table, share), tuple(out)


def extremum(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    """Max and Min, entry by entry: of all operands side by side; min z is −max −z."""
    sign, count = (1.0 if node.op_type == "Max" else -1.0), len(node.input)
    computed = [k for k in range(count) if node.input[k] in reader.values]
    constants = {k: np.asarray(reader.constant(node, k)) for k in range(count) if k not in computed}
    values = {k: reader.operand(node, k) for k in computed}
    found = [constants[k].shape if k in constants else values[k][1] for k in range(count)]
    shape = tuple(np.broadcast_shapes(*found))
    n, maps = math.prod(shape), []
    bias = np.zeros((count, n))
    for k, old in enumerate(found):
        if k in constants:
            bias[k] = sign * np.broadcast_to(constants[k], shape).ravel()
            continue
        index = np.full((count, n), -1)
        index[k] = np.broadcast_to(np.arange(math.prod(old)).reshape(old), shape).ravel()
        maps.append(Pick(index.ravel(), math.prod(old), sign))
    inputs, moves = tuple(value[0] for value in values.values()), not constants
    beside = reader.affine(inputs, tuple(maps), bias.ravel(), moves=moves)
    at = reader.put(Maximum(n, (beside,), np.arange(count * n).reshape(count, n).T))
    if sign < 0:
        at = reader.affine((at,), (Pick(np.arange(n), n, -1.0),), moves=True)
    reader.values[node.output[0]] = at, shape


def _sums(reader: Builder, position: int, table: NDArray[np.int64], share: Array) -> int:
    """Σ of the entries in each row of a table, −1 for none, times its share."""
    return reader.affine((position,), (Total(table, reader.nodes[position].n, share),))
