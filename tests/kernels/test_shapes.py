"""What the bounds of activations rest on: pieces, errors of values and slopes, parabolas."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from boundcert.kernels import shapes
from exact_cases import (
    CASES,
    KINKED,
    positive,
    seeds,
    truth,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf

from boundcert.layers.activation_table import ACTIVATIONS


@pytest.mark.parametrize("name,a,b", CASES)
def test_pieces_bend_as_they_say(name: str, a: float, b: float) -> None:
    rng = np.random.default_rng(0)
    pieces = ACTIVATIONS[name].pieces(a, b)
    assert all(p[1] == q[0] for p, q in itertools.pairwise(pieces))
    assert all(start < end for start, end, _ in pieces)
    assert pieces[-1][1] == math.inf and pieces[0][0] in (-math.inf, 0.0)
    far = 40.0 / min(a, 1.0) if name in ("Gelu", "Swish") else 40.0
    with mpmath.workprec(300):
        for start, end, sign in pieces:
            start, end = max(start, -far), min(end, far)
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
