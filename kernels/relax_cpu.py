"""Numba twins of :mod:`relax_reference`: same names and contracts, parallel over rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .relax_reference import floor_one, lines_one, range_one
from .shapes import EPS


@njit(cache=True, parallel=True, error_model="numpy")
def activation_range(kind, low, high, a, b, pieces):
    least, most = np.empty(low.shape), np.empty(low.shape)
    n = low.shape[1]
    for at in prange(low.size):
        s, i = at // n, at % n
        least[s, i], most[s, i] = range_one(
            kind, low[s, i], high[s, i], a[i % a.size], b[i % b.size], pieces
        )
    return least, most


@njit(cache=True, parallel=True, error_model="numpy")
def activation_lines(kind, low, high, a, b, pieces):
    below, low_at = np.empty(low.shape), np.empty(low.shape)
    above, high_at = np.empty(low.shape), np.empty(low.shape)
    n = low.shape[1]
    for at in prange(low.size):
        s, i = at // n, at % n
        below[s, i], low_at[s, i], above[s, i], high_at[s, i] = lines_one(
            kind, low[s, i], high[s, i], a[i % a.size], b[i % b.size], pieces
        )
    return below, low_at, above, high_at


@njit(cache=True, parallel=True, error_model="numpy")
def activation_floor(kind, weight, slope, lam, centre, low, high, owner, a, b, pieces):
    rows, n = weight.shape
    rest, lam_grad = np.empty(rows), np.empty(rows)
    slope_grad, weight_grad = np.empty((rows, n)), np.empty((rows, n))
    for r in prange(rows):
        s = owner[r]
        total, size, moved = 0.0, 0.0, 0.0
        for i in range(n):
            w, g, c = weight[r, i], slope[r, i], centre[s, i]
            bound, z, v = floor_one(
                kind,
                w,
                g,
                lam[r],
                c,
                low[s, i],
                high[s, i],
                a[i % a.size],
                b[i % b.size],
                pieces,
            )
            total += bound
            size += abs(bound)
            slope_grad[r, i], weight_grad[r, i] = -z, v
            if w != 0.0 or g != 0.0:
                moved += 0.5 * (z - c) * (z - c)
        total -= (n + 2) * EPS * size
        rest[r] = -math.inf if math.isnan(total) else total
        lam_grad[r] = moved
    return rest, slope_grad, weight_grad, lam_grad
