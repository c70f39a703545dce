"""Numba twins of :mod:`boundcert.kernels.dual_maximum_reference`: same names and contracts."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import EPS
from .maximum_reference import LEAST, MOST, PEAK
from .rows_cpu import span


@njit(cache=True, inline="always")
def _floor(a, lam, window, peak):
    """min(0, min_j …) of one window (K, 3), and where it is: of the peak, of entry j, its gap."""
    least, other, gap = math.inf, 0.0, 0.0
    for j in range(window.shape[0]):
        # min and max would lose a nan, which bounds nothing
        if math.isnan(window[j, 0] + window[j, 1]) or math.isnan(window[j, 2]):
            return -math.inf, 0.0, 0.0, 0.0
        if j != peak:
            at = min(max(a / lam, window[j, 1]), window[j, 2])
            term = a * window[j, 0] + 0.5 * lam * at * at - a * at
            if math.isnan(term):
                return -math.inf, 0.0, 0.0, 0.0
            if term < least:
                least, other, gap = term, at, window[j, 0]
    mine = min(max(-a / lam, window[peak, 1]), window[peak, 2])
    value = 0.5 * lam * mine * mine + a * mine + least
    if math.isnan(value):
        return -math.inf, 0.0, 0.0, 0.0
    # a floor of 0 stays 0: nothing that it is made of matters
    return (value, mine, other, gap) if value < 0.0 else (0.0, 0.0, 0.0, 0.0)


@njit(cache=True, inline="always")
def _reach(window):
    """The largest deviation of the entries of one window (K, 3)."""
    far = 0.0
    for j in range(window.shape[0]):
        if window[j, 0] < math.inf:
            far = max(far, max(abs(window[j, 1]), abs(window[j, 2])))
    return far


@njit(cache=True, parallel=True, error_model="numpy")
def pull_dual_maximum(rows, owner, origin, multiplier, taps, lines, windows, square):
    tap, out = np.zeros(rows.shape, dtype=np.int64), np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    height, width = windows.shape[2], windows.shape[3]
    for r in prange(rows.shape[0]):
        s, top, left, lam = owner[r], origin[r, 0], origin[r, 1], multiplier[r]
        y0, y1 = span(top, rows.shape[2], height)
        x0, x1 = span(left, rows.shape[3], width)
        spent = 0.5 * lam * square[s]
        total, bound, size, norm, count = 0.0, 0.0, 0.0, 0.0, 0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    c = np.float64(rows[r, k, y, x])
                    v, u = top + y, left + x
                    if not c < 0.0:
                        total += c * lines[s, 0, k, v, u] if c > 0.0 else c
                        tap[r, k, y, x] = taps[s, LEAST if c > 0.0 else MOST, k, v, u]
                        out[r, k, y, x] = c
                        norm += abs(c)
                        continue
                    window, plain = windows[s, k, v, u], c * lines[s, 2, k, v, u]
                    floor = _floor(-c, lam, window, taps[s, PEAK, k, v, u])[0]
                    taken = floor > plain
                    tap[r, k, y, x] = taps[s, PEAK if taken else MOST, k, v, u]
                    out[r, k, y, x] = c if taken else c * lines[s, 1, k, v, u]
                    far = _reach(window)
                    bound += floor if taken else plain
                    size += lam * far * far - 2 * c * far + abs(plain)
                    norm += abs(np.float64(out[r, k, y, x]))
                    count += 1
        bound = bound - spent - (spent + size) * (count + 64) * 2 * EPS
        rest[r] = total + bound if 0.0 < lam < math.inf else -math.inf
        mass[r] = norm
    return tap, out, rest, mass


@njit(cache=True, parallel=True, error_model="numpy")
def dual_maximum_gradient(
    rows, owner, origin, multiplier, taps, lines, windows, square, out_grad, rest_grad
):
    row_grad, lam_grad = np.zeros_like(rows), np.empty(rows.shape[0])
    height, width = windows.shape[2], windows.shape[3]
    for r in prange(rows.shape[0]):
        s, top, left, lam = owner[r], origin[r, 0], origin[r, 1], multiplier[r]
        y0, y1 = span(top, rows.shape[2], height)
        x0, x1 = span(left, rows.shape[3], width)
        weight, squares = rest_grad[r], 0.0
        for k in range(rows.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    c, g = np.float64(rows[r, k, y, x]), np.float64(out_grad[r, k, y, x])
                    v, u = top + y, left + x
                    if c == 0.0:
                        continue
                    if c > 0.0:
                        row_grad[r, k, y, x] = g + lines[s, 0, k, v, u] * weight
                        continue
                    peak = taps[s, PEAK, k, v, u]
                    floor, mine, other, gap = _floor(-c, lam, windows[s, k, v, u], peak)
                    if floor > c * lines[s, 2, k, v, u]:
                        row_grad[r, k, y, x] = g - weight * (mine + gap - other)
                        squares += mine * mine + other * other
                    else:
                        steep, high = lines[s, 1, k, v, u], lines[s, 2, k, v, u]
                        row_grad[r, k, y, x] = steep * g + high * weight
        lam_grad[r] = 0.5 * weight * (squares - square[s])
    return row_grad, lam_grad
