"""Numba twins of :mod:`relax_reference`: same names and contracts, parallel over rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from . import scalar
from .relax_lines import lines_one
from .relax_range import range_one
from .relax_reference import deviation_lines_one, floor_one, shift_one
from .shapes import BIG, EPS, TINY

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
    rectifier = kind == scalar.RELU and pieces.shape[0] > 0
    for block in prange((size + BLOCK - 1) // BLOCK):
        i = block * BLOCK % n
        if rectifier:
            for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
                known = lows[at] <= highs[at]
                leasts[at] = (max(lows[at], 0.0)) if known else -math.inf
                mosts[at] = (max(highs[at], 0.0)) if known else math.inf
            continue
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


@njit(inline="always")
def _leaky(a, low, high, point, value_at, gamma):
    """``deviation_lines_one`` of the leaky ReLU without a branch: most entries' hot case."""
    known = (low <= high) & (max(abs(low), abs(high)) <= BIG)
    on, off = low >= 0.0, high <= 0.0
    width = high - low
    secant = high / width - a * (low / width)
    at_low, at_high = (a - secant) * low, (1.0 - secant) * high
    slack = 8 * EPS * (abs(at_low) + abs(at_high) + (abs(a) + abs(secant)) * -low + high) + TINY
    through = 1.0 if high > -low else a
    convex = a <= 1.0
    below, above = (through, secant) if convex else (secant, through)
    low_at = 0.0 if convex else min(at_low, at_high) - slack
    high_at = max(at_low, at_high) + slack if convex else 0.0
    stable, slope = on | off, 1.0 if on else a
    below, above = (slope, slope) if stable else (below, above)
    low_at, high_at = (0.0, 0.0) if stable else (low_at, high_at)
    below, above = (below, above) if known else (0.0, 0.0)
    shift = high_at - low_at if known else math.inf
    first, last = (above - below) * low + shift, (above - below) * high + shift
    gap = last if not first > last else first
    up, down = high - point, point - low
    apart = down if down > up else up
    far = (0.0 if apart < 0.0 else apart) * (1.0 + 2 * EPS) + abs(point) * (2 * EPS)
    size = (abs(below * point) + abs(low_at) + abs(value_at)) * (8 * EPS)
    moved = below * point + low_at - value_at
    size = size + abs(below) * far * (4 * EPS) + abs(moved) * gamma
    low_at = moved + -1.0 * (size * (1.0 + gamma) + 1e-300)
    size = (abs(above * point) + abs(high_at) + abs(value_at)) * (8 * EPS)
    moved = above * point + high_at - value_at
    size = size + abs(above) * far * (4 * EPS) + abs(moved) * gamma
    high_at = moved + (size * (1.0 + gamma) + 1e-300)
    low_at, high_at = (low_at, high_at) if known else (-math.inf, math.inf)
    return below, low_at, above, high_at, gap, far


@njit(cache=True, parallel=True, error_model="numpy")
def deviation_lines(kind, low, high, point, value_at, a, b, pieces):
    below, low_at = np.empty(low.shape), np.empty(low.shape)
    above, high_at = np.empty(low.shape), np.empty(low.shape)
    gap, far = np.empty(low.shape), np.empty(low.shape)
    n, size = low.shape[1], low.size
    lows, highs, points, values = low.ravel(), high.ravel(), point.ravel(), value_at.ravel()
    bs, bc, us, uc = below.ravel(), low_at.ravel(), above.ravel(), high_at.ravel()
    gaps, fars = gap.ravel(), far.ravel()
    gamma = (n + 32) * EPS / (1.0 - (n + 32) * EPS)
    leaky = kind == scalar.RELU or (kind == scalar.LEAKY and a.size == 1 and abs(a[0]) <= BIG)
    steep = 0.0 if kind == scalar.RELU else a[0]
    for block in prange((size + BLOCK - 1) // BLOCK):
        i = block * BLOCK % n
        if leaky and pieces.shape[0] > 0:
            for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
                bs[at], bc[at], us[at], uc[at], gaps[at], fars[at] = _leaky(
                    steep, lows[at], highs[at], points[at], values[at], gamma
                )
            continue
        for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
            first, second = parameter(a, i), parameter(b, i)
            bs[at], bc[at], us[at], uc[at], gaps[at], fars[at] = deviation_lines_one(
                kind, lows[at], highs[at], points[at], values[at], first, second, pieces, gamma
            )
            i = i + 1 if i + 1 < n else 0
    return below, low_at, above, high_at, gap, far


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
