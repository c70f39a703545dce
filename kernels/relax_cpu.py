"""Numba twins of :mod:`relax_reference`: same names and contracts, parallel over rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .relax_lines import lines_one
from .relax_range import range_one
from .relax_reference import floor_one, shift_one
from .shapes import EPS

#: Entries that one thread takes at a time, in flat memory: a division each would cost more than
#: the lines of most kinds.
BLOCK = 512


@njit(cache=True, inline="always")
def parameter(array, i):
    """Entry i of a parameter, shared or one an entry."""
    return array[0] if array.size == 1 else array[i % array.size]


@njit(cache=True, parallel=True, error_model="numpy")
def activation_range(kind, low, high, a, b, pieces):
    least, most = np.empty(low.shape), np.empty(low.shape)
    n, size = low.shape[1], low.size
    lows, highs, leasts, mosts = low.ravel(), high.ravel(), least.ravel(), most.ravel()
    for block in prange((size + BLOCK - 1) // BLOCK):
        i = block * BLOCK % n
        for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
            first, second = parameter(a, i), parameter(b, i)
            leasts[at], mosts[at] = range_one(kind, lows[at], highs[at], first, second, pieces)
            i = i + 1 if i + 1 < n else 0
    return least, most


@njit(cache=True, parallel=True, error_model="numpy")
def activation_lines(kind, low, high, a, b, pieces):
    below, low_at = np.empty(low.shape), np.empty(low.shape)
    above, high_at = np.empty(low.shape), np.empty(low.shape)
    n, size = low.shape[1], low.size
    lows, highs = low.ravel(), high.ravel()
    bs, bc, us, uc = below.ravel(), low_at.ravel(), above.ravel(), high_at.ravel()
    for block in prange((size + BLOCK - 1) // BLOCK):
        i = block * BLOCK % n
        for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
            first, second = parameter(a, i), parameter(b, i)
            bs[at], bc[at], us[at], uc[at] = lines_one(
                kind, lows[at], highs[at], first, second, pieces
            )
            i = i + 1 if i + 1 < n else 0
    return below, low_at, above, high_at


@njit(cache=True, parallel=True, error_model="numpy")
def shift_lines(slope, constant, point, value, deviation, outward):
    out = np.empty(slope.shape)
    n, size = slope.shape[1], slope.size
    steep, const, p, v = slope.ravel(), constant.ravel(), point.ravel(), value.ravel()
    far, to = deviation.ravel(), out.ravel()
    gamma = (n + 32) * EPS / (1.0 - (n + 32) * EPS)
    for block in prange((size + BLOCK - 1) // BLOCK):
        for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
            to[at] = shift_one(steep[at], const[at], p[at], v[at], far[at], gamma, outward)
    return out


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
