"""Dual bounds on window maxima with given multipliers: twins agree, bounds hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import (
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
def test_backends_agree(name: str, seed: int) -> None:
    agree(backend(name), dual_maximum_cases(seed), 1e-11, 1e-11)
    agree(backend(name), dual_maximum_gradient_cases(seed), 1e-11, 1e-11)


def arguments(seed: int, level: float) -> tuple[Any, ...]:
    """Those of ``pull_dual_maximum`` without nans, at multipliers of a size."""
    _, args = next(dual_maximum_cases(3 * seed))
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
@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_search_found_is_found_again(name: str, seed: int) -> None:
    kernels = backend(name)
    for _, args in maximum_cases(3 * seed):
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
