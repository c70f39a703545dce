"""The relaxations of the activations against exact arithmetic, which could refute them."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from boundcert.kernels import shapes
from exact_cases import (
    CASES,
    CPU,
    PARAMETERS,
    REFERENCE,
    boxes,
    samples,
    seeds,
    shape,
    truth,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf

from boundcert.layers.activation_table import ACTIVATIONS


@pytest.mark.parametrize("name,a,b", CASES)
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_bounds_hold_in_exact_arithmetic(name: str, a: float, b: float, seed: int) -> None:
    rng, n = np.random.default_rng(seed), 10
    code, rest = shape(name, a, b)
    ends = rest[2][:, :2].ravel()
    low, high = boxes(rng, name, a, rest[2], n)
    below, low_at, above, high_at = CPU.activation_lines(code, low, high, *rest)
    least, most = CPU.activation_range(code, low, high, *rest)
    g = rng.standard_normal((1, n)) * rng.choice([0, 1, 1e3])
    w = rng.choice([-1.0, 1.0], (1, n)) * 10.0 ** rng.uniform(-3, 3)
    lam = float(rng.choice([0.0, 1e-6, 1.0, 1e3]))
    c = low + (high - low) * rng.uniform(-1, 2, (1, n))
    if rng.random() < 0.5:
        # stationary inside the box
        z = np.clip(low + (high - low) * rng.random((1, n)), low, high)
        m = [shapes.inner_slope(code, x, a, b) for x in z[0]]
        g = np.clip(np.nan_to_num(w * m + lam * (z - c)), -1e50, 1e50)
    assert np.isfinite(least).all() and np.isfinite(most).all()
    assert np.isfinite(low_at).all() and np.isfinite(high_at).all()
    with mpmath.workprec(450), np.errstate(all="ignore"):
        for i in range(n):
            l, u = low[0, i], high[0, i]  # noqa: E741
            pick = (w[0, i], g[0, i], lam, c[0, i], l, u, a, b, rest[2])
            bound, point = shapes.floor(code, *pick)
            touch = [
                shapes.floor(code, sign, sign * s[0, i], 0.0, 0.0, l, u, a, b, rest[2])[1]
                for sign, s in ((1.0, below), (-1.0, above))
            ]
            assert bound > -math.inf and l <= point <= u
            row = [np.full((1, 1), x) for x in (w[0, i], g[0, i], c[0, i], l, u)]
            owner, lams = np.zeros(1, dtype=np.int64), np.array([lam])
            args = (*row[:2], lams, *row[2:], owner)
            summed = float(CPU.activation_floor(code, *args, *rest)[0][0])
            assert summed > -math.inf
            for z in map(mpf, samples(rng, l, u, point, *touch, *ends)):
                v = truth(name, z, a, b)
                assert mpf(least[0, i]) <= v <= mpf(most[0, i])
                assert mpf(below[0, i]) * z + mpf(low_at[0, i]) <= v
                assert v <= mpf(above[0, i]) * z + mpf(high_at[0, i])
                cost = mpf(lam) / 2 * (z - mpf(c[0, i])) ** 2 - mpf(g[0, i]) * z
                assert mpf(max(bound, summed)) <= cost + mpf(w[0, i]) * v


@pytest.mark.parametrize(
    "name,a,low,high",
    [("Log", 0.0, -1.0, 1.0), ("Log", 0.0, 0.0, 1.0), ("Sqrt", 0.5, -1e-9, 1.0)]
    + [("Reciprocal", 0.0, low, high) for low, high in ((-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0))]
    + [("Pow", e, -1.0, 1.0) for e in (-2.0, -1.0, 0.5, 1.5, math.inf)]
    + [("Tanh", 0.0, math.nan, 1.0), ("Tanh", 0.0, 1.0, math.nan), ("Gelu", 0.7, 0.0, math.inf)]
    + [("Sigmoid", 0.0, 1.0, 0.0), ("Relu", 0.0, -math.inf, math.nan)],
)
@pytest.mark.parametrize("kernels", [CPU, REFERENCE])
def test_no_bound_where_there_is_none(kernels, name, a, low, high) -> None:  # type: ignore[no-untyped-def]
    code, rest = shape(name, a, 0.0)
    low, high = np.array([[low]]), np.array([[high]])
    below, low_at, above, high_at = kernels.activation_lines(code, low, high, *rest)
    assert below == 0 and above == 0 and low_at == -np.inf and high_at == np.inf
    least, most = kernels.activation_range(code, low, high, *rest)
    assert least == -np.inf and most == np.inf
    one, owner = np.ones((1, 1)), np.zeros(1, dtype=np.int64)
    args = (one, one, np.zeros(1), np.zeros((1, 1)), low, high, owner)
    assert kernels.activation_floor(code, *args, *rest)[0] == -np.inf
    args = (0 * one, 0 * one, np.zeros(1), np.zeros((1, 1)), low, high, owner)
    assert kernels.activation_floor(code, *args, *rest)[0] == 0.0


@settings(max_examples=60, deadline=None)
@given(seed=seeds, numbers=st.lists(st.sampled_from([math.nan, math.inf, -math.inf, 1.0, 0.0])))
def test_broken_numbers_give_no_floor(seed: int, numbers: list[float]) -> None:
    rng = np.random.default_rng(seed)
    code, rest = shape("Tanh" if seed % 2 else "Relu", 0.0, 0.0)
    args = [1.0, 0.5, 1.0, 0.1, -1.0, 1.0]
    args[int(rng.integers(6))] = float(rng.choice([math.nan, math.inf, -math.inf]))
    w, g, lam, c, low, high = (np.array([[x]]) for x in args)
    owner = np.zeros(1, dtype=np.int64)
    assert CPU.activation_floor(code, w, g, lam[0], c, low, high, owner, *rest)[0] == -np.inf


@pytest.mark.parametrize(
    "name", ["Sigmoid", "Tanh", "Softplus", "Softsign", "Gelu", "Erf", "Swish", "Mish"]
)
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_pieces_of_unknown_bend_give_bounds(name: str, seed: int) -> None:
    """All that sign 2 says is |σ″| ≤ 2, true of these everywhere."""
    rng = np.random.default_rng(seed)
    code, cut = ACTIVATIONS[name].code, rng.normal()
    a, b = PARAMETERS.get(name, (0.0, 0.0))
    pieces = np.array([(-np.inf, cut, 2.0), (cut, np.inf, 2.0)])
    with mpmath.workprec(200):
        for _ in range(10):
            low = rng.normal() * 3
            high = low + 10.0 ** rng.uniform(-13, 0.5)
            w, g, c = rng.normal(size=3) * 3
            lam = float(rng.choice([0.0, 1.0]))
            bound, _ = shapes.floor(code, w, g, lam, c, low, high, a, b, pieces)
            for z in map(mpf, samples(rng, low, high, cut)):
                cost = mpf(lam) / 2 * (z - mpf(c)) ** 2 - mpf(g) * z
                cost += mpf(w) * truth(name, z, a, b)
                slack = 2 * shapes.BEND * abs(w) * (high - low) ** 2
                assert mpf(bound) <= cost
                if high - low < 1e-9:
                    assert mpf(bound) >= cost - slack - 10 * (high - low) * (abs(w) + abs(g)) - 1e-9


@pytest.mark.parametrize("name,a,b", CASES)
@settings(max_examples=3, deadline=None)
@given(seed=seeds)
def test_twins_agree(name: str, a: float, b: float, seed: int) -> None:
    rng, n = np.random.default_rng(seed), 6
    code, rest = shape(name, a, b)
    low, high = (np.concatenate(x) for x in zip(*(boxes(rng, name, a, rest[2], n) for _ in "12")))
    owner = np.array([1, 0, 1])
    w, g = rng.standard_normal((2, 3, n)) * (rng.random((2, 3, n)) < 0.7)
    lam, c = rng.choice([0.0, 0.3, 5.0], 3), 0.5 * (low + high)
    for kernel, args in (
        ("activation_range", (low, high)),
        ("activation_lines", (low, high)),
        ("activation_floor", (w, g, lam, c, low, high, owner)),
    ):
        ours, theirs = (getattr(k, kernel)(code, *args, *rest) for k in (CPU, REFERENCE))
        for x, y in zip(ours, theirs):
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9 * np.abs(y).max())
