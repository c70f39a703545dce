"""Numba twins of :mod:`boundcert.kernels.rows_reference`: same names, contracts and formulas.

Parallel over rows, in the precision of the rows (float64 or float32), compiled on first use and
cached on disk.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange


@njit(cache=True, inline="always")
def _span(origin, size, limit):
    """First and last-plus-one position of a patch that lie on the plane."""
    first = max(0, -origin)
    return first, max(first, min(size, limit - origin))


@njit(cache=True, parallel=True)
def pull_lines(rows, owner, origin, below_slope, below_const, above_slope, above_const):
    out = np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    height, width = below_slope.shape[2], below_slope.shape[3]
    for r in prange(rows.shape[0]):
        s, top, left = owner[r], origin[r, 0], origin[r, 1]
        y0, y1 = _span(top, rows.shape[2], height)
        x0, x1 = _span(left, rows.shape[3], width)
        total, size = 0.0, 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    c = rows[r, k, y, x]
                    if c > 0.0:
                        v = c * below_slope[s, k, top + y, left + x]
                        total += c * below_const[s, k, top + y, left + x]
                    elif c < 0.0:
                        v = c * above_slope[s, k, top + y, left + x]
                        total += c * above_const[s, k, top + y, left + x]
                    else:
                        v = c  # 0, or a nan that must not get lost
                        total += c
                    out[r, k, y, x] = v
                    size += abs(v)
        rest[r], mass[r] = total, size
    return out, rest, mass


@njit(cache=True, parallel=True)
def scale(rows, owner, origin, weight):
    out, mass = np.zeros_like(rows), np.empty(rows.shape[0])
    height, width, samples = weight.shape[2], weight.shape[3], weight.shape[0]
    for r in prange(rows.shape[0]):
        s, top, left = owner[r] % samples, origin[r, 0], origin[r, 1]
        y0, y1 = _span(top, rows.shape[2], height)
        x0, x1 = _span(left, rows.shape[3], width)
        size = 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    c = rows[r, k, y, x]
                    v = c * weight[s, k, top + y, left + x] if c != 0.0 else c
                    out[r, k, y, x] = v
                    size += abs(v)
        mass[r] = size
    return out, mass


@njit(cache=True, parallel=True)
def dual_norm(rows, origin, plane, q):
    out = np.empty(rows.shape[0])
    for r in prange(rows.shape[0]):
        y0, y1 = _span(origin[r, 0], rows.shape[2], plane[0])
        x0, x1 = _span(origin[r, 1], rows.shape[3], plane[1])
        most, total, length = 0.0, 0.0, 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    v = abs(rows[r, k, y, x])
                    most = max(most, v)
                    total += v
                    length += v * v
        if q == 2.0:
            size = math.sqrt(length)
            if not 1e-140 < size < 1e140 and most > 0.0:
                # squares underflow or overflow: once more with the largest entry as the unit
                length = 0.0
                for k in range(rows.shape[1]):
                    for y in range(y0, y1):
                        for x in range(x0, x1):
                            length += (rows[r, k, y, x] / most) ** 2
                size = most * math.sqrt(length)
            out[r] = size
        else:
            out[r] = total if q == 1.0 or math.isnan(total) else most
    return out


@njit(cache=True, parallel=True)
def fold(columns, first, origin, plane, stride, dilation, out):
    channels, tall, broad, rows, high, wide = columns.shape
    for r in prange(rows):
        top, left = first[r, 0], first[r, 1]
        up, back = origin[r, 0], origin[r, 1]
        for k in range(channels):
            for i in range(tall):
                for j in range(broad):
                    column = left + j * dilation[1]
                    # the x whose tap lies on the plane: no test in the inner loop
                    x0 = max(0, -(column // stride[1]))
                    x1 = min(wide, (plane[1] - 1 - column) // stride[1] + 1)
                    for y in range(high):
                        row = top + y * stride[0] + i * dilation[0]
                        if 0 <= row < plane[0]:
                            for x in range(x0, x1):
                                at = column + x * stride[1] - back
                                out[r, k, row - up, at] += columns[k, i, j, r, y, x]
