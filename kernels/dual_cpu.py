"""Numba twins of :mod:`boundcert.kernels.dual_reference`: same names, contracts and formulas."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from .ball_reference import ABOVE, BASE, BELOW, COLUMNS, EPS, HIGH, LOW, SPLIT
from .pencil_cpu import _bounded
from .rows_cpu import runs


@njit(cache=True)
def _entry(table, at, plane, rises):
    """Box and cut, lines left and right of it on the side of a coefficient."""
    side = at + np.uint64(BELOW if rises else ABOVE) * plane
    return (
        table[at + np.uint64(LOW) * plane],
        table[at + np.uint64(HIGH) * plane],
        table[at + np.uint64(SPLIT) * plane],
        table[side],
        table[side + plane],
        table[side + np.uint64(2) * plane],
        table[side + np.uint64(3) * plane],
    )


@njit(cache=True)
def _slope(mix, left, right):
    """The slope that a mix says, and what it gains by a unit of mix."""
    gain = 0.5 * abs(right - left)
    return min(left, right) + gain * _bounded(mix), gain


@njit(cache=True)
def _lowest(c, g, lam, entry):
    """The least of ½λδ² + c·line(δ) − gδ over both parts, where it is, and the line there."""
    low, high, split, left, left_at, right, right_at = entry
    # comparisons would lose a nan, which bounds nothing
    if math.isnan(low) or math.isnan(high) or math.isnan(split):
        return -math.inf, 0.0, 0.0
    value, where, line = math.inf, 0.0, 0.0
    if low <= split:
        steep = c * left - g
        where = min(max(-steep / lam, low), max(min(split, high), low))
        value = 0.5 * lam * where * where + steep * where + c * left_at
        line = left * where + left_at
    if high > split or value == math.inf:
        steep = c * right - g
        at = min(max(-steep / lam, min(max(split, low), high)), high)
        other = 0.5 * lam * at * at + steep * at + c * right_at
        if not value <= other:
            value, where, line = other, at, right * at + right_at
    return value, where, line


@njit(cache=True, parallel=True, error_model="numpy")
def pull_dual(rows, owner, origin, mix, multiplier, table, square):
    out = np.zeros_like(rows)
    rest, mass = np.empty(rows.shape[0]), np.empty(rows.shape[0])
    channels, height, width = table.shape[2:]
    flat, plane = table.reshape(-1), np.uint64(channels * height * width)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, to, chosen = rows[r].reshape(-1), out[r].reshape(-1), mix[r].reshape(-1)
        lam, budget = multiplier[r], square[owner[r]]
        total, bound, size, norm, count = 0.0, 0.0, 0.0, 0.0, 0
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] % len(table) * COLUMNS * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c = np.float64(row[i + x])
                    if c == 0.0 or c != c:
                        total += c
                        to[i + x] = c
                        norm += abs(c)
                        continue
                    at = j + x
                    base = at + np.uint64(BASE) * plane
                    above = base + np.uint64(2) * plane
                    if flat[base] == flat[above]:
                        to[i + x] = c * flat[base]
                        total += c * flat[(base if c > 0.0 else above) + plane]
                        norm += abs(np.float64(to[i + x]))
                        continue
                    entry = _entry(flat, at, plane, c > 0.0)
                    to[i + x] = c * _slope(chosen[i + x], entry[3], entry[5])[0]
                    g = np.float64(to[i + x])
                    bound += _lowest(c, g, lam, entry)[0]
                    reach = max(abs(entry[0]), abs(entry[1]))
                    steep = abs(c) * max(abs(entry[3]), abs(entry[5])) + abs(g)
                    offset = abs(c) * max(abs(entry[4]), abs(entry[6]))
                    size += 0.5 * lam * reach * reach + steep * reach + offset
                    norm += abs(g)
                    count += 1
        spent = 0.5 * lam * budget
        bound = bound - spent - (spent + size) * (count + 64) * EPS
        rest[r] = total + bound if 0.0 < lam < math.inf else -math.inf
        mass[r] = norm
    return out, rest, mass


@njit(cache=True, parallel=True, error_model="numpy")
def dual_gradient(rows, owner, origin, mix, multiplier, table, square, out_grad, rest_grad):
    row_grad, mix_grad = np.zeros_like(rows), np.zeros_like(rows)
    lam_grad = np.empty(rows.shape[0])
    channels, height, width = table.shape[2:]
    flat, plane = table.reshape(-1), np.uint64(channels * height * width)
    for r in prange(rows.shape[0]):
        y0, y1, x0, length = runs(rows, origin[r], height, width)
        row, chosen, back = rows[r].reshape(-1), mix[r].reshape(-1), out_grad[r].reshape(-1)
        to_row, to_mix = row_grad[r].reshape(-1), mix_grad[r].reshape(-1)
        lam, weight, squares = multiplier[r], rest_grad[r], 0.0
        for k in range(channels):
            for y in range(y0, y1):
                i = np.uint64((k * rows.shape[2] + y) * rows.shape[3] + x0)
                line = (owner[r] % len(table) * COLUMNS * channels + k) * height + origin[r, 0] + y
                j = np.uint64(line * width + origin[r, 1] + x0)
                for x in range(np.uint64(length)):
                    c, g = np.float64(row[i + x]), np.float64(back[i + x])
                    if c == 0.0:
                        continue
                    at = j + x
                    base = at + np.uint64(BASE) * plane
                    above = base + np.uint64(2) * plane
                    if flat[base] == flat[above]:
                        const = flat[(base if c > 0.0 else above) + plane]
                        to_row[i + x] = flat[base] * g + const * weight
                        continue
                    entry = _entry(flat, at, plane, c > 0.0)
                    slope, gain = _slope(chosen[i + x], entry[3], entry[5])
                    _, where, height_there = _lowest(c, c * slope, lam, entry)
                    to_row[i + x] = slope * g + (height_there - slope * where) * weight
                    to_mix[i + x] = c * gain * (g - where * weight)
                    squares += where * where
        lam_grad[r] = 0.5 * weight * (squares - square[owner[r]])
    return row_grad, mix_grad, lam_grad
