"""Numba twins of :mod:`boundcert.kernels.window_rows_reference`: same names and contracts."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from .rows_cpu import ANY_ORDER, runs


@njit(cache=True, parallel=True, fastmath=ANY_ORDER)
def pull_windows(rows, owner, origin, taps, lines, table, size):
    out = np.empty((rows.shape[0], rows.shape[1], size), dtype=rows.dtype)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    channels, height, width = taps.shape[2:]
    tap, line, place = taps.reshape(-1), lines.reshape(-1), table.reshape(-1)
    # the taps and lines above are a step behind those below
    step, zero = np.uint64(channels * height * width), np.uint64(0)
    entries = np.uint64(table.shape[1])
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, to = rows[r].reshape(-1), out[r].reshape(-1)
        to[:] = 0.0
        total, weight = 0.0, 0.0
        for k in range(channels):
            start = np.uint64(k * size)
            for y in range(y0, y1):
                window = np.uint64(y * rows.shape[3] + x0)
                i = np.uint64(k * rows.shape[2] * rows.shape[3]) + window
                at = (owner[r] * 3 * channels + k) * height + origin[r, 0] + y
                j = np.uint64(at * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c = np.float64(row[i + x])
                    # where to read is chosen, not where to go on: no processor foresees signs
                    shift, slope = (zero if c > 0.0 else step), line[j + x + step]
                    v = c if c > 0.0 else c * slope
                    t = c * line[j + x + shift + shift]
                    # 0 times an infinite constant is 0; a nan must not get lost
                    total += t if c != 0.0 else c
                    weight += abs(v)
                    p = place[(window + x) * entries + np.uint64(tap[j + x + shift])]
                    to[start + np.uint64(p)] += v
        rest[r], mass[r] = total, weight
    return out, rest, mass


@njit(cache=True, parallel=True, fastmath=ANY_ORDER)
def pull_means(rows, owner, origin, weights, constants, table, size):
    out = np.empty((rows.shape[0], rows.shape[1], size), dtype=rows.dtype)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    entries, channels, height, width = weights.shape[2:]
    mean, line, place = weights.reshape(-1), constants.reshape(-1), table.reshape(-1)
    # those above are so much behind those below, and those of the next entry
    step, zero = np.uint64(channels * height * width), np.uint64(0)
    count = np.uint64(entries)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, to = rows[r].reshape(-1), out[r].reshape(-1)
        to[:] = 0.0
        total, weight = 0.0, 0.0
        for k in range(channels):
            start = np.uint64(k * size)
            for y in range(y0, y1):
                window = np.uint64(y * rows.shape[3] + x0)
                i = np.uint64(k * rows.shape[2] * rows.shape[3]) + window
                at = (k * height + origin[r, 0] + y) * width + origin[r, 1] + x0
                at = np.uint64(at)
                first = np.uint64(owner[r]) * np.uint64(2)
                for x in range(np.uint64(length)):
                    c = np.float64(row[i + x])
                    if c == 0.0:
                        continue
                    side = first + (zero if c > 0.0 else np.uint64(1))
                    total += c * line[side * step + at + x]
                    for e in range(count):
                        p = place[(window + x) * count + e]
                        v = c * mean[(side * count + e) * step + at + x]
                        weight += abs(v)
                        if p >= 0:
                            to[start + np.uint64(p)] += v
        rest[r], mass[r] = total, weight
    return out, rest, mass
