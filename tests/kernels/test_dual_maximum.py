"""Dual bounds on window maxima with given multipliers: twins agree, bounds hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
    BALLS,
    DTYPES,
    SEEDS,
    agree,
    dual_maximum_cases,
    dual_maximum_gradient_cases,
    maximum_cases,
)
from row_cases import seeds

from examples import examples

BACKENDS = [name for name in available() if name != "reference"]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_backends_agree(name: str, seed: int, dtype: type) -> None:
    """In float32 as closely: an entry's arithmetic is the same, in double, and rounded once."""
    agree(backend(name), maximum_cases(seed, dtype), *BALLS)
    agree(backend(name), dual_maximum_cases(seed, dtype), *BALLS)
    agree(backend(name), dual_maximum_gradient_cases(seed, dtype), *BALLS)


def arguments(seed: int, level: float) -> tuple[Any, ...]:
    """Those of ``pull_dual_maximum`` without nans, at multipliers of a size."""
    _, args = next(dual_maximum_cases(3 * seed, np.float64))
    return (*args[:3], np.full(len(args[0]), level), *args[4:])


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, level=st.sampled_from([1e-3, 0.1, 1.0, 30.0]))
def test_bounds_hold(name: str, seed: int, level: float) -> None:
    """c·δ_out ≥ out·δ + rest for δ in box and ball, whatever the multiplier."""
    args = arguments(seed, level)
    rows, owner, origin, _, _, lines, windows, square = args
    # lines above that hold: 0·δ + the highest end of the window
    lines = lines.copy()
    lines[:, 1] = 0.0
    lines[:, 2] = (windows[..., 2] - windows[..., 0]).max(axis=-1)
    tap, out, rest, mass = backend(name).pull_dual_maximum(*args[:5], lines, windows, square)
    assert (mass >= np.abs(out).sum(axis=(1, 2, 3)) * (1 - 1e-12)).all()
    rng = np.random.default_rng(seed)
    for _ in range(20):
        share = rng.random(windows.shape[:-1])
        delta = windows[..., 1] + share * (windows[..., 2] - windows[..., 1])
        delta *= rng.random(delta.shape) < rng.random()
        length = np.sqrt((delta.reshape(len(delta), -1) ** 2).sum(axis=1))
        shrink = np.minimum(1.0, np.sqrt(square) / np.maximum(length, 1e-300))
        delta *= shrink[:, None, None, None, None]
        moved = (delta - windows[..., 0]).max(axis=-1)
        for r in range(len(rows)):
            total = 0.0
            for k, y, x in np.ndindex(rows.shape[1:]):
                v, u = origin[r, 0] + y, origin[r, 1] + x
                if 0 <= v < windows.shape[2] and 0 <= u < windows.shape[3]:
                    at = (owner[r], k, v, u)
                    total += rows[r, k, y, x] * moved[at]
                    total -= out[r, k, y, x] * delta[(*at, tap[r, k, y, x])]
            assert total >= rest[r] - 1e-9


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, unit=st.sampled_from([1e-6, 1e-3, 1.0, 1e3]))
def test_rounding_is_paid_for(name: str, seed: int, unit: float) -> None:
    """In exact arithmetic where the bound is attained: without the loss a third would fail.

    Windows of two entries of which the second follows the peak closely, at the deviations that
    minimise the floor, in a ball that just holds them.
    """
    rng, count = np.random.default_rng(seed), 4
    c = -np.abs(rng.standard_normal(count)) * unit * 10.0 ** rng.integers(-2, 3, count)
    lam = abs(rng.standard_normal()) + 1e-3
    best = -c / lam
    gap = best * rng.choice([0.0, 0.1, 0.9], count)
    far = best * rng.choice([0.9, 1.0, 3.0], (2, count))
    delta = np.stack([-np.minimum(best, far[0]), np.minimum(best, far[1])], axis=-1)
    square = sum(Fraction(x) ** 2 for x in delta.ravel().tolist())
    budget = float(square)
    windows = np.stack((np.stack((0.0 * gap, gap), axis=-1), -far.T, far.T), axis=-1)
    lines = np.zeros((1, 3, 1, 1, count))
    lines[:, 2] = 10.0 * best  # which no window takes
    place = np.zeros(1, dtype=np.int64), np.zeros((1, 2), dtype=np.int64)
    found = backend(name).pull_dual_maximum(
        c.reshape(1, 1, 1, -1),
        *place,
        np.array([lam]),
        np.zeros((1, 3, 1, 1, count), dtype=np.int64),
        lines,
        windows.reshape(1, 1, 1, count, 2, 3),
        np.array([budget if budget >= square else np.nextafter(budget, np.inf)]),
    )
    out, rest = found[1].ravel().tolist(), Fraction(float(found[2][0]))
    for w, one in enumerate(c.tolist()):
        peak, other = (Fraction(x) for x in delta[w].tolist())
        moved = max(peak, other - Fraction(float(gap[w])))
        rest += Fraction(out[w]) * peak - Fraction(one) * moved
    assert rest <= 0


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_search_found_is_found_again(name: str, seed: int) -> None:
    kernels = backend(name)
    for _, args in maximum_cases(3 * seed, np.float64):
        *found, lam = kernels.pull_maximum(*args)
        again = kernels.pull_dual_maximum(*args[:3], lam, *args[3:])
        for one, other in zip(found, again):
            np.testing.assert_allclose(one[lam > 0], other[lam > 0], rtol=1e-9, atol=1e-9)
        assert np.isneginf(again[2][lam == 0]).all()


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(20), deadline=None)
@given(seed=seeds)
def test_the_gradient_is_that_of_the_bound(name: str, seed: int) -> None:
    kernels, rng = backend(name), np.random.default_rng(seed)
    rows, owner, origin, lam, *rest_of = arguments(seed, 0.7)
    back, weight = rng.standard_normal(rows.shape), rng.standard_normal(len(rows))

    def value(rows: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tap, out, rest, _ = kernels.pull_dual_maximum(rows, owner, origin, lam, *rest_of)
        return (out * back).sum(axis=(1, 2, 3)) + rest * weight, tap

    move, lift = rng.standard_normal(rows.shape) * rows, rng.standard_normal(len(rows))
    found = kernels.dual_maximum_gradient(rows, owner, origin, lam, *rest_of, back, weight)
    step = 1e-7
    (ahead, tap), (behind, other) = (
        value(rows + sign * step * move, lam + sign * step * lift) for sign in (1, -1)
    )
    # where a window changes its mind in between there is no gradient
    smooth = (tap == other).all(axis=(1, 2, 3))
    exact = (found[0] * move).sum(axis=(1, 2, 3)) + found[1] * lift
    gone = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(gone[smooth], exact[smooth], rtol=1e-4, atol=1e-4)
