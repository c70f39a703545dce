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
def floor(a, lam, window, peak):
    """min(0, min_j …) of one window (K, 3), and where it is: of the peak, of entry j, its gap."""
    least, other, gap, best = math.inf, 0.0, 0.0, a / lam
    for j in range(window.shape[0]):
        low, high = window[j, 1], window[j, 2]
        at = min(max(best, low), high)
        term = a * window[j, 0] + 0.5 * lam * at * at - a * at
        # what is no number or has no end bounds nothing; min and max would lose a nan
        if not (abs(low) < math.inf and abs(high) < math.inf) or math.isnan(term):
            return -math.inf, 0.0, 0.0, 0.0
        if j != peak and term < least:
            least, other, gap = term, at, window[j, 0]
    mine = min(max(-best, window[peak, 1]), window[peak, 2])
    value = 0.5 * lam * mine * mine + a * mine + least
    if math.isnan(value):
        return -math.inf, 0.0, 0.0, 0.0
    # a floor of 0 stays 0: nothing that it is made of matters
    return (value, mine, other, gap) if value < 0.0 else (0.0, 0.0, 0.0, 0.0)


@njit(cache=True, inline="always")
def cost(a, lam, window):
    """What rounding of the floor of one window (K, 3) is in proportion to."""
    far = 0.0
    for j in range(window.shape[0]):
        if not math.isinf(window[j, 0]):
            far = max(far, max(abs(window[j, 1]), abs(window[j, 2])))
    return 2 * a * far + lam * far * far


@njit(cache=True, error_model="numpy")
def _total(lam, count, weight, plain, boxes, peak, square):
    total = -0.5 * lam * square
    for i in range(count):
        total += max(plain[i], floor(weight[i], lam, boxes[i], peak[i])[0])
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
                value = floor(weight[i], lam, boxes[i], peak[i])[0]
                taken = value > plain[i]
                found += value if taken else plain[i]
                size += cost(weight[i], lam, boxes[i]) if taken else abs(plain[i])
            found -= size * (count + 64) * 2 * EPS
            if found > bound:
                bound, multiplier[r] = found, lam
                to_tap, to_out = tap[r].reshape(-1), out[r].reshape(-1)
                for i in range(count):
                    if floor(weight[i], lam, boxes[i], peak[i])[0] > plain[i]:
                        at = place[i]
                        k, y = at // (rows.shape[2] * rows.shape[3]), at // rows.shape[3]
                        v, u = top + y % rows.shape[2], left + at % rows.shape[3]
                        to_tap[at], to_out[at] = taps[s, PEAK, k, v, u], -weight[i]
        rest[r], size = total + bound, 0.0
        for c in out[r].reshape(-1):
            size += abs(c)
        mass[r] = size
    return tap, out, rest, mass, multiplier
