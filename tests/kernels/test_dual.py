"""Dual bounds with given slopes and multipliers: twins agree, bounds hold, gradients are theirs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import BALLS, DTYPES, SEEDS, agree, dual_cases, dual_gradient_cases
from row_cases import seeds

from examples import examples

BACKENDS = [name for name in available() if name != "reference"]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_backends_agree(name: str, seed: int, dtype: type) -> None:
    """In float32 as closely: an entry's arithmetic is the same, in double, and rounded once."""
    agree(backend(name), dual_cases(seed, dtype), *BALLS)
    agree(backend(name), dual_gradient_cases(seed, dtype), *BALLS)


def arguments(seed: int, level: float, dtype: type = np.float64) -> tuple[Any, ...]:
    """Those of ``pull_dual`` without nans, at multipliers of a size."""
    for _, args in dual_cases(3 * seed, dtype):
        rows, owner, origin, mix, lam, table, square = args
        return rows, owner, origin, np.nan_to_num(mix), np.full_like(lam, level), table, square
    raise AssertionError


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, level=st.sampled_from([1e-4, 0.1, 1.0, 30.0]), dtype=st.sampled_from(DTYPES))
def test_bounds_hold(name: str, seed: int, level: float, dtype: type) -> None:
    """c·δ_out ≥ out·δ + rest for δ in box and ball, whatever the slopes and the multiplier.

    Straight entries are in no ball. In float32 only their slopes may cost what rounding them does:
    those of the others are rounded before the floor is found.
    """
    args = arguments(seed, level, dtype)
    rows, owner, origin, _, _, table, square = args
    out, rest, mass = backend(name).pull_dual(*args)
    rows, out = rows.astype(np.float64), out.astype(np.float64)
    assert (mass >= np.abs(out).sum(axis=(1, 2, 3)) * (1 - 1e-12)).all()
    rng = np.random.default_rng(seed)
    for trial in range(20):
        share = rng.random(table[:, 0].shape)
        delta = table[:, 0] + (share if trial % 3 else share.round()) * (table[:, 1] - table[:, 0])
        straight = table[:, 11] == table[:, 13]
        length = np.sqrt(np.where(straight, 0.0, delta**2).sum(axis=(1, 2, 3)))
        share = np.minimum(1.0, np.sqrt(square) / np.maximum(length, 1e-300))
        delta = np.where(straight, delta, delta * share[:, None, None, None])
        left = delta <= table[:, 2]
        one, other, below, above = (table[:, k] * delta + table[:, k + 1] for k in (3, 5, 11, 13))
        # a straight entry may be anywhere between its lines
        between = below + rng.random(below.shape).round() * (above - below)
        moved = np.where(straight, between, np.where(left, one, other))
        for r in range(len(rows)):
            total, room = 0.0, 1e-10
            for k, y, x in np.ndindex(rows.shape[1:]):
                v, u = origin[r, 0] + y, origin[r, 1] + x
                if 0 <= v < table.shape[3] and 0 <= u < table.shape[4]:
                    at = (owner[r], k, v, u)
                    part = out[r, k, y, x] * delta[at]
                    total += rows[r, k, y, x] * moved[at] - part
                    room += straight[at] * abs(part) * np.finfo(dtype).eps
            assert total >= rest[r] - room


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_the_search_of_pull_ball_found_is_found_again(name: str, seed: int) -> None:
    """With its multiplier and its slopes the bound is the same."""
    kernels = backend(name)
    rows, owner, origin, _, _, table, square = arguments(seed, 1.0)
    out, rest, _, lam = kernels.pull_ball(rows, owner, origin, table, square)
    with np.errstate(all="ignore"):
        slope = np.nan_to_num(out / rows)
    # the two slopes of ball_cases' functions are the same everywhere
    ends = np.sort([table[0, 3].flat[0], table[0, 5].flat[0]])
    mix = 2 * (slope - ends[0]) / (ends[1] - ends[0])
    again = kernels.pull_dual(rows, owner, origin, mix, lam, table, square)[1]
    np.testing.assert_allclose(again[lam > 0], rest[lam > 0], rtol=1e-9, atol=1e-9)
    assert np.isneginf(again[lam == 0]).all()


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(20), deadline=None)
@given(seed=seeds)
def test_the_gradient_is_that_of_the_bound(name: str, seed: int) -> None:
    kernels, rng = backend(name), np.random.default_rng(seed)
    rows, owner, origin, mix, lam, table, square = arguments(seed, 0.7)
    mix = rng.uniform(0.1, 1.9, mix.shape)
    back, weight = rng.standard_normal(rows.shape), rng.standard_normal(len(rows))

    def value(rows: np.ndarray, mix: np.ndarray, lam: np.ndarray) -> np.ndarray:
        out, rest, _ = kernels.pull_dual(rows, owner, origin, mix, lam, table, square)
        return (out * back).sum(axis=(1, 2, 3)) + rest * weight

    move, turn = rng.standard_normal(rows.shape) * rows, rng.standard_normal(rows.shape)
    lift = rng.standard_normal(len(rows))
    found = kernels.dual_gradient(rows, owner, origin, mix, lam, table, square, back, weight)
    step = 1e-7
    ends = [
        value(rows + sign * step * move, mix + sign * step * turn, lam + sign * step * lift)
        for sign in (1, -1)
    ]
    exact = (found[0] * move + found[1] * turn).sum(axis=(1, 2, 3)) + found[2] * lift
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("level", [0.3, 3.0])
def test_the_bound_is_attained_at_its_minimiser(name: str, seed: int, level: float) -> None:
    """Where the ball is as large as the minimiser is long: less would be loose, more untrue."""
    kernels = backend(name)
    rows, owner, origin, mix, lam, table, _ = arguments(seed, level)
    given = (rows, owner, origin, mix, lam, table)
    none, ones = np.zeros_like(rows), np.ones(len(rows))
    by_mix = kernels.dual_gradient(*given, np.zeros(3), none, ones)[1]
    gain = 0.5 * abs(table[0, 3].flat[0] - table[0, 5].flat[0])
    with np.errstate(all="ignore"):
        delta = np.nan_to_num(-by_mix / (rows * gain))
    for r in range(len(rows)):
        out, rest, _ = kernels.pull_dual(*given, np.full(3, (delta[r] ** 2).sum()))
        total, size = 0.0, 1.0
        for k, y, x in np.ndindex(rows.shape[1:]):
            v, u = origin[r, 0] + y, origin[r, 1] + x
            if 0 <= v < table.shape[3] and 0 <= u < table.shape[4]:
                e, d, c = table[owner[r], :, k, v, u], delta[r, k, y, x], rows[r, k, y, x]
                side = 3 if d <= e[2] else 5
                side = 11 if e[11] == e[13] and e[12] == e[14] else side
                total += c * (e[side] * d + e[side + 1]) - out[r, k, y, x] * d
                size += abs(c) * (1 + abs(d))
        assert abs(total - rest[r]) <= 1e-9 * size
