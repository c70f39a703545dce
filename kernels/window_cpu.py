"""Numba twin of :mod:`boundcert.kernels.window_reference`: same name, contract and formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import EPS
from .maximum_reference import LEAST, MOST, PEAK
from .relax_reference import shift_one
from .window_reference import BEHIND, FIRST, NUDGE, TIED


@njit(cache=True, inline="always", error_model="numpy")
def _deviation(low, high, point):
    """At least |δ|; inf where an end or the point is none."""
    up, down = high - point, point - low
    far = max(up if up > down else down, 0.0) * (1.0 + NUDGE) + abs(point) * NUDGE
    return far if far < math.inf else math.inf


@njit(cache=True, inline="always")
def _lower(end):
    return end if abs(end) < math.inf else -math.inf


@njit(cache=True, inline="always")
def _upper(end):
    return end if abs(end) < math.inf else math.inf


@njit(cache=True, error_model="numpy")
def _above(top, bottom, others):
    """Slope and constant of the line above."""
    if bottom >= others:
        return 1.0, 0.0
    level = others  # the greater of the two, or this were exact
    slope = (top - level) / (top - bottom) if top > bottom else 1.0
    slope = 0.0 if math.isnan(slope) else min(max(slope, 0.0), 1.0)
    left, right = level - slope * bottom, top - slope * top
    at = left if left > right or math.isnan(left) else right
    at += (abs(level) + abs(bottom) + abs(top)) * (4 * EPS)
    return slope, (at if abs(at) < math.inf else math.inf)


@njit(cache=True, error_model="numpy")
def _taps(low, high, point, window):
    """Three taps, the greatest lower end, the greatest two upper ends, the largest |δ|."""
    least, most, peak, first = -1, -1, -1, -1
    floor, top, others, best, far = -math.inf, -math.inf, -math.inf, -math.inf, 0.0
    for k in range(window.size):
        i = window[k]
        if i < 0:
            continue
        if first < 0:
            first = k
        l, u, z = _lower(low[i]), _upper(high[i]), point[i]  # noqa: E741
        # choices, not branches: which of a window is the greatest no processor foresees
        least = k if l > floor else least
        floor = l if l > floor else floor
        rival = top if u > top else u
        others = rival if rival > others else others
        most = k if u > top else most
        top = u if u > top else top
        peak = k if z > best else peak
        best = z if z > best else best
        far = max(far, _deviation(l, u, z))
    # where none is more than −∞ the first
    return max(least, first), most, max(peak, first), floor, top, others, far


@njit(cache=True, parallel=True, nogil=True, error_model="numpy")
def window_lines(low, high, point, value, table):
    samples, channels, size = low.shape
    count, entries = table.shape
    taps = np.empty((samples, 3, channels, count), dtype=np.int64)
    lines = np.empty((samples, 3, channels, count))
    marks = np.zeros((samples, 3, channels, size), dtype=np.uint8)
    far = np.empty((samples, channels))
    terms = channels * count + 32
    gamma = terms * EPS / (1.0 - terms * EPS)
    # windows of one plane share entries, planes do not
    for plane in prange(samples * channels):
        s, c = plane // channels, plane % channels
        lows, highs, points = low[s, c], high[s, c], point[s, c]
        tied, ahead, behind = marks[s, TIED, c], marks[s, FIRST, c], marks[s, BEHIND, c]
        reach = 0.0
        for w in range(count):
            window = table[w]
            least, most, peak, floor, top, others, wide = _taps(lows, highs, points, window)
            reach = max(reach, wide)
            i, j, v = window[least], window[most], value[s, c, w]
            bottom = _lower(lows[j])
            slope, at = _above(top, bottom, others)
            near = _deviation(_lower(lows[i]), _upper(highs[i]), points[i])
            below = shift_one(1.0, 0.0, points[i], v, near, gamma, -1.0)
            near = _deviation(bottom, top, points[j])
            above = shift_one(slope, at, points[j], v, near, gamma, 1.0)
            taps[s, LEAST, c, w], taps[s, MOST, c, w], taps[s, PEAK, c, w] = least, most, peak
            lines[s, 0, c, w] = below if abs(below) < math.inf else -math.inf
            lines[s, 1, c, w] = slope
            lines[s, 2, c, w] = above if abs(above) < math.inf else math.inf
            loose = not (least == most and bottom >= others)
            for k in range(entries):
                e = window[k]
                if e < 0:
                    continue
                if k == peak:
                    ahead[e] = 1
                else:
                    behind[e] = 1
                if loose and not _upper(highs[e]) <= floor:
                    tied[e] = 1
        far[s, c] = reach
    return taps, lines, marks, far
