"""Numba twins of :mod:`boundcert.kernels.rows_reference`: same names, contracts and formulas.

Parallel over rows, in the precision of the rows (float64 or float32), compiled on first use and
cached on disk. Inner loops run along flat memory with unsigned indices and without branches, and
sums may be taken in any order: both for the sake of vector instructions. Not a number and infinity
keep their meaning.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

#: What compilers may do: sum in another order, fuse a product into a sum. Not: assume numbers.
ANY_ORDER = {"reassoc", "nsz", "contract"}
#: Coefficients in float32 that are smaller become 0: products with subnormal numbers are slow.
FAINT = float(np.finfo(np.float32).tiny)


@njit(cache=True, inline="always")
def span(origin, size, limit):
    """First and last-plus-one position of a patch that lie on the plane."""
    first = max(0, -origin)
    return first, max(first, min(size, limit - origin))


@njit(cache=True, inline="always")
def runs(rows, origin, height, width):
    """How a row falls into runs of neighbouring entries on the plane: y0, y1, x0, run length.

    Lines that span plane and patch alike are one run.
    """
    y0, y1 = span(origin[0], rows.shape[2], height)
    x0, x1 = span(origin[1], rows.shape[3], width)
    if x1 - x0 == width and rows.shape[3] == width:
        return y0, min(y0 + 1, y1), 0, (y1 - y0) * width
    return y0, y1, x0, x1 - x0


@njit(cache=True, inline="always")
def clear_outside(to, inside):
    """Zeros for a row of which less than all will be written: fresh pages of them are slow."""
    if inside < to.size:
        to[:] = 0.0


@njit(cache=True, parallel=True, fastmath=ANY_ORDER)
def pull_lines(rows, owner, origin, below_slope, below_const, above_slope, above_const):
    out = np.empty_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    faint = FAINT if rows.itemsize == 4 else 0.0
    channels, height, width = below_slope.shape[1:]
    low, low_at = below_slope.reshape(-1), below_const.reshape(-1)
    high, high_at = above_slope.reshape(-1), above_const.reshape(-1)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, to = rows[r].reshape(-1), out[r].reshape(-1)
        clear_outside(to, channels * (y1 - y0) * length)
        total, size = 0.0, 0.0
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c = row[i + x]
                    below, below_at = low[j + x], low_at[j + x]
                    above, above_at = high[j + x], high_at[j + x]
                    v = c * (above if c < 0.0 else below)
                    t = c * (above_at if c < 0.0 else below_at)
                    # 0 times an infinite constant is 0; a nan must not get lost
                    v = v if c != 0.0 else c
                    v = 0.0 if abs(v) < faint else v
                    total += t if c != 0.0 else c
                    to[i + x] = v
                    size += abs(v)
        rest[r], mass[r] = total, size
    return out, rest, mass


@njit(cache=True, parallel=True, fastmath=ANY_ORDER)
def scale(rows, owner, origin, weight):
    out, mass = np.empty_like(rows), np.empty(rows.shape[0])
    samples, channels, height, width = weight.shape
    factor = weight.reshape(-1)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, to = rows[r].reshape(-1), out[r].reshape(-1)
        clear_outside(to, channels * (y1 - y0) * length)
        size = 0.0
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] % samples * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c, f = row[i + x], factor[j + x]
                    v = c * f
                    v = v if c != 0.0 else c
                    to[i + x] = v
                    size += abs(v)
        mass[r] = size
    return out, mass


@njit(cache=True, parallel=True, fastmath=ANY_ORDER)
def weigh(rows, owner, origin, weight):
    out = np.empty(rows.shape[0])
    samples, channels, height, width = weight.shape
    factor = weight.reshape(-1)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, size = rows[r].reshape(-1), 0.0
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] % samples * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c = np.float64(abs(row[i + x]))
                    v = c * factor[j + x]
                    size += v if c != 0.0 else c
        out[r] = size
    return out


@njit(fastmath=ANY_ORDER)
def _gathered(row, first, length, q):
    """Σ|c| over a run of a row, or Σc²: loops of one sum each, which vector instructions take."""
    total = 0.0
    if q == 2.0:
        for x in range(np.uint64(length)):
            v = np.float64(row[first + x])
            total += v * v
    else:
        for x in range(np.uint64(length)):
            total += np.float64(abs(row[first + x]))
    return total


@njit(fastmath=ANY_ORDER)
def _largest(row, first, length):
    """max |c| over a run of a row."""
    most = 0.0
    for x in range(np.uint64(length)):
        most = max(most, np.float64(abs(row[first + x])))
    return most


@njit(cache=True, parallel=True, fastmath=ANY_ORDER)
def dual_norm(rows, origin, plane, q):
    out = np.empty(rows.shape[0])
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], plane[0], plane[1])
        row = rows[r].reshape(-1)
        total, most = 0.0, 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                total += _gathered(row, i, length, q)
        size = math.sqrt(total) if q == 2.0 else total
        if q == math.inf or (q == 2.0 and not 1e-140 < size < 1e140):
            for k in range(rows.shape[1]):
                for y in range(y0, y1):
                    i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                    most = max(most, _largest(row, i, length))
            size = size if math.isnan(size) or q == 2.0 else most
        if most > 0.0 and q == 2.0:
            # squares underflow or overflow: once more with the largest entry as the unit
            square = 0.0
            for k in range(rows.shape[1]):
                for y in range(y0, y1):
                    i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                    for x in range(np.uint64(length)):
                        square += (np.float64(row[i + x]) / most) ** 2
            size = most * math.sqrt(square)
        out[r] = size
    return out


@njit(cache=True, parallel=True)
def fold(columns, first, origin, plane, stride, dilation, out):
    rows, channels, tall, broad, high, wide = columns.shape
    flat, (down, across) = columns.reshape(-1), stride
    for r in prange(rows):
        to = out[r].reshape(-1)
        for i in range(tall):
            row = first[r, 0] + i * dilation[0]
            # the y and x whose taps lie on the plane: no tests in the loops
            y0, y1 = max(0, -(row // down)), min(high, (plane[0] - 1 - row) // down + 1)
            for j in range(broad):
                column = first[r, 1] + j * dilation[1]
                x0 = max(0, -(column // across))
                length = np.uint64(max(0, min(wide, (plane[1] - 1 - column) // across + 1) - x0))
                left = column + x0 * across - origin[r, 1]
                for k in range(channels):
                    start = (((r * channels + k) * tall + i) * broad + j) * high * wide + x0
                    line = k * out.shape[2] + row - origin[r, 0]
                    for y in range(y0, y1):
                        p = np.uint64((line + y * down) * out.shape[3] + left)
                        q = np.uint64(start + y * wide)
                        # a step that the compiler knows
                        if across == 1:
                            for x in range(length):
                                to[p + x] += flat[q + x]
                        elif across == 2:
                            for x in range(length):
                                to[p + np.uint64(2) * x] += flat[q + x]
                        else:
                            for x in range(length):
                                to[p + np.uint64(across) * x] += flat[q + x]
