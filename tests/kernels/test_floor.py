"""The relaxations of the activations against exact arithmetic, which could refute them."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from boundcert.kernels import backend, relax_reference, scalar, shapes
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf

from boundcert.layers.activation_table import ACTIVATIONS

CPU, REFERENCE = backend("cpu"), backend("reference")
seeds = st.integers(0, 2**32 - 1)
DEFAULT = {"LeakyRelu": 0.3, "PRelu": -1.5, "Elu": 1.3, "Celu": 0.7, "Sqrt": 0.5, "Pow": 3.0}
PAIRS = {"HardSigmoid": (0.2, 0.5), "Clip": (-0.4, 0.9), "Selu": (1.6732632, 1.0507010)}
CASES = [(k, *PAIRS.get(k, (DEFAULT.get(k, 0.0), 0.0))) for k in ACTIVATIONS] + [
    *(("Pow", e, 0.0) for e in (0.0, 1.0, 2.0, 4.0, 7.0, -1.0, -2.0, 0.3, 1.5, -0.5)),
    *(("PRelu", a, 0.0) for a in (0.0, 1.0, 2.5)),
    *(("Elu", a, 0.0) for a in (-0.8, 1.0)),
    *(("HardSigmoid", a, b) for a, b in ((-0.7, 0.3), (30.0, -200.0), (0.0, 0.2))),
    *(("Clip", a, b) for a, b in ((-math.inf, 0.5), (0.0, math.inf), (0.25, 0.25))),
    ("Selu", -1.2, 0.9),
]
KINKED = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Clip", "HardSigmoid", "Abs", "HardSwish")


def truth(name: str, x: mpf, a: float, b: float) -> mpf:
    x, a, b = mpf(x), mpf(a), mpf(b)
    name = {"PRelu": "LeakyRelu", "Sqrt": "Pow"}.get(name, name)
    if name == "Gelu":
        return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2
    if name == "GeluTanh":
        t = mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)
        return x / (1 + mpmath.exp(-2 * t))
    return {
        "Relu": lambda: max(x, mpf(0)),
        "LeakyRelu": lambda: x if x > 0 else a * x,
        "Elu": lambda: x if x > 0 else a * mpmath.expm1(x),
        "Selu": lambda: b * (x if x > 0 else a * mpmath.expm1(x)),
        "Celu": lambda: x if x > 0 else a * mpmath.expm1(x / a),
        "Sigmoid": lambda: 1 / (1 + mpmath.exp(-x)),
        "HardSigmoid": lambda: min(max(a * x + b, mpf(0)), mpf(1)),
        "Tanh": lambda: mpmath.tanh(x),
        "Softplus": lambda: max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x))),
        "Softsign": lambda: x / (1 + abs(x)),
        "Clip": lambda: min(max(x, a), b),
        "Abs": lambda: abs(x),
        "Pow": lambda: x ** (int(a) if a == int(a) else a),
        "Erf": lambda: mpmath.erf(x),
        "Exp": lambda: mpmath.exp(x),
        "HardSwish": lambda: x * min(max(x / 6 + mpf(1) / 2, mpf(0)), mpf(1)),
        "Reciprocal": lambda: 1 / x,
        "Log": lambda: mpmath.log(x),
    }[name]()


def shape(name: str, a: float, b: float):  # type: ignore[no-untyped-def]
    rule = ACTIVATIONS[name]
    pieces = np.array(rule.pieces(a, b), dtype=np.float64).reshape(-1, 3)
    return rule.code, (np.array([a]), np.array([b]), pieces)


def positive(name: str, a: float) -> bool:
    return name in ("Log", "Reciprocal") or (name in ("Pow", "Sqrt") and (a < 0 or a % 1 != 0))


def boxes(rng: np.random.Generator, name: str, a: float, pieces: np.ndarray, n: int):  # type: ignore[no-untyped-def]
    """Random and hostile boxes inside the domain."""
    ends = pieces[:, :2][np.isfinite(pieces[:, :2])]
    special = np.concatenate(
        [ends, ends + 1e-12, ends - 1e-12, [0.0, 1.0, -2.0, 40.0, -40.0, 300.0]]
    )
    middle = np.where(
        rng.random(n) < 0.5,
        rng.choice(special, n),
        rng.standard_normal(n) * 10.0 ** rng.uniform(-2, 1.5, n),
    )
    width = rng.choice([0.0, 1e-300, 1e-12, 1e-6, 0.1, 1.0, 3.0, 10.0, 100.0, 1e6], n)
    share = rng.choice([0.0, 0.5, 1.0, 0.3, 1e-9], n)
    low, high = middle - share * width, middle + (1 - share) * width
    if positive(name, a):
        floor = 0.0 if a > 0 else rng.choice([1e-6, 0.1])
        low, high = np.maximum(np.abs(low), floor), np.maximum(np.abs(high), floor)
        if name in ("Pow", "Reciprocal") and a == int(a) and rng.random() < 0.5:
            low, high = -high, -low
    if name == "Exp" or (name == "Pow" and abs(a) > 4):
        low, high = np.clip(low, -700, 600), np.clip(high, -700, 600)
    return np.minimum(low, high)[None], np.maximum(low, high)[None]


def samples(rng: np.random.Generator, low: float, high: float, *points: float) -> list[float]:
    grid = [low + (high - low) * t for t in (0.01, 0.25, 0.5, 0.8, *rng.random(4))]
    return [z for z in (low, high, *grid, *points) if low <= z <= high]


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


@pytest.mark.parametrize("name,a,b", CASES)
def test_pieces_bend_as_they_say(name: str, a: float, b: float) -> None:
    rng = np.random.default_rng(0)
    pieces = ACTIVATIONS[name].pieces(a, b)
    assert all(p[1] == q[0] for p, q in itertools.pairwise(pieces))
    assert all(start < end for start, end, _ in pieces)
    assert pieces[-1][1] == math.inf and pieces[0][0] in (-math.inf, 0.0)
    with mpmath.workprec(300):
        for start, end, sign in pieces:
            start, end = max(start, -40.0), min(end, 40.0)
            near = np.concatenate([rng.random(20), 10.0 ** rng.uniform(-12, 0, 20)])
            near = np.clip(np.concatenate([near, 1 - near, [0.0, 1.0, 0.5]]), 0.0, 1.0)
            points = [mpf(start) + (mpf(end) - mpf(start)) * mpf(t) for t in rng.permutation(near)]
            for x, y in [*itertools.pairwise(points), *itertools.pairwise(sorted(points))]:
                if x == y or (name in ("Log", "Pow", "Reciprocal") and 0 in (x, y)):
                    continue
                f = [truth(name, z, a, b) for z in (x, (x + y) / 2, y)]
                bend = f[0] + f[2] - 2 * f[1]
                noise = mpf(2) ** -250 * sum(map(abs, f))
                assert bend >= -noise if sign == 1 else True
                assert bend <= noise if sign == -1 else True
                assert abs(bend) <= noise if sign == 0 else True
                assert abs(bend) <= shapes.BEND * (x - y) ** 2 / 4 if sign == 2 else True


@pytest.mark.parametrize("name,a,b", CASES)
def test_values_and_slopes_are_as_accurate_as_claimed(name: str, a: float, b: float) -> None:
    rng = np.random.default_rng(1)
    code = ACTIVATIONS[name].code
    points = rng.standard_normal(120) * 10.0 ** rng.uniform(-4, 2, 120)
    points = np.abs(points) if positive(name, a) else points
    with mpmath.workprec(200):
        for x in map(float, points):
            v, m = shapes.value(code, x, a, b), shapes.inner_slope(code, x, a, b)
            exact = truth(name, mpf(x), a, b)
            error = abs(mpf(v) - exact)
            assert error <= shapes.value_error(code, x, v, a, b) + 1e-300
            if name != "HardSigmoid":
                assert error <= 16 * 2.0**-53 * (abs(x) + abs(v)) + 1e-300
            slope = mpmath.diff(lambda z: truth(name, z, a, b), mpf(x), h=mpf(2) ** -70)
            fuzz = mpf(2) ** -60 * (1 + abs(slope))
            if name in KINKED:
                # a difference across the kink is no derivative
                assert min(abs(x - e) for p in ACTIVATIONS[name].pieces(a, b) for e in p[:2]) > 1e-9
            assert abs(mpf(m) - slope) <= shapes.slope_error(code, x, m, a, b) + fuzz


@pytest.mark.parametrize(
    "name,a,low,high",
    [("Log", 0.0, -1.0, 1.0), ("Log", 0.0, 0.0, 1.0), ("Sqrt", 0.5, -1e-9, 1.0)]
    + [("Reciprocal", 0.0, low, high) for low, high in ((-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0))]
    + [("Pow", e, -1.0, 1.0) for e in (-2.0, -1.0, 0.5, 1.5, math.inf)]
    + [("Tanh", 0.0, math.nan, 1.0), ("Tanh", 0.0, 1.0, math.nan), ("Gelu", 0.0, 0.0, math.inf)]
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


@settings(max_examples=200, deadline=None)
@given(seed=seeds, here=st.booleans(), e=st.sampled_from([0.0, 1e-9, 1.0]))
def test_parabolas_over_any_support(seed: int, here: bool, e: float) -> None:
    """However wrong the point of support, its slope and the error of that."""
    rng = np.random.default_rng(seed)
    low, high = map(float, np.sort(rng.normal(size=2) * 10.0 ** rng.uniform(-3, 3)))
    m, c, v = map(float, rng.normal(size=3) * 10.0 ** rng.uniform(-3, 3, 3))
    q, z = map(float, np.clip(low + (high - low) * rng.random(2), low, high))
    lam = float(rng.choice([0.0, 1e-6, 1.0, 1e4]))
    g = float(rng.choice([m + lam * (z - c), rng.normal()]))
    off = float(rng.choice([0.0, 1e-3]))
    bound, _ = shapes.quadratic(lam, c, g, low, high, (m, e, q, v, off), here)
    F = Fraction

    def cost(z: Fraction) -> Fraction:
        line = F(v) + F(m) * (z - F(q)) - F(g) * z - F(off)
        return F(lam) / 2 * (z - F(c)) ** 2 + line - F(e) * abs(z - F(q))

    points = [F(low), F(high), F(q)]
    if lam > 0.0:
        points += [F(c) - (F(m) + sign * F(e) - F(g)) / F(lam) for sign in (-1, 1)]
    least = min(cost(z) for z in points if low <= z <= high)
    assert F(bound) <= least
    if e == 0.0 and not here:
        reach = max(abs(low), abs(high), abs(c), abs(q))
        size = lam * reach**2 + (abs(m) + abs(g)) * reach + abs(v)
        assert F(bound) >= least - F(1e-13 * size + 1e-90)


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "Softplus", "Softsign", "Gelu", "Erf"])
@settings(max_examples=6, deadline=None)
@given(seed=seeds)
def test_pieces_of_unknown_bend_give_bounds(name: str, seed: int) -> None:
    """All that sign 2 says is |σ″| ≤ 2, true of these everywhere."""
    rng = np.random.default_rng(seed)
    code, cut = ACTIVATIONS[name].code, rng.normal()
    pieces = np.array([(-np.inf, cut, 2.0), (cut, np.inf, 2.0)])
    with mpmath.workprec(200):
        for _ in range(10):
            low = rng.normal() * 3
            high = low + 10.0 ** rng.uniform(-13, 0.5)
            w, g, c = rng.normal(size=3) * 3
            lam = float(rng.choice([0.0, 1.0]))
            bound, _ = shapes.floor(code, w, g, lam, c, low, high, 0.0, 0.0, pieces)
            for z in map(mpf, samples(rng, low, high, cut)):
                cost = mpf(lam) / 2 * (z - mpf(c)) ** 2 - mpf(g) * z
                cost += mpf(w) * truth(name, z, 0.0, 0.0)
                slack = 2 * shapes.BEND * abs(w) * (high - low) ** 2
                assert mpf(bound) <= cost
                if high - low < 1e-9:
                    assert mpf(bound) >= cost - slack - 10 * (high - low) * (abs(w) + abs(g)) - 1e-9


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


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "Erf", "Softsign", "Gelu", "HardSwish", "Pow"])
@settings(max_examples=5, deadline=None)
@given(seed=seeds)
def test_lines_touch_the_function(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = DEFAULT.get(name, 0.0)
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
    a, b = PAIRS.get(name, (DEFAULT.get(name, 0.0), 0.0))
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


@pytest.mark.parametrize("name", ["Relu", "Sigmoid", "Softplus", "Exp", "Gelu", "Tanh"])
def test_gradients_are_finite_differences(name: str) -> None:
    rng, n = np.random.default_rng(3), 5
    code, rest = shape(name, 0.0, 0.0)
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
