"""What the twins of the kernels on activations, and of the walk's other ones, are tried with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from exact_cases import PARAMETERS
from kernel_cases import NORMS, Array, Case, spoilt

from boundcert.layers.activation_table import ACTIVATIONS

POSITIVE = ("Sqrt", "Log", "Reciprocal")


def box(rng: np.random.Generator, positive: bool) -> tuple[Array, Array, Array, Array]:
    b, n = 3, 11
    z = rng.standard_normal((b, n)) * 10.0 ** rng.uniform(-2, 2)
    unit, scale = rng.random(n), rng.random(b) * 10.0 ** rng.uniform(-3, 1)
    offset = rng.random(b) * rng.choice([0.0, 1e-3])
    if positive:
        return np.abs(z) + 1.0, unit, scale * 0.05, offset * 0.05
    return z, unit, scale, offset


def activation_cases(kind: str, seed: int) -> Iterator[Case]:
    rule, rng = ACTIVATIONS[kind], np.random.default_rng(2000 + seed)
    first, second = PARAMETERS.get(kind, (0.0, 0.0))
    a, b = np.array([first]), np.array([second])
    z, unit, scale, offset = box(rng, kind in POSITIVE)
    if kind == "PRelu":
        a = rng.standard_normal(z.shape[1])
    if seed % 3 == 1:
        z[0, 0], z[1, 1] = np.nan, np.inf
    zones = np.array(rule.zones(first, second), dtype=float).reshape(-1, 3)
    bends = np.array(rule.bends(first, second), dtype=float).reshape(-1, 3)
    common = (z, unit, scale, offset, a, b)
    yield "activation_slopes", (rule.code, 1, *common, zones)
    if rule.smooth:
        yield "activation_slopes", (rule.code, 2, *common, bends)
    for p in NORMS:
        yield "activation_gain", (rule.code, p, *common, zones)

    pieces = np.array(rule.pieces(first, second), dtype=float).reshape(-1, 3)
    reach = unit * scale[:, None] + offset[:, None]
    low, high = z - reach, z + reach
    if seed % 3 == 2:
        low[0, 0], high[0, 0] = high[0, 0] + 1.0, low[0, 0]
        low[0, 1] = high[0, 1] = z[0, 1]
    yield "activation_range", (rule.code, low, high, a, b, pieces)
    yield "activation_lines", (rule.code, low, high, a, b, pieces)
    yield "deviation_lines", (rule.code, low, high, z, np.tanh(z), a, b, pieces)
    owner = rng.integers(0, len(z), 4)
    weight, slope = rng.standard_normal((2, 4, z.shape[1]))
    weight[rng.random(weight.shape) < 0.3] = 0.0
    slope[weight == 0.0] *= rng.random() < 0.5
    lam = rng.random(4) * (rng.random(4) < 0.7)
    tail = (lam, z, low, high, owner, a, b, pieces)
    yield "activation_floor", (rule.code, weight, slope, *tail)
    yield "activation_pencil", (rule.code, low, high, z, a, b, pieces)


def other_cases(seed: int) -> Iterator[Case]:
    rng = np.random.default_rng(3000 + seed)
    z, unit, scale, offset = box(rng, False)
    b, n = z.shape
    low, width = rng.standard_normal(z.shape), rng.random(z.shape)
    weight = spoilt(rng, rng.standard_normal((2, b, n)), seed)
    for p in NORMS:
        args = (weight, low, low + width, unit, scale, offset, rng.random(b), p)
        yield "slope_remainder", args
        x, size = rng.standard_normal((b, 6, 5)), int(rng.integers(1, 7))
        alpha = -0.3 if seed % 4 == 3 else 0.5
        yield "lrn_gain", (x, rng.random(b), size, alpha, 0.75, 1.2, p)
        yield "pairwise_norms", (spoilt(rng, rng.standard_normal((5, 19)), seed), p)
    windows = rng.integers(-1, n, size=(40, 3))
    yield "pool_multiplicity", (spoilt(rng, z.copy(), seed), windows, scale)
    norms, label = np.abs(rng.standard_normal((n, n))), rng.integers(0, n, size=b)
    norms[0, 1], norms[label[0], 2] = 0.0, np.nan
    logits = spoilt(rng, z.copy(), seed)
    yield "margin_distances", (logits, offset * 1e-6, norms, label)
    line = rng.standard_normal((5, b, n))
    line[1, rng.random((b, n)) < 0.1] = -np.inf if seed % 2 else np.inf
    for outward in (-1.0, 1.0):
        yield "shift_lines", (*line[:4], np.abs(line[4]), outward)
    steep, curved = rng.random((2, b, 4))
    yield "taylor_recursion", (steep, curved, rng.random(4) * 3, rng.random(4))
