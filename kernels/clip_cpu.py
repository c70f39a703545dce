"""Numba twin of :mod:`boundcert.kernels.clip_reference`: same name and contract.

Parallel over rows. The reference sorts; here levels are roots and minima of piecewise linear
functions, found in a few passes over a row. Where a search ends does not matter to what is proved.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .rows_cpu import ANY_ORDER, runs

#: Most passes of a search, and when it has come close enough.
PASSES, CLOSE = 32, 1e-10


@njit(cache=True)
def _collect(row, origin, below, above, size, room):
    """|c| and room of the entries on the plane, one after the other; how many."""
    channels, height, width = below.shape
    y0, y1, x0, length = runs(row, origin, height, width)
    flat, low, high = row.reshape(-1), below.reshape(-1), above.reshape(-1)
    count = 0
    for k in range(channels):
        for y in range(y0, y1):
            i = np.uint64((k * row.shape[2] + y) * row.shape[3] + x0)
            j = np.uint64((k * height + origin[0] + y) * width + origin[1] + x0)
            to = np.uint64(count)
            for x in range(np.uint64(length)):
                c = np.float64(flat[i + x])
                size[to + x] = abs(c)
                room[to + x] = low[j + x] if c > 0.0 else high[j + x]
            count += length
    return count


@njit(cache=True, fastmath=ANY_ORDER)
def _total(values):
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@njit(cache=True, fastmath=ANY_ORDER)
def _dot(one, other):
    total = 0.0
    for i in range(one.size):
        total += one[i] * other[i]
    return total


@njit(cache=True, fastmath=ANY_ORDER)
def _largest(values):
    """Of numbers that are not negative; nan where one is."""
    top, total = 0.0, 0.0
    for i in range(values.size):
        top = max(top, values[i])
        total += values[i]
    return total if math.isnan(total) else top


@njit(cache=True, fastmath=ANY_ORDER)
def _shares(squares, rooms, rate):
    """Σ of squares whose rate-fold does not exhaust their room, and Σ of the exhausted rooms."""
    free, full = 0.0, 0.0
    for i in range(squares.size):
        exhausted = rate * squares[i] >= rooms[i]
        free += 0.0 if exhausted else squares[i]
        full += rooms[i] if exhausted else 0.0
    return free, full


@njit(cache=True)
def _tension(size, room, eps, squares, rooms):
    """Newton's method for Σ min(μc², r²) = ε², concave in μ = 1/t²: from the left, it stays there.

    Rooms beyond ε, which are never exhausted, are as good as 2ε.
    """
    top = _largest(size)
    if not eps > 0.0 or not 0.0 < top < math.inf:
        return math.inf
    unit, ball = 1.0 / top, 1.0 / eps
    for i in range(size.size):
        part, share = size[i] * unit, min(room[i] * ball, 2.0)
        squares[i], rooms[i] = part * part, share * share
    rate = 0.0
    for _ in range(PASSES):
        free, full = _shares(squares, rooms, rate)
        if free == 0.0:
            return 0.0
        further = (1.0 - full) / free
        if not further > rate * (1.0 + CLOSE):
            break
        rate = further
    return top / eps / math.sqrt(rate) if rate > 0.0 else math.inf


@njit(cache=True, fastmath=ANY_ORDER)
def _above(size, room, level):
    """Σ r and Σ c·r over the entries with c > level."""
    rooms, weight = 0.0, 0.0
    for i in range(size.size):
        counts = size[i] > level
        rooms += room[i] if counts else 0.0
        weight += size[i] * room[i] if counts else 0.0
    return rooms, weight


@njit(cache=True)
def _threshold(size, room, eps):
    """The minimum of F(t) = Σ (c − t)₊·r + ε·t, convex and piecewise linear: where tangents meet.

    Slopes left and right of it enclose the minimum; a bisection now and then, lest one end stays.
    """
    top = _largest(size)
    if not 0.0 < top < math.inf:
        return top
    rooms, weight = _above(size, room, 0.0)
    if rooms <= eps:
        return 0.0
    low, low_value, low_slope = 0.0, weight, eps - rooms
    high, high_value, high_slope = top, eps * top, eps
    for k in range(PASSES):
        here = low + (high_value - low_value - high_slope * (high - low)) / (low_slope - high_slope)
        if not low < here < high:
            high = here if here <= low else high
            break
        floor = low_value + low_slope * (here - low)
        if k % 4 == 3:
            here, floor = 0.5 * (low + high), -math.inf
        rooms, weight = _above(size, room, here)
        value, slope = weight - here * rooms + eps * here, eps - rooms
        if slope < 0.0:
            low, low_value, low_slope = here, value, slope
        else:
            high, high_value, high_slope = here, value, slope
        if slope == 0.0 or value <= floor * (1.0 + CLOSE):
            high = here
            break
    # the minimum is at one of the entries
    level = 0.0
    for i in range(size.size):
        level = size[i] if level < size[i] <= high * (1.0 + CLOSE) else level
    return level


@njit(cache=True)
def _length(v, p):
    if p == np.inf:
        return _total(v)
    if p == 1.0:
        return _largest(v)
    square = _dot(v, v)
    if 1e-280 < square < 1e280:
        return math.sqrt(square)
    top = _largest(v)
    if top == 0.0 or not top < math.inf:
        return top
    for i in range(v.size):
        v[i] /= top
    return top * math.sqrt(_dot(v, v))


@njit(cache=True, parallel=True)
def clipped_norm(rows, owner, origin, below, above, eps, p):
    count = rows.shape[0]
    loss, slope, level = np.empty(count), np.empty(count), np.empty(count)
    for r in prange(count):
        work = np.empty((4, rows[r].size))
        size, room = work[0], work[1]
        b = owner[r] % below.shape[0]
        n = _collect(rows[r : r + 1], origin[r], below[b], above[b], size, room)
        size, room, v = size[:n], room[:n], work[2, :n]
        if p == np.inf:
            t = eps[r]
            for i in range(n):
                v[i] = size[i] if room[i] > 0.0 and not room[i] < t else 0.0
        elif p == 1.0:
            t = _threshold(size, room, eps[r])
            for i in range(n):
                v[i] = t if t < size[i] else size[i]
        else:
            t = _tension(size, room, eps[r], v, work[3, :n])
            for i in range(n):
                most = t * room[i] if room[i] > 0.0 else 0.0
                v[i] = most if most < size[i] else size[i]
        # stored before they are summed: no compiler then takes the products apart
        for i in range(n):
            size[i] -= v[i]
        loss[r], slope[r], level[r] = _dot(size, room), _length(v, p), t
    return loss, slope, level
