"""Numba twin of :mod:`boundcert.kernels.ball_reference`: same name, contract and formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import ABOVE, BASE, BELOW, EPS, HIGH, LOW, SPLIT
from .multiplier import search
from .rows_cpu import span


@njit(cache=True, inline="always")
def _piece(c, g, lam, slope, const, start, end):
    """min over δ in [start, end] of ½λδ² + c(slope·δ + const) − gδ, computed plainly."""
    steep = c * slope - g
    at = min(max(-steep / lam, start), end)
    return 0.5 * lam * at * at + steep * at + c * const


@njit(cache=True, inline="always")
def _floor(c, g, lam, low, high, split, left, left_at, right, right_at):
    """The least of both pieces; a piece of which the box holds nothing does not count."""
    bound = math.inf
    # comparisons would lose a nan, which bounds nothing
    if math.isnan(low) or math.isnan(high) or math.isnan(split):
        return -math.inf
    if low <= split:
        bound = _piece(c, g, lam, left, left_at, low, min(split, high))
    if high > split or bound == math.inf:
        bound = min(bound, _piece(c, g, lam, right, right_at, max(split, low), high))
    return bound


@njit(cache=True)
def _best(lam, c, t):
    """The largest floor of an entry over a few slopes, and c times the slope."""
    low, high, split = t[0], t[1], t[2]
    left, left_at, right, right_at, base = t[3], t[4], t[5], t[6], t[7]
    local = left if split > 0.0 else right
    g = c * base
    value = _floor(c, g, lam, low, high, split, left, left_at, right, right_at)
    for k in range(2):
        other = c * (local if k == 0 else 0.5 * (local + base))
        found = _floor(c, other, lam, low, high, split, left, left_at, right, right_at)
        if found > value:
            value, g = found, other
    return value, g


@njit(cache=True)
def _total(lam, count, c, t, square):
    total = -0.5 * lam * square
    for i in range(count):
        total += _best(lam, c[i], t[i])[0]
    return total


_multiplier = search(_total)


@njit(cache=True, parallel=True)
def pull_ball(rows, owner, origin, table, square):
    out = np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    multiplier = np.zeros(rows.shape[0])
    height, width = table.shape[3], table.shape[4]
    for r in prange(rows.shape[0]):
        s, top, left = owner[r], origin[r, 0], origin[r, 1]
        y0, y1 = span(top, rows.shape[2], height)
        x0, x1 = span(left, rows.shape[3], width)
        most = rows.shape[1] * max(y1 - y0, 0) * max(x1 - x0, 0)
        c, t = np.empty(most), np.empty((most, 8))
        place = np.empty(most, dtype=np.int64)
        count, total, plain, length = 0, 0.0, 0.0, 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    v = rows[r, k, y, x]
                    if v == 0.0 or v != v:
                        total += v
                        out[r, k, y, x] = v
                        continue
                    e = table[s, :, k, top + y, left + x]
                    side = BELOW if v > 0.0 else ABOVE
                    base = BASE if v > 0.0 else BASE + 2
                    out[r, k, y, x] = v * e[base]
                    if e[BASE] == e[BASE + 2]:
                        total += v * e[base + 1]
                        continue
                    plain += v * e[base + 1]
                    length += v * v
                    c[count], place[count] = v, (k * rows.shape[2] + y) * rows.shape[3] + x
                    t[count, 0], t[count, 1], t[count, 2] = e[LOW], e[HIGH], e[SPLIT]
                    for m in range(4):
                        t[count, 3 + m] = e[side + m]
                    t[count, 7] = e[base]
                    count += 1
        lam = _multiplier((count, c, t, square[s]), plain, length, square[s])
        if lam > 0.0:
            bound, size = -0.5 * lam * square[s], 0.5 * lam * square[s]
            flat = out[r].reshape(-1)
            for i in range(count):
                value, g = _best(lam, c[i], t[i])
                reach = max(abs(t[i, 0]), abs(t[i, 1]))
                steep = abs(c[i]) * max(abs(t[i, 3]), abs(t[i, 5])) + abs(g)
                offset = abs(c[i]) * max(abs(t[i, 4]), abs(t[i, 6]))
                bound += value
                size += 0.5 * lam * reach * reach + steep * reach + offset
                flat[place[i]] = g
            bound -= size * (count + 64) * EPS
            if bound > plain:
                plain, multiplier[r] = bound, lam
            else:
                for i in range(count):
                    flat[place[i]] = c[i] * t[i, 7]
        rest[r] = total + plain
        size = 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    size += abs(out[r, k, y, x])
        mass[r] = size
    return out, rest, mass, multiplier
