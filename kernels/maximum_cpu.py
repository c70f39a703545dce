"""Numba twin of :mod:`boundcert.kernels.maximum_reference`: same name, contract and formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import EPS
from .maximum_reference import LEAST, MOST, PEAK
from .multiplier import search
from .rows_cpu import ANY_ORDER, span


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


@njit(cache=True, fastmath=ANY_ORDER, error_model="numpy")
def _total(lam, count, weight, plain, entries, own, least, square):
    """The bound of all windows, one entry of each after another: in vector instructions."""
    inverse, half = 1.0 / lam, 0.5 * lam
    least[:count] = math.inf
    for j in range(entries.shape[0]):
        gap, low, high = entries[j, 0], entries[j, 1], entries[j, 2]
        for i in range(count):
            a = weight[i]
            at = a * inverse
            at = low[i] if at < low[i] else at
            at = high[i] if at > high[i] else at
            term = a * gap[i] + (half * at - a) * at
            least[i] = term if term < least[i] else least[i]
    total = -half * square
    for i in range(count):
        a = weight[i]
        at = -a * inverse
        at = own[0, i] if at < own[0, i] else at
        at = own[1, i] if at > own[1, i] else at
        value = (half * at + a) * at + least[i]
        value = 0.0 if value > 0.0 else value
        total += value if value > plain[i] else plain[i]
    return total


_multiplier = search(_total)


@njit(cache=True)
def _gathered(window, peak, count, entries, own):
    """The numbers of a window in their places; False: it bounds nothing, and keeps its line."""
    for j in range(window.shape[0]):
        gap, low, high = window[j]
        # min and max would lose a nan
        if not (abs(low) < math.inf and abs(high) < math.inf and gap == gap):
            return False
        entries[j, 0, count] = math.inf if j == peak else gap
        entries[j, 1, count], entries[j, 2, count] = low, high
    own[0, count], own[1, count] = window[peak, 1], window[peak, 2]
    return True


@njit(cache=True, parallel=True)
def pull_maximum(rows, owner, origin, taps, lines, windows, square):
    tap, out = np.zeros(rows.shape, dtype=np.int64), np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    multiplier = np.zeros(rows.shape[0])
    height, width = windows.shape[2], windows.shape[3]
    for r in prange(rows.shape[0]):
        s, top, left = owner[r], origin[r, 0], origin[r, 1]
        y0, y1 = span(top, rows.shape[2], height)
        x0, x1 = span(left, rows.shape[3], width)
        most = rows.shape[1] * (y1 - y0) * (x1 - x0)
        weight, plain, least = np.empty(most), np.empty(most), np.empty(most)
        entries, own = np.empty((windows.shape[4], 3, most)), np.empty((2, most))
        place = np.empty((most, 3), dtype=np.int64)
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
                    line, peak = c * lines[s, 2, k, v, u], taps[s, PEAK, k, v, u]
                    length += c * c
                    if not _gathered(windows[s, k, v, u], peak, count, entries, own):
                        total += line
                        continue
                    weight[count], plain[count] = -c, line
                    place[count, 0], place[count, 1], place[count, 2] = k, y, x
                    bound += line
                    count += 1
        given = (count, weight, plain, entries, own, least, square[s])
        lam = _multiplier(given, bound, length, square[s])
        if lam > 0.0:
            found, size = -0.5 * lam * square[s], 0.5 * lam * square[s]
            for i in range(count):
                k, y, x = place[i]
                window, peak = windows[s, k, top + y, left + x], taps[s, PEAK, k, top + y, left + x]
                value = floor(weight[i], lam, window, peak)[0]
                taken = value > plain[i]
                found += value if taken else plain[i]
                size += cost(weight[i], lam, window) if taken else abs(plain[i])
                least[i] = 1.0 if taken else 0.0
            found -= size * (count + 64) * 2 * EPS
            if found > bound:
                bound, multiplier[r] = found, lam
                for i in range(count):
                    if least[i] == 1.0:
                        k, y, x = place[i]
                        tap[r, k, y, x] = taps[s, PEAK, k, top + y, left + x]
                        out[r, k, y, x] = -weight[i]
        rest[r], size = total + bound, 0.0
        for c in out[r].reshape(-1):
            size += abs(c)
        mass[r] = size
    return tap, out, rest, mass, multiplier
