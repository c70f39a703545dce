"""Numba twins of :mod:`boundcert.kernels.reference`: same names, contracts and formulas.

Parallel over samples, float64, compiled on first use and cached on disk.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from . import scalar
from .relax_cpu import parameter

EPS = 2.0**-52


@njit(cache=True, inline="always")
def _inflate(value, terms):
    return math.inf if math.isnan(value) else value * (1.0 + (terms + 16) * EPS)


@njit(cache=True)
def _norm(x, p):
    top, total = 0.0, 0.0
    for v in x:
        size = abs(v)
        if math.isnan(size):
            return math.nan
        top = max(top, size)
        total += size
    if p == np.inf or top == 0.0 or math.isinf(top):
        return top
    if p == 1.0:
        return total
    total = 0.0
    for v in x:
        total += (v / top) * (v / top)
    return top * math.sqrt(total)


@njit(cache=True)
def _derivative(kind, order, x, a, b):
    return scalar.slope(kind, x, a, b) if order == 1 else scalar.curvature(kind, x, a, b)


@njit(cache=True)
def _relu_range(z, reach):
    # :func:`_slope_range` for the ReLU, without branches, so that loops over it are vectorised
    low_end, high_end = z - reach, z + reach
    low_end, high_end = low_end - EPS * abs(low_end), high_end + EPS * abs(high_end)
    low = 1.0 - 16 * EPS if low_end > 0 else 0.0
    high = 1.0 + 16 * EPS if high_end > 0 else 0.0
    sound = high_end >= low_end  # a nan fails the comparison
    return low if sound else -math.inf, high if sound else math.inf


@njit(cache=True)
def _slope_range(kind, order, z, reach, a, b, critical):
    low_end, high_end = z - reach, z + reach
    low_end, high_end = low_end - EPS * abs(low_end), high_end + EPS * abs(high_end)
    first = _derivative(kind, order, low_end, a, b)
    last = _derivative(kind, order, high_end, a, b)
    if math.isnan(first) or math.isnan(last) or math.isnan(low_end) or math.isnan(high_end):
        return -math.inf, math.inf
    low, high = min(first, last), max(first, last)
    for m in range(critical.shape[0]):
        if low_end <= critical[m, 1] and high_end >= critical[m, 0]:
            low, high = min(low, critical[m, 2]), max(high, critical[m, 2])
    noise = scalar.slope_noise(kind, a)
    return low - (16 * EPS * abs(low) + noise), high + (16 * EPS * abs(high) + noise)


@njit(cache=True, parallel=True)
def activation_slopes(kind, order, z, unit, scale, offset, a, b, critical):
    low, high = np.empty_like(z), np.empty_like(z)
    relu = kind == scalar.RELU and order == 1
    for s in prange(z.shape[0]):
        wide, more = scale[s], offset[s]
        for i in range(z.shape[1]):
            reach = (unit[i] * wide + more) * (1.0 + 4 * EPS)
            if relu:
                low[s, i], high[s, i] = _relu_range(z[s, i], reach)
            else:
                first, second = parameter(a, i), parameter(b, i)
                low[s, i], high[s, i] = _slope_range(
                    kind, order, z[s, i], reach, first, second, critical
                )
    return low, high


@njit(cache=True, parallel=True)
def activation_gain(kind, p, z, unit, scale, offset, a, b, critical):
    gain, size = np.zeros(z.shape[0]), np.zeros(z.shape[0])
    relu = kind == scalar.RELU
    for s in prange(z.shape[0]):
        moves = np.empty(z.shape[1])
        wide, more, top = scale[s], offset[s], 0.0
        for i in range(z.shape[1]):
            reach = (unit[i] * wide + more) * (1.0 + 4 * EPS)
            if relu:
                low, high = _relu_range(z[s, i], reach)
            else:
                first, second = parameter(a, i), parameter(b, i)
                low, high = _slope_range(kind, 1, z[s, i], reach, first, second, critical)
            steep = max(abs(low), abs(high))
            moves[i] = 0.0 if steep == 0.0 else steep * reach
            top = max(top, steep)
        gain[s], size[s] = _inflate(top, 0), _inflate(_norm(moves, p), z.shape[1])
    return gain, size


@njit(cache=True, parallel=True)
def slope_remainder(weight, low, high, unit, scale, offset, size, q):
    linear, rest = np.empty_like(weight), np.empty(weight.shape[:2])
    n = weight.shape[2]
    for s in prange(weight.shape[1]):
        factor = np.empty(n)
        for k in range(weight.shape[0]):
            total = 0.0
            for i in range(weight.shape[2]):
                w = weight[k, s, i]
                if w == 0.0:
                    linear[k, s, i], factor[i] = 0.0, 0.0
                    continue
                middle = 0.5 * (low[s, i] + high[s, i])
                reach = (unit[i] * scale[s] + offset[s]) * (1.0 + 4 * EPS)
                half = max(high[s, i] - middle, middle - low[s, i]) + EPS * abs(middle)
                linear[k, s, i] = w * middle
                factor[i] = abs(w) * half + EPS * abs(linear[k, s, i])
                total += 0.0 if factor[i] == 0.0 else factor[i] * reach
            together = _inflate(_norm(factor, q) * size[s], n)
            rest[k, s] = min(_inflate(total, n), together)
    return linear, rest


@njit(cache=True, parallel=True)
def lrn_gain(x, reach, size, alpha, beta, bias, p):
    samples, channels, positions = x.shape
    c = alpha / size
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    out = np.zeros(samples)
    for s in prange(samples):
        r = reach[s]
        worst = 0.0
        main, decay = np.empty(channels), np.empty(channels)
        rows, columns = np.empty(channels), np.empty(channels)
        for m in range(positions):
            broken = False
            for i in range(channels):
                square = 0.0
                for j in range(max(i - before, 0), min(i + after, channels - 1) + 1):
                    v = max(abs(x[s, j, m]) - r, 0.0) if c >= 0 else abs(x[s, j, m]) + r
                    square += v * v
                d = (bias + c * square) * (1.0 - (size + 16) * EPS)
                if not d > 0.0:
                    broken = True
                    break
                main[i], decay[i] = d**-beta, d ** (-beta - 1.0)
                rows[i], columns[i] = main[i], main[i]
            if broken:
                worst = math.inf
                break
            for i in range(channels):
                for j in range(max(i - before, 0), min(i + after, channels - 1) + 1):
                    big_i, big_j = abs(x[s, i, m]) + r, abs(x[s, j, m]) + r
                    entry = 2.0 * abs(c * beta) * big_i * decay[i] * big_j
                    rows[i] += entry
                    columns[j] += entry
            top_r, top_c = rows.max(), columns.max()
            here = top_r if p == np.inf else (top_c if p == 1.0 else math.sqrt(top_r * top_c))
            worst = math.inf if math.isnan(here) else max(worst, here)
        out[s] = _inflate(worst, 4 * size)
    return out


@njit(cache=True, parallel=True)
def pool_multiplicity(x, windows, reach):
    out = np.zeros(x.shape[0])
    for s in prange(x.shape[0]):
        count = np.zeros(x.shape[1], dtype=np.int64)
        for w in range(windows.shape[0]):
            top, size = -math.inf, 0.0
            for k in range(windows.shape[1]):
                if windows[w, k] >= 0:
                    v = x[s, windows[w, k]]
                    top, size = max(top, v), max(size, abs(v))
            slack = 2.0 * reach[s] + 8 * EPS * (size + reach[s])
            for k in range(windows.shape[1]):
                if windows[w, k] >= 0 and not (x[s, windows[w, k]] < top - slack):
                    count[windows[w, k]] += 1
        out[s] = count.max() if count.size else 0
    return out


@njit(cache=True, parallel=True)
def pairwise_norms(w, p):
    out = np.zeros((w.shape[0], w.shape[0]))
    for i in prange(w.shape[0]):
        for j in range(w.shape[0]):
            out[i, j] = _inflate(_norm(w[i] - w[j], p), w.shape[1])
    return out


@njit(cache=True, parallel=True)
def margin_distances(logits, error, norms, label):
    out = np.empty(logits.shape)
    for s in prange(logits.shape[0]):
        c = label[s]
        for j in range(logits.shape[1]):
            gap = logits[s, c] - logits[s, j]
            gap -= 2.0 * error[s] + 4 * EPS * (abs(logits[s, c]) + abs(logits[s, j]))
            if j == c:
                out[s, j] = math.inf
            elif not gap > 0.0 or math.isnan(norms[c, j]):
                out[s, j] = 0.0
            elif norms[c, j] == 0.0:
                out[s, j] = math.inf
            else:
                out[s, j] = gap / norms[c, j] * (1.0 - 4 * EPS)
    return out


@njit(cache=True, parallel=True)
def taylor_recursion(steep, curved, spectral, row):
    lipschitz, smoothness = np.ones(steep.shape[0]), np.zeros(steep.shape[0])
    for s in prange(steep.shape[0]):
        grow, bend = 1.0, 0.0
        for k in range(steep.shape[1]):
            bend = (
                curved[s, k] * row[k] * spectral[k] * grow * grow + steep[s, k] * spectral[k] * bend
            )
            grow = steep[s, k] * spectral[k] * grow
        lipschitz[s] = _inflate(grow, 8 * steep.shape[1])
        smoothness[s] = _inflate(bend, 8 * steep.shape[1])
    return lipschitz, smoothness
