"""Nodes that only move entries, as functions of arrays: of values, or of their indices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.nodes import NotUnderstood

Arrays = Sequence[Any]
Move = Callable[[Arrays, Any, Any, int], Sequence[Any]]


def given(arrays: Arrays, attributes: Any, name: str, k: int) -> list[int] | None:
    """What is an attribute in old opsets and an operand in new ones."""
    if name in attributes:
        return [int(v) for v in np.atleast_1d(attributes[name])]
    if k < len(arrays) and arrays[k] is not None:
        return [int(v) for v in np.atleast_1d(arrays[k])]
    return None


def _reshape(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    shape = given(arrays, attributes, "shape", 1) or []
    if attributes.get("allowzero", 0) and 0 in shape:
        raise NotUnderstood("Reshape to nothing")
    return [arrays[0].reshape([arrays[0].shape[i] if s == 0 else s for i, s in enumerate(shape)])]


def _flatten(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    axis = attributes.get("axis", 1)
    shape = arrays[0].shape
    axis = axis + len(shape) if axis < 0 else axis
    return [arrays[0].reshape(math.prod(shape[:axis]), -1)]


def _squeeze(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    axes = given(arrays, attributes, "axes", 1)
    return [np.squeeze(arrays[0], None if axes is None else tuple(axes))]


def _unsqueeze(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    axes = given(arrays, attributes, "axes", 1) or []
    return [np.expand_dims(arrays[0], tuple(axes))]


def _concat(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    return [np.concatenate([np.asarray(a) for a in arrays], axis=attributes["axis"])]


def _slice(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    starts, ends = (given(arrays, attributes, name, k) for k, name in ((1, "starts"), (2, "ends")))
    assert starts is not None and ends is not None
    axes = given(arrays, attributes, "axes", 3) or list(range(len(starts)))
    steps = given(arrays, attributes, "steps", 4) or [1] * len(starts)
    cuts = [slice(None)] * arrays[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        # what is below −n means the first entry; as an end, going down, in front of it
        length = arrays[0].shape[axis]
        stop = None if step < 0 and end < -length else end
        cuts[axis] = slice(max(start, -length), stop, step)
    return [arrays[0][tuple(cuts)]]


def _gather(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    return [np.take(arrays[0], np.asarray(arrays[1]), axis=attributes.get("axis", 0))]


def _split(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    axis, parts = attributes.get("axis", 0), given(arrays, attributes, "split", 1)
    count, length = len(node.output), arrays[0].shape[axis]
    each = -(-length // count)
    parts = parts or [min(each, length - k * each) for k in range(count)]
    if len(parts) != count or sum(parts) != length or min(parts) < 0:
        raise NotUnderstood(f"Split of {length} entries into {parts}")
    return np.split(arrays[0], np.cumsum(parts)[:-1], axis=axis)


def _pad(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    pads = given(arrays, attributes, "pads", 1) or []
    mode = attributes.get("mode", b"constant").decode()
    if len(arrays) > 3 and arrays[3] is not None:
        raise NotUnderstood("Pad of some axes")
    if mode not in ("constant", "reflect", "edge"):
        raise NotUnderstood(f"Pad of mode {mode}")
    half = len(pads) // 2
    both = list(zip(pads[:half], pads[half:]))
    shrunk = arrays[0][
        tuple(slice(max(-b, 0), s - max(-e, 0)) for (b, e), s in zip(both, arrays[0].shape))
    ]
    wide = [(max(b, 0), max(e, 0)) for b, e in both]
    if mode == "constant":
        return [np.pad(shrunk, wide, constant_values=-1)]
    return [np.pad(shrunk, wide, mode=mode)]  # type: ignore[call-overload]


def _same(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    return [arrays[0]]


def _dropout(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    if len(arrays) > 2 and arrays[2] is not None and np.any(arrays[2]):
        raise NotUnderstood("Dropout in training mode")
    return [arrays[0]]


def _transpose(arrays: Arrays, attributes: Any, node: Any, opset: int) -> Arrays:
    return [np.transpose(arrays[0], attributes.get("perm"))]


REARRANGE: dict[str, Move] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Pad": _pad,
    "Identity": _same,
    "Dropout": _dropout,
}


def windows(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    attributes: Any,
    ceil: bool,
) -> tuple[NDArray[np.int64], tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Flat indices (windows, entries) on a plane, −1 for padding; the pads; the plane of windows.

    With ``ceil`` a last window may hang over the padding, but not start there.
    """
    axes, auto = len(size), attributes.get("auto_pad", b"NOTSET").decode()
    given = list(attributes.get("pads", (0,) * (2 * axes)))
    pads, out = [], []
    for k in range(axes):
        span = dilations[k] * (kernel[k] - 1) + 1
        before, after = given[k], given[axes + k]
        if auto.startswith("SAME"):
            total = max((-(-size[k] // strides[k]) - 1) * strides[k] + span - size[k], 0)
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        elif auto not in ("NOTSET", "VALID"):
            raise NotUnderstood(f"auto_pad {auto}")
        elif auto == "VALID":
            before = after = 0
        room = size[k] + before + after - span
        count = (-(-room // strides[k]) if ceil else room // strides[k]) + 1
        if ceil and (count - 1) * strides[k] >= size[k] + before:
            count -= 1
        if before < 0 or after < 0 or count < 1:
            raise NotUnderstood("windows that do not fit their plane")
        pads.append((before, after))
        out.append(count)
    spill = [
        max((o - 1) * s + d * (k - 1) + 1 - (n + sum(p)), 0)
        for o, s, d, k, n, p in zip(out, strides, dilations, kernel, size, pads)
    ]
    wide = np.pad(
        np.arange(math.prod(size)).reshape(size),
        [(b, a + more) for (b, a), more in zip(pads, spill)],
        constant_values=-1,
    )
    columns = []
    for offset in itertools.product(*map(range, kernel)):
        cuts = tuple(
            slice(i * d, i * d + (o - 1) * s + 1, s)
            for i, d, o, s in zip(offset, dilations, out, strides)
        )
        columns.append(wide[cuts].ravel())
    return np.stack(columns, axis=1), tuple(pads), tuple(out)
