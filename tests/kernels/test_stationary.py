"""Where activations have given slopes, and the lines that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from boundcert.kernels import relax_lines, shapes, stationary
from exact_cases import CASES, CPU, boxes, positive, samples, seeds, shape, truth
from hypothesis import given, settings
from mpmath import mpf

from boundcert.layers.activation_table import ACTIVATIONS
from examples import examples

#: The others have lines in closed form, one of two rays among them.
CURVED = [name for name in ACTIVATIONS if name not in ("Relu", "LeakyRelu", "PRelu")]


def inside(rng: np.random.Generator, name: str, a: float, start: float, end: float) -> float:
    """A point of a piece, most of them where slopes differ."""
    low, high = max(start, -6.0), min(end, 6.0)
    low = max(low, 1e-3) if positive(name, a) else low
    return float(low + (high - low) * rng.random())


@pytest.mark.parametrize("name,a,b", CASES)
@settings(max_examples=examples(8), deadline=None)
@given(seed=seeds)
def test_points_have_their_slope(name: str, a: float, b: float, seed: int) -> None:
    """A formula's point, where there is one, is as good as the zero that iterations find."""
    rng = np.random.default_rng(seed)
    code, rest = shape(name, a, b)
    for start, end, sign in rest[2]:
        x = inside(rng, name, a, start, end)
        if abs(sign) != 1.0 or not start < x < end:
            continue
        low, high = max(start, x - rng.random()), min(end, x + rng.random())
        slope = shapes.inner_slope(code, x, a, b)
        near = stationary.point_of_slope(code, slope, low, high, a, b)
        found = [
            stationary.stationary(code, sign, sign * slope, 0.0, 0.0, low, high, a, b, guess)
            for guess in (near, math.nan, x, low + (high - low) * rng.random())
        ]
        for z, there in found:
            assert low <= z <= high and there == shapes.inner_slope(code, z, a, b)
            assert abs(there - slope) <= 1e-12 * (abs(slope) + 1e-2)
        if not math.isnan(near) and name not in ("Gelu", "Swish"):
            there = shapes.inner_slope(code, min(max(near, low), high), a, b)
            assert abs(there - slope) <= 1e-12 * (abs(slope) + 1e-2)


@pytest.mark.parametrize("name,a,b", CASES)
@settings(max_examples=examples(3), deadline=None)
@given(seed=seeds)
def test_pencils_hold_in_exact_arithmetic(name: str, a: float, b: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    code, rest = shape(name, a, b)
    low, high = boxes(rng, name, a, rest[2], 8)
    point = low + (high - low) * rng.random(low.shape)
    table, _ = CPU.activation_pencil(code, low, high, point, *rest)
    with mpmath.workprec(450):
        for i in range(low.shape[1]):
            l, u = low[0, i], high[0, i]  # noqa: E741
            for z in map(mpf, samples(rng, l, u, *rest[2][:, :2].ravel())):
                v = truth(name, z, a, b)
                for k in range(0, 12, 2):
                    line = mpf(table[0, k, i]) * z + mpf(table[0, k + 1, i])
                    assert line <= v if k < 6 else line >= v


def least(f: Callable[[float], float], low: float, high: float, kinks: list[float]) -> float:
    """The least of f on [low, high], from ever finer grids."""
    best = math.inf
    for _ in range(6):
        grid = np.concatenate([np.linspace(low, high, 101), [z for z in kinks if low < z < high]])
        values = [f(float(z)) for z in grid]
        best, z = min(best, *values), float(grid[int(np.argmin(values))])
        low, high = max(low, z - (high - low) / 50), min(high, z + (high - low) / 50)
    return best


@pytest.mark.parametrize("name", CURVED)
@settings(max_examples=examples(3), deadline=None)
@given(seed=seeds)
def test_no_line_is_higher_at_the_target(name: str, seed: int) -> None:
    """The line meets the graph at the target, or on both sides of it."""
    rng = np.random.default_rng(seed)
    _, a, b = next(case for case in CASES if case[0] == name)
    code, rest = shape(name, a, b)
    for _ in range(4):
        low = float(rng.random() + 1e-2 if positive(name, a) else rng.normal() * 3.0)
        high = low + float(10.0 ** rng.uniform(-2, 1.2))
        point = low + (high - low) * rng.random()
        lines = relax_lines.lines_one(code, low, high, point, a, b, rest[2])
        ends = shapes.value(code, low, a, b), shapes.value(code, high, a, b)
        for sign, s, t in ((1.0, *lines[:2]), (-1.0, *lines[2:])):

            def above(z: float, sign: float = sign, s: float = s, t: float = t) -> float:
                return sign * (shapes.value(code, z, a, b) - s * z - t)

            target = relax_lines.target_of(low, high, point, sign * (ends[1] - ends[0]))
            room = 1e-9 * (max(map(abs, ends)) + abs(s) * (high - low)) + 1e-13
            for side in ((low, target), (target, high)):
                assert least(above, *side, list(rest[2][:, 0])) <= room
