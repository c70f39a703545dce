"""Numba twins of :mod:`boundcert.kernels.pencil_reference`: same names and contracts."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .pencil_reference import PLANES, pencil_one
from .relax_cpu import parameter
from .rows_cpu import FAINT, runs


@njit(cache=True, parallel=True, error_model="numpy")
def activation_pencil(kind, low, high, point, a, b, pieces):
    n = low.shape[1]
    table, start = np.empty((low.shape[0], 12, n)), np.empty(low.shape)
    for at in prange(low.size):
        s, i = at // n, at % n
        first, second, numbers = parameter(a, i), parameter(b, i), np.empty(12)
        start[s, i] = pencil_one(
            kind, low[s, i], high[s, i], point[s, i], first, second, pieces, numbers
        )
        for k in range(12):
            table[s, k, i] = numbers[k]
    return table, start


@njit(cache=True, inline="always")
def _bounded(mix):
    """The mix in [0, 2]; nan is 0."""
    return np.float64(min(mix, 2.0)) if mix > 0.0 else 0.0


@njit(cache=True, parallel=True)
def pull_pencil(rows, owner, origin, mix, table):
    out = np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    faint = FAINT if rows.itemsize == 4 else 0.0
    channels, height, width = table.shape[2:]
    lines, plane = table.reshape(-1), np.uint64(channels * height * width)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, to, chosen = rows[r].reshape(-1), out[r].reshape(-1), mix[r].reshape(-1)
        total, size = 0.0, 0.0
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] % len(table) * PLANES * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c, m = row[i + x], _bounded(chosen[i + x])
                    # branches pay off here: most coefficients are 0, or of stable entries
                    if c == 0.0:
                        continue
                    at = j + x if c > 0.0 else j + x + np.uint64(6) * plane
                    share = m
                    if m >= 1.0:
                        at += np.uint64(2) * plane
                        share = m - 1.0
                    slope, const = lines[at], lines[at + plane]
                    if share > 0.0:
                        at += np.uint64(2) * plane
                        slope = (1.0 - share) * slope + share * lines[at]
                        const = (1.0 - share) * const + share * lines[at + plane]
                    v = c * slope
                    v = 0.0 if abs(v) < faint else v
                    to[i + x] = v
                    total += c * const
                    size += abs(v)
        rest[r], mass[r] = total, size
    return out, rest, mass


@njit(cache=True, parallel=True)
def pencil_gradient(rows, owner, origin, mix, table, out_grad, rest_grad):
    row_grad, mix_grad = np.zeros_like(rows), np.zeros_like(rows)
    faint = FAINT if rows.itemsize == 4 else 0.0
    channels, height, width = table.shape[2:]
    lines, plane = table.reshape(-1), np.uint64(channels * height * width)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, chosen, back = rows[r].reshape(-1), mix[r].reshape(-1), out_grad[r].reshape(-1)
        to_row, to_mix = row_grad[r].reshape(-1), mix_grad[r].reshape(-1)
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] % len(table) * PLANES * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c, m, g = row[i + x], _bounded(chosen[i + x]), back[i + x]
                    if c == 0.0:
                        continue
                    at = j + x if c > 0.0 else j + x + np.uint64(6) * plane
                    share = m
                    if m >= 1.0:
                        at += np.uint64(2) * plane
                        share = m - 1.0
                    slope, const = lines[at], lines[at + plane]
                    at += np.uint64(2) * plane
                    steeper, higher = lines[at] - slope, lines[at + plane] - const
                    if share > 0.0:
                        slope, const = slope + share * steeper, const + share * higher
                    v = slope * g + const * rest_grad[r]
                    to_row[i + x] = 0.0 if abs(v) < faint else v
                    to_mix[i + x] = c * (steeper * g + higher * rest_grad[r])
    return row_grad, mix_grad
