"""Numba twin of :mod:`boundcert.kernels.maximum_reference`: same name, contract and formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import EPS
from .maximum_reference import LEAST, MOST, PEAK
from .multiplier import search
from .rows_cpu import span


@njit(cache=True, inline="always")
def _floor(a, lam, window, peak):
    """min(0, min_j …) of one window (K, 3)."""
    least = math.inf
    for j in range(window.shape[0]):
        # min and max would lose a nan, which bounds nothing
        if math.isnan(window[j, 0] + window[j, 1]) or math.isnan(window[j, 2]):
            return -math.inf
        if j != peak:
            at = min(max(a / lam, window[j, 1]), window[j, 2])
            least = min(least, a * window[j, 0] + 0.5 * lam * at * at - a * at)
    mine = min(max(-a / lam, window[peak, 1]), window[peak, 2])
    return min(0.0, 0.5 * lam * mine * mine + a * mine + least)


@njit(cache=True)
def _total(lam, count, weight, plain, boxes, peak, square):
    total = -0.5 * lam * square
    for i in range(count):
        total += max(plain[i], _floor(weight[i], lam, boxes[i], peak[i]))
    return total


_multiplier = search(_total)


@njit(cache=True, parallel=True)
def pull_maximum(rows, owner, origin, taps, lines, windows, square):
    tap, out = np.zeros(rows.shape, dtype=np.int64), np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    multiplier = np.zeros(rows.shape[0])
    height, width, entries = windows.shape[2], windows.shape[3], windows.shape[4]
    for r in prange(rows.shape[0]):
        s, top, left = owner[r], origin[r, 0], origin[r, 1]
        y0, y1 = span(top, rows.shape[2], height)
        x0, x1 = span(left, rows.shape[3], width)
        most = rows.shape[1] * (y1 - y0) * (x1 - x0)
        weight, plain = np.empty(most), np.empty(most)
        boxes, peak = np.empty((most, entries, 3)), np.empty(most, dtype=np.int64)
        place = np.empty(most, dtype=np.int64)
        count, total, bound, length = 0, 0.0, 0.0, 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    c = np.float64(rows[r, k, y, x])
                    v, u = top + y, left + x
                    if not c < 0.0:
                        total += c * lines[s, 0, k, v, u] if c > 0.0 else c
                        tap[r, k, y, x] = taps[s, LEAST if c > 0.0 else MOST, k, v, u]
                        out[r, k, y, x] = c
                        continue
                    tap[r, k, y, x] = taps[s, MOST, k, v, u]
                    out[r, k, y, x] = c * lines[s, 1, k, v, u]
                    weight[count], plain[count] = -c, c * lines[s, 2, k, v, u]
                    boxes[count], peak[count] = windows[s, k, v, u], taps[s, PEAK, k, v, u]
                    place[count] = (k * rows.shape[2] + y) * rows.shape[3] + x
                    bound += plain[count]
                    length += c * c
                    count += 1
        given = (count, weight, plain, boxes, peak, square[s])
        lam = _multiplier(given, bound, length, square[s])
        if lam > 0.0:
            found, size = -0.5 * lam * square[s], 0.5 * lam * square[s]
            for i in range(count):
                far = 0.0
                for j in range(entries):
                    if boxes[i, j, 0] < math.inf:
                        far = max(far, max(abs(boxes[i, j, 1]), abs(boxes[i, j, 2])))
                found += max(plain[i], _floor(weight[i], lam, boxes[i], peak[i]))
                size += 2 * weight[i] * far + lam * far * far + abs(plain[i])
            found -= size * (count + 64) * 2 * EPS
            if found > bound:
                bound, multiplier[r] = found, lam
                to_tap, to_out = tap[r].reshape(-1), out[r].reshape(-1)
                for i in range(count):
                    if _floor(weight[i], lam, boxes[i], peak[i]) > plain[i]:
                        at = place[i]
                        k, y = at // (rows.shape[2] * rows.shape[3]), at // rows.shape[3]
                        v, u = top + y % rows.shape[2], left + at % rows.shape[3]
                        to_tap[at], to_out[at] = taps[s, PEAK, k, v, u], -weight[i]
        rest[r], size = total + bound, 0.0
        for c in out[r].reshape(-1):
            size += abs(c)
        mass[r] = size
    return tap, out, rest, mass, multiplier
