"""Numba twins of :mod:`boundcert.kernels.dual_maximum_reference`: same names and contracts."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import EPS
from .maximum_cpu import cost, floor
from .maximum_reference import LEAST, MOST, PEAK
from .rows_cpu import span


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
                    least = floor(-c, lam, window, taps[s, PEAK, k, v, u])[0]
                    taken = least > plain
                    tap[r, k, y, x] = taps[s, PEAK if taken else MOST, k, v, u]
                    out[r, k, y, x] = c if taken else c * lines[s, 1, k, v, u]
                    bound += least if taken else plain
                    size += cost(-c, lam, window) if taken else abs(plain)
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
                    least, mine, other, gap = floor(-c, lam, windows[s, k, v, u], peak)
                    if least > c * lines[s, 2, k, v, u]:
                        row_grad[r, k, y, x] = g - weight * (mine + gap - other)
                        squares += mine * mine + other * other
                    else:
                        steep, high = lines[s, 1, k, v, u], lines[s, 2, k, v, u]
                        row_grad[r, k, y, x] = steep * g + high * weight
        lam_grad[r] = 0.5 * weight * (squares - square[s])
    return row_grad, lam_grad
