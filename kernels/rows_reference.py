"""The contracts of the kernels on rows of a backward pass, in NumPy.

A *row* is a linear functional of one node's value: coefficients on a patch of its plane
(channels, height, width). ``rows`` (R, C, h, w) holds them, ``owner`` (R,) int64 the sample each
belongs to, ``origin`` (R, 2) int64 where the patch starts on the plane (it may start before the
plane or end behind it: coefficients off the plane mean nothing). Per-sample tensors are
(B, C, H, W); those the samples share have B = 1. All arrays are C-contiguous. A coefficient of 0
meets no infinity: 0·inf = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def _patches(tensor: Array, owner: Array, origin: Array, size: tuple[int, int]) -> Array:
    """(R, C, h, w) patches of a per-sample tensor, zero outside the plane."""
    rows = np.zeros((len(owner), tensor.shape[1], *size), dtype=tensor.dtype)
    high, wide = tensor.shape[2:]
    for r, (top, left) in enumerate(origin):
        y0, y1 = max(0, -top), max(max(0, -top), min(size[0], high - top))
        x0, x1 = max(0, -left), max(max(0, -left), min(size[1], wide - left))
        part = tensor[owner[r] % len(tensor), :, top + y0 : top + y1, left + x0 : left + x1]
        rows[r, :, y0:y1, x0:x1] = part
    return rows


def _inside(rows: Array, origin: Array, plane: tuple[int, int]) -> Array:
    """The rows with coefficients off the plane set to 0."""
    ones = np.ones((1, rows.shape[1], *plane), dtype=bool)
    inside = _patches(ones, np.zeros(len(rows), dtype=np.int64), origin, rows.shape[2:])
    return np.where(inside, rows, 0.0)


def _product(rows: Array, other: Array) -> Array:
    """Product in which 0 absorbs everything."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(rows == 0, 0.0, rows * other)


def _sum(values: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        return values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)


def pull_lines(
    rows: Array,
    owner: Array,
    origin: Array,
    below_slope: Array,
    below_const: Array,
    above_slope: Array,
    above_const: Array,
) -> tuple[Array, Array, Array]:
    """Replace each entry of a value by its line below or above, by the sign of the coefficient.

    Returns
    -------
    out (R, C, h, w) : c·slope, the slope below where c > 0, above where c < 0. In float32, where
        coefficients only guide, a product too small for a normal number may be 0.
    rest (R,) : Σ c·const likewise, in plain arithmetic: rounding is in the caller's constants.
    mass (R,) : Σ |out|, plain. nan coefficients make all three nan.
    """
    rows = _inside(rows, origin, (below_slope.shape[2], below_slope.shape[3]))
    size = (rows.shape[2], rows.shape[3])
    low, low_at = (_patches(t, owner, origin, size) for t in (below_slope, below_const))
    high, high_at = (_patches(t, owner, origin, size) for t in (above_slope, above_const))
    out = _product(rows, np.where(rows > 0, low, high))
    return out, _sum(_product(rows, np.where(rows > 0, low_at, high_at))), _sum(np.abs(out))


def scale(rows: Array, owner: Array, origin: Array, weight: Array) -> tuple[Array, Array]:
    """c·weight, entry by entry (R, C, h, w), and Σ |c·weight| (R,), plain."""
    rows = _inside(rows, origin, weight.shape[2:])
    out = _product(rows, _patches(weight, owner, origin, rows.shape[2:]))
    return out, _sum(np.abs(out))


def weigh(rows: Array, owner: Array, origin: Array, weight: Array) -> Array:
    """Σ |c|·weight of every row (R,), plain, for weights ≥ 0."""
    rows = _inside(rows, origin, weight.shape[2:]).astype(np.float64)
    return _sum(_product(np.abs(rows), _patches(weight, owner, origin, rows.shape[2:])))


def dual_norm(rows: Array, origin: Array, plane: tuple[int, int], q: float) -> Array:
    """‖c‖_q of every row on the plane (R,), q in {1, 2, inf}, in plain arithmetic.

    Neither overflows nor underflows where the coefficients do not; nan where one is.
    """
    flat = np.abs(_inside(rows, origin, plane).reshape(len(rows), -1)).astype(np.float64)
    top = flat.max(axis=1, initial=0.0)
    safe = np.where((top > 0) & np.isfinite(top), top, 1.0)
    if q == 2.0:
        return safe * np.sqrt(np.sum((flat / safe[:, None]) ** 2, axis=1))
    return top if q == np.inf else flat.sum(axis=1)


def fold(
    columns: Array,
    first: Array,
    origin: Array,
    plane: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    out: Array,
) -> None:
    """Add windows up where they overlap: the scatter of a transposed convolution.

    Parameters
    ----------
    columns : (R, C, kh, kw, h, w) contribution of output (y, x) of row r through tap (i, j).
    first : (R, 2) plane position of tap (0, 0) of output (0, 0).
    plane : (H, W); what falls off it is dropped.
    origin, out : (R, 2) where the result starts on the plane, and (R, C, h', w') what it is added
        to; every tap on the plane must lie in it.
    """
    rows, _, tall, broad, high, wide = columns.shape
    for r in range(rows):
        for i, j, y, x in np.ndindex(tall, broad, high, wide):
            row = first[r, 0] + y * stride[0] + i * dilation[0]
            column = first[r, 1] + x * stride[1] + j * dilation[1]
            if 0 <= row < plane[0] and 0 <= column < plane[1]:
                out[r, :, row - origin[r, 0], column - origin[r, 1]] += columns[r, :, i, j, y, x]
