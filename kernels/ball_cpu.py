"""Numba twin of :mod:`boundcert.kernels.ball_reference`: same name, contract and formulas."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .ball_reference import ABOVE, BASE, BELOW, COLUMNS, EPS
from .multiplier import search
from .rows_cpu import ANY_ORDER, runs

#: What an entry's numbers are: both parts of its box, the lines on them, slopes to try.
NUMBERS = 10


@njit(cache=True, inline="always")
def _piece(c, g, lam, inverse, slope, const, start, end):
    """min over δ in [start, end] of ½λδ² + c(slope·δ + const) − gδ, computed plainly."""
    steep = c * slope - g
    at = -steep * inverse
    at = start if at < start else at
    at = end if at > end else at
    return (0.5 * lam * at + steep) * at + c * const


@njit(cache=True, inline="always")
def _floor(c, slope, lam, inverse, t, i):
    """The least over both parts with a slope."""
    g = c * slope
    left = _piece(c, g, lam, inverse, t[4, i], t[5, i], t[0, i], t[1, i])
    right = _piece(c, g, lam, inverse, t[6, i], t[7, i], t[2, i], t[3, i])
    return left if left < right else right


@njit(cache=True, inline="always")
def _best(lam, inverse, c, t, i):
    """The largest floor of an entry over a few slopes, and c times the slope."""
    base, local = t[8, i], t[9, i]
    value, slope = _floor(c, base, lam, inverse, t, i), base
    for other in (local, 0.5 * (local + base)):
        found = _floor(c, other, lam, inverse, t, i)
        slope = other if found > value else slope
        value = found if found > value else value
    return value, c * slope


@njit(cache=True, fastmath=ANY_ORDER, error_model="numpy")
def _total(lam, count, c, t, square):
    total, inverse = -0.5 * lam * square, 1.0 / lam
    for i in range(count):
        total += _best(lam, inverse, c[i], t, i)[0]
    return total


_multiplier = search(_total)


@njit(cache=True)
def _gathered(row, owner, origin, table, to, c, t, place):
    """Straight entries' coefficients into ``to``, bent ones' numbers into ``c``, ``t``, ``place``.

    Returns how many are bent, what constants of straight ones and lines of bent ones add up to,
    the sum of squares of the bent ones' coefficients, and whether what they say are numbers.
    """
    channels, height, width = table.shape[2:]
    y0, y1, x0, length = runs(row, origin, height, width)
    values, flat = row.reshape(-1), table.reshape(-1)
    plane = np.uint64(channels * height * width)
    base, two = np.uint64(BASE) * plane, np.uint64(2) * plane
    count, total, plain, squares, whole = 0, 0.0, 0.0, 0.0, True
    for k in range(channels):
        for y in range(y0, y1):
            i = np.uint64((k * row.shape[2] + y) * row.shape[3] + x0)
            line = (owner * COLUMNS * channels + k) * height + origin[0] + y
            j = np.uint64(line * width + origin[1] + x0)
            for x in range(np.uint64(length)):
                v, at = values[i + x], j + x
                if v == 0.0 or v != v:
                    total += v
                    to[i + x] = v
                    continue
                side = at + base if v > 0.0 else at + base + two
                steep, const = flat[side], v * flat[side + plane]
                to[i + x] = v * steep
                if flat[at + base] == flat[at + base + two]:
                    total += const
                    continue
                plain += const
                squares += v * v
                c[count], place[count] = v, i + x
                half = at + np.uint64(BELOW if v > 0.0 else ABOVE) * plane
                low, high, split = flat[at], flat[at + plane], flat[at + two]
                for m in range(2):
                    t[4 + m, count] = flat[half + np.uint64(m) * plane]
                    t[6 + m, count] = flat[half + np.uint64(2 + m) * plane]
                t[0, count], t[1, count] = low, max(min(split, high), low)
                t[2, count], t[3, count] = min(max(split, low), high), high
                t[8, count], t[9, count] = steep, t[4 if split > 0.0 else 6, count]
                # comparisons would lose a nan, which bounds nothing
                whole = whole and low == low and high == high and split == split
                for m in (4, 6, 8, 9):
                    whole = whole and abs(t[m, count]) < np.inf
                whole = whole and t[5, count] == t[5, count] and t[7, count] == t[7, count]
                # a part of which the box holds nothing is the other one
                if not low <= split:
                    for m in (0, 1, 4, 5):
                        t[m, count] = t[m + 2, count]
                elif not high > split:
                    for m in (0, 1, 4, 5):
                        t[m + 2, count] = t[m, count]
                count += 1
    return count, total, plain, squares, whole


@njit(cache=True, parallel=True)
def pull_ball(rows, owner, origin, table, square):
    out = np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    multiplier = np.zeros(rows.shape[0])
    entries = rows.shape[1] * rows.shape[2] * rows.shape[3]
    for r in prange(rows.shape[0]):
        budget, flat = square[owner[r]], out[r].reshape(-1)
        c, t = np.empty(entries), np.empty((NUMBERS, entries))
        place = np.empty(entries, dtype=np.int64)
        found = _gathered(rows[r : r + 1], owner[r], origin[r], table, flat, c, t, place)
        count, total, plain, squares, whole = found
        lam = _multiplier((count, c, t, budget), plain, squares, budget) if whole else 0.0
        inverse = 1.0 / lam if lam > 0.0 else 0.0
        if lam > 0.0:
            bound, size = -0.5 * lam * budget, 0.5 * lam * budget
            for i in range(count):
                value, g = _best(lam, inverse, c[i], t, i)
                reach = max(abs(t[0, i]), abs(t[3, i]))
                steep = abs(c[i]) * max(abs(t[4, i]), abs(t[6, i])) + abs(g)
                offset = abs(c[i]) * max(abs(t[5, i]), abs(t[7, i]))
                bound += value
                size += 0.5 * lam * reach * reach + steep * reach + offset
                flat[place[i]] = g
            bound -= size * (count + 64) * EPS
            if bound > plain:
                plain, multiplier[r] = bound, lam
            else:
                for i in range(count):
                    flat[place[i]] = c[i] * t[8, i]
        rest[r] = total + plain
        size = 0.0
        for v in flat:
            size += abs(v)
        mass[r] = size
    return out, rest, mass, multiplier
