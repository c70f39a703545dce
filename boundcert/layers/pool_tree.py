"""Window maxima as a tree of max(a, b) = b + relu(a − b), out of differences and Relus."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from boundcert.layers.activation import elementwise
from boundcert.layers.base import Emit, numel
from boundcert.layers.merge import Add, maximum
from boundcert.layers.structure import Reshape, Select
from boundcert.layers.taps import Taps
from boundcert.layers.windows import Windows

#: A single window of more entries is halved as a whole: fewer nodes than axis by axis.
LARGEST_TREE = 16


def window_maxima(emit: Emit, x: int, windows: Windows) -> int:
    """Maxima of the windows over the value at ``x``, (N, C, spatial…); the result's position.

    The maximum over a window is the maximum over its rows of their maxima, so the axes follow one
    another, and neighbouring windows share what they have in common.
    """
    shape = emit.shape(x)
    if math.prod(windows.out) == 1 and math.prod(windows.kernel) > LARGEST_TREE:
        return _halved(emit, x, windows)
    lengths = _lengths(windows)
    if any(windows.before) or any(n > size for n, size in zip(lengths, windows.size)):
        select = clamped(windows, shape)
        x = emit(select, select.out_shape, x, op="Border")
    start = x
    for axis in range(len(windows.size)):
        x = _along(emit, x, windows, axis)
    # a pool that does nothing is still a node
    return emit(Reshape(shape, shape), shape, x) if x == start else x


def _lengths(windows: Windows) -> tuple[int, ...]:
    """Positions that the windows of each axis cover, from the first's start to the last's end."""
    steps = zip(windows.out, windows.stride, windows.extent)
    return tuple((count - 1) * stride + extent for count, stride, extent in steps)


def clamped(windows: Windows, shape: tuple[int, ...]) -> Select:
    """What the windows cover, where positions off the data repeat one that is on it.

    Position p < 0 repeats p mod d and p ≥ n the last one congruent to it, d the dilation. A window
    that holds p holds some position q on the data (else the pool was refused) and all those
    congruent between p and q, the repeated one among them: its maximum does not change. Positions
    that no window holds repeat anything.
    """
    places = np.arange(numel(shape)).reshape(shape)
    lengths = _lengths(windows)
    for i, (size, dilation) in enumerate(zip(windows.size, windows.dilation)):
        p = np.arange(lengths[i]) - windows.before[i]
        last = size - 1 - (size - 1 - p) % dilation
        inside = np.where(p < 0, p % dilation, np.where(p >= size, last, p))
        places = places.take(np.clip(inside, 0, size - 1), axis=i + 2)
    index = torch.from_numpy(np.ascontiguousarray(places).reshape(-1))
    return Select(shape, (*shape[:2], *lengths), index=index)


def _along(emit: Emit, x: int, windows: Windows, axis: int) -> int:
    """Maxima over one axis: pairs of neighbouring entries first, then pairs of pairs."""
    kernel = windows.kernel[axis]
    if kernel == 1 and windows.stride[axis] == 1:
        return x
    parts = []
    for k in range(0, kernel - 1, 2):
        gap = taps(emit.shape(x), windows, axis, {k: 1.0, k + 1: -1.0})
        second = taps(emit.shape(x), windows, axis, {k + 1: 1.0})
        shape = gap.out_shape
        above = emit(elementwise("Relu", shape), shape, emit(gap, shape, x))
        below = emit(second, shape, x)
        parts.append(emit(Add((shape, shape), shape, "Add"), shape, below, above))
    if kernel % 2:
        last = taps(emit.shape(x), windows, axis, {kernel - 1: 1.0})
        parts.append(emit(last, last.out_shape, x))
    while len(parts) > 1:
        pairs = [maximum(emit, *parts[k : k + 2]) for k in range(0, len(parts) - 1, 2)]
        parts = [*pairs, *parts[2 * len(pairs) :]]
    return parts[0]


def taps(
    shape: tuple[int, ...], windows: Windows, axis: int, coefficients: Mapping[int, float]
) -> Taps:
    """Σ_k c_k·(entry k of the window), along one axis, the others untouched."""
    out = list(shape)
    out[axis + 2] = windows.out[axis]
    places = tuple((k * windows.dilation[axis], c) for k, c in coefficients.items())
    return Taps(shape, tuple(out), axis=axis, stride=windows.stride[axis], taps=places)


def _halved(emit: Emit, x: int, windows: Windows) -> int:
    """The maximum of one window: entrywise of its first and last half, until one is left.

    Of an odd number both halves hold the middle one, which changes nothing.
    """
    shape = emit.shape(x)
    table = windows.table()
    # padding repeats an entry of the window
    table = np.where(table < 0, table.max(axis=1, keepdims=True), table)
    planes = numel(shape[:2])
    places = np.arange(planes)[:, None] * numel(shape[2:]) + table
    while places.shape[1] > 1:
        half = (places.shape[1] + 1) // 2
        out = (*shape[:2], *windows.out, *([half] if half > 1 else []))
        ends = places[:, :half], places[:, -half:]
        indices = (torch.from_numpy(np.ascontiguousarray(end).reshape(-1)) for end in ends)
        first, second = (emit(Select(emit.shape(x), out, index=i), out, x) for i in indices)
        x = maximum(emit, first, second)
        places = np.arange(planes * half).reshape(planes, half)
    return x
