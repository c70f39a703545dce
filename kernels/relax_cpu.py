"""Numba twins of :mod:`relax_reference`: same names and contracts, parallel over rows."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from . import scalar
from .relax_lines import lines_one
from .relax_range import range_one
from .relax_reference import deviation_lines_one, floor_one
from .shapes import BIG, EPS, TINY

#: Entries that one thread takes at a time, in flat memory: a division each would cost more than
#: the lines of most kinds.
BLOCK = 512


@njit(cache=True, inline="always")
def parameter(array, i):
    """Entry i of a parameter, shared or one an entry."""
    return array[0] if array.size == 1 else array[i % array.size]


@njit(error_model="numpy")
def _rectified(low, high, least, most):
    """``range_one`` of the ReLU."""
    for i in range(low.size):
        known = low[i] <= high[i]
        least[i] = max(low[i], 0.0) if known else -math.inf
        most[i] = max(high[i], 0.0) if known else math.inf


@njit(cache=True, parallel=True, error_model="numpy")
def activation_range(kind, low, high, a, b, pieces):
    least, most = np.empty(low.shape), np.empty(low.shape)
    n, size = low.shape[1], low.size
    lows, highs, leasts, mosts = low.ravel(), high.ravel(), least.ravel(), most.ravel()
    rectifier = kind == scalar.RELU and pieces.shape[0] > 0
    for block in prange((size + BLOCK - 1) // BLOCK):
        i = block * BLOCK % n
        if rectifier:
            s, e = block * BLOCK, min(size, (block + 1) * BLOCK)
            _rectified(lows[s:e], highs[s:e], leasts[s:e], mosts[s:e])
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
                kind, lows[at], highs[at], math.nan, first, second, pieces
            )
            i = i + 1 if i + 1 < n else 0
    return below, low_at, above, high_at


@njit(inline="always")
def _shifted(slope, constant, point, value_at, far, gamma, outward):
    """``shift_one`` without a branch."""
    moved = slope * point
    shifted = moved + constant - value_at
    size = (abs(moved) + abs(constant) + abs(value_at)) * (8 * EPS)
    size = size + abs(slope) * far * (4 * EPS) + abs(shifted) * gamma
    shifted = shifted + outward * (size * (1.0 + gamma) + 1e-300)
    return constant if abs(constant) == math.inf else shifted


@njit(inline="always")
def _leaky_one(a, low, high):
    """``lines_one`` of the leaky ReLU without a branch."""
    known = (low <= high) & (low >= -BIG) & (high <= BIG)
    on, convex = low >= 0.0, a <= 1.0
    stable, slope = on | (high <= 0.0), 1.0 if on else a
    width = high - low
    secant = high / width - a * (low / width)
    at_low, at_high = (a - secant) * low, (1.0 - secant) * high
    slack = 8 * EPS * (abs(at_low) + abs(at_high) + (abs(a) + abs(secant)) * -low + high) + TINY
    through = 1.0 if high > -low else a
    less = at_high < at_low
    under, over = at_high if less else at_low, at_low if less else at_high
    under, over = under - slack, over + slack
    below, above = through if convex else secant, secant if convex else through
    low_at, high_at = 0.0 if convex else under, over if convex else 0.0
    below, above = slope if stable else below, slope if stable else above
    low_at, high_at = 0.0 if stable else low_at, 0.0 if stable else high_at
    below, above = below if known else 0.0, above if known else 0.0
    return below, low_at if known else -math.inf, above, high_at if known else math.inf


@njit(error_model="numpy")
def _leaky(a, gamma, low, high, point, value_at, below, low_at, above, high_at, gap, far):
    """``deviation_lines_one`` of the leaky ReLU: views, as indices must not keep it from SIMD."""
    for i in range(low.size):
        steep, least, flat, most = _leaky_one(a, low[i], high[i])
        slope, shift = flat - steep, most - least
        first, last = slope * low[i] + shift, slope * high[i] + shift
        gap[i] = first if first > last else last
        up, down = high[i] - point[i], point[i] - low[i]
        apart = down if down > up else up
        move = (0.0 if apart < 0.0 else apart) * (1.0 + 2 * EPS) + abs(point[i]) * (2 * EPS)
        below[i], above[i], far[i] = steep, flat, move
        low_at[i] = _shifted(steep, least, point[i], value_at[i], move, gamma, -1.0)
        high_at[i] = _shifted(flat, most, point[i], value_at[i], move, gamma, 1.0)


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
            s, e = block * BLOCK, min(size, (block + 1) * BLOCK)
            box = lows[s:e], highs[s:e], points[s:e], values[s:e]
            _leaky(steep, gamma, *box, bs[s:e], bc[s:e], us[s:e], uc[s:e], gaps[s:e], fars[s:e])
            continue
        for at in range(block * BLOCK, min(size, (block + 1) * BLOCK)):
            first, second = parameter(a, i), parameter(b, i)
            bs[at], bc[at], us[at], uc[at], gaps[at], fars[at] = deviation_lines_one(
                kind, lows[at], highs[at], points[at], values[at], first, second, pieces, gamma
            )
            i = i + 1 if i + 1 < n else 0
    return below, low_at, above, high_at, gap, far


@njit(error_model="numpy")
def _shift(slope, constant, point, value_at, far, gamma, outward, out):
    for i in range(out.size):
        out[i] = _shifted(slope[i], constant[i], point[i], value_at[i], far[i], gamma, outward)


@njit(cache=True, parallel=True, error_model="numpy")
def shift_lines(slope, constant, point, value, deviation, outward):
    out = np.empty(slope.shape)
    n, size = slope.shape[1], slope.size
    steep, const, p, v = slope.ravel(), constant.ravel(), point.ravel(), value.ravel()
    far, to = deviation.ravel(), out.ravel()
    gamma = (n + 32) * EPS / (1.0 - (n + 32) * EPS)
    for block in prange((size + BLOCK - 1) // BLOCK):
        s, e = block * BLOCK, min(size, (block + 1) * BLOCK)
        _shift(steep[s:e], const[s:e], p[s:e], v[s:e], far[s:e], gamma, outward, to[s:e])
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
