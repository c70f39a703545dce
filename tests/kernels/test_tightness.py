"""The relaxations of the activations are no looser than they need be."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundcert.kernels import relax_reference, scalar, shapes
from exact_cases import (
    CPU,
    PARAMETERS,
    seeds,
    shape,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=200, deadline=None)
@given(seed=seeds)
def test_relu_floor_is_the_closed_form(seed: int) -> None:
    rng, F = np.random.default_rng(seed), Fraction
    low, high = map(float, np.sort(rng.normal(size=2) * 10.0 ** rng.uniform(-3, 3)))
    w, c = map(float, rng.normal(size=2) * 10.0 ** rng.uniform(-3, 3))
    g = float(w * rng.choice([1.0, 1 + 1e-15, rng.normal()]))
    lam = float(rng.choice([0.0, 1e-3, 1.0, 1e3]))
    pieces = shape("Relu", 0.0, 0.0)[1][2]
    bound, _, v = relax_reference.floor_one(scalar.RELU, w, g, lam, c, low, high, 0.0, 0.0, pieces)
    points = [F(low), F(high), F(0)]
    if lam > 0.0:
        points += [F(c) + F(g) / F(lam), F(c) + (F(g) - F(w)) / F(lam)]
    costs = [
        F(lam) / 2 * (z - F(c)) ** 2 + F(w) * max(z, F(0)) - F(g) * z
        for z in points
        if low <= z <= high
    ]
    reach = max(abs(low), abs(high))
    size = lam * (reach + abs(c)) ** 2 + (abs(w) + abs(g)) * reach
    assert F(bound) <= min(costs) <= F(bound) + F(1e-12 * size + 1e-90)
    assert 0.0 <= v <= max(high, 0.0)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, a=st.sampled_from([0.0, 0.1, -1.0, 2.0]))
def test_leaky_lines_are_the_closed_form(seed: int, a: float) -> None:
    rng = np.random.default_rng(seed)
    low, high = -rng.random((1, 9)) * 5, rng.random((1, 9)) * 5
    low[0, 0], high[0, 1], high[0, 2] = 0.0, 0.0, -low[0, 2] / 2
    code, rest = shape("PRelu", a, 0.0)
    code = scalar.RELU if a == 0.0 else code
    below, low_at, above, high_at = CPU.activation_lines(code, low, high, *rest)
    s = (high - a * low) / (high - low)
    secant, through = ((above, high_at), (below, low_at))[:: 1 if a <= 1 else -1]
    crossing = (low < 0) & (high > 0)
    np.testing.assert_allclose(secant[0][crossing], s[crossing], rtol=1e-12)
    np.testing.assert_allclose(secant[1][crossing], ((a - s) * low)[crossing], atol=1e-12)
    np.testing.assert_array_equal(through[0][crossing], np.where(high > -low, 1.0, a)[crossing])
    assert (through[1] == 0).all()
    sign = 1 if a <= 1 else -1
    for z, m in ((low, a), (high, 1.0)):
        for x, s, t in zip(*(part[crossing] for part in (z, *secant))):
            exact = Fraction(m) * Fraction(x)
            assert sign * (Fraction(s) * Fraction(x) + Fraction(t) - exact) >= 0
    for part, slope in ((low >= 0, 1.0), (high <= 0, a)):
        assert (below[part] == slope).all() and (above[part] == slope).all()
        assert (low_at[part] == 0).all() and (high_at[part] == 0).all()
    if a == 0.0:
        least, most = CPU.activation_range(code, low, high, *rest)
        assert (least == np.maximum(low, 0)).all() and (most == np.maximum(high, 0)).all()


@pytest.mark.parametrize(
    "name", ["Sigmoid", "Tanh", "Erf", "Softsign", "Gelu", "Swish", "Mish", "HardSwish", "Pow"]
)
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_lines_touch_the_function(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, _ = PARAMETERS.get(name, (0.0, 0.0))
    code, rest = shape(name, a, 0.0)
    middle, reach = rng.normal(size=(1, 6)) * 2, rng.random((1, 6)) * 3 + 1e-3
    low, high = middle - reach, middle + reach
    below, low_at, above, high_at = CPU.activation_lines(code, low, high, *rest)
    least, most = CPU.activation_range(code, low, high, *rest)
    value = np.vectorize(lambda x: shapes.value(code, x, a, 0.0))
    grid = low + (high - low) * np.linspace(0, 1, 20001)[:, None]
    v = value(grid)
    assert ((v - below * grid - low_at).min(axis=0) <= 1e-7).all()
    assert ((above * grid + high_at - v).min(axis=0) <= 1e-7).all()
    np.testing.assert_allclose(least[0], v.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(most[0], v.max(axis=0), atol=1e-6)


@pytest.mark.parametrize("name", ["Relu", "Abs", "Softplus", "Exp", "HardSwish", "Elu", "Clip"])
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_floor_is_tight_on_convex_pieces(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = PARAMETERS.get(name, (0.0, 0.0))
    code, rest = shape(name, a, b)
    for _ in range(10):
        low, high = np.sort(rng.normal(size=2) * 3)
        w, g, c = rng.random() + 0.1, rng.normal(), rng.normal()
        lam = float(rng.choice([0.0, 0.1, 10.0]))
        bound, z = shapes.floor(code, w, g, lam, c, low, high, a, b, rest[2])
        kinks = [z for z in rest[2][:, :2].ravel() if low < z < high]
        grid = np.concatenate([np.linspace(low, high, 4001), kinks])
        v = np.array([shapes.value(code, x, a, b) for x in grid])
        cost = 0.5 * lam * (grid - c) ** 2 + w * v - g * grid
        assert bound >= cost.min() - 1e-6 * (1 + np.abs(cost).max())
        at = 0.5 * lam * (z - c) ** 2 + w * shapes.value(code, z, a, b) - g * z
        assert at <= bound + 1e-9 * (1 + np.abs(cost).max())


@pytest.mark.parametrize("name", ["Relu", "Sigmoid", "Softplus", "Exp", "Gelu", "Swish", "Tanh"])
def test_gradients_are_finite_differences(name: str) -> None:
    rng, n = np.random.default_rng(3), 5
    code, rest = shape(name, *PARAMETERS.get(name, (0.0, 0.0)))
    low, high = -rng.random((2, n)) - 0.2, rng.random((2, n)) + 0.2
    if name in ("Sigmoid", "Tanh"):
        low, high = low - 1.3, low  # the convex part, for weights ≥ 0
    owner, c = np.array([0, 1, 1]), 0.5 * (low + high)
    w, g, lam = rng.random((3, n)) + 0.1, rng.normal(size=(3, n)) * 0.2, rng.random(3) + 0.5

    def rest_of(w, g, lam):  # type: ignore[no-untyped-def]
        return CPU.activation_floor(code, w, g, lam, c, low, high, owner, *rest)

    _, by_slope, by_weight, by_lam = rest_of(w, g, lam)
    h = 1e-6
    for i in range(n):
        e = np.eye(n)[i] * h
        change = (rest_of(w, g + e, lam)[0] - rest_of(w, g - e, lam)[0]) / (2 * h)
        np.testing.assert_allclose(change, by_slope[:, i], atol=2e-4)
        change = (rest_of(w + e, g, lam)[0] - rest_of(w - e, g, lam)[0]) / (2 * h)
        np.testing.assert_allclose(change, by_weight[:, i], atol=2e-4)
    change = (rest_of(w, g, lam + h)[0] - rest_of(w, g, lam - h)[0]) / (2 * h)
    np.testing.assert_allclose(change, by_lam, atol=2e-4)
