"""Rows over a ball that is cut with a box: the split against brute force and linear programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from row_cases import PLANE, same, seeds, situation

Array = Any
BACKENDS = [name for name in available() if name != "reference"]
NORMS = (1.0, 2.0, np.inf)
scales = st.sampled_from([1e-150, 1e-6, 1.0, 1e6, 1e150])


def rooms(rng: np.random.Generator, samples: int = 3) -> tuple[Array, Array]:
    """Of samples in a box, some of whose entries lie on its sides."""
    place = np.clip(rng.uniform(-0.5, 1.5, (samples, *PLANE)), 0.0, 1.0)
    return place, 1.0 - place


def line(rng: np.random.Generator, n: int, scale: float = 1.0) -> tuple[Array, ...]:
    """One row over n entries: rows, owner, origin, below, above."""
    c = rng.standard_normal((1, 1, 1, n)) * 10.0 ** rng.uniform(-3, 0, n) * scale
    place = np.clip(rng.uniform(-0.5, 1.5, (1, 1, 1, n)), 0.0, 1.0)
    zero = np.zeros(1, dtype=np.int64)
    return c, zero, np.zeros((1, 2), dtype=np.int64), place, 1.0 - place


def most(c: Array, r: Array, eps: float, p: float) -> float:
    """max of Σ c·m over 0 ≤ m ≤ r, ‖m‖_p ≤ ε, by a search of its own."""
    if p == np.inf:
        return float((c * np.minimum(r, eps)).sum())
    if p == 1.0:
        left, total = eps, 0.0
        for i in np.argsort(-c):
            m = min(r[i], left)
            left, total = left - m, total + c[i] * m
        return total
    if np.sqrt((r**2).sum()) <= eps:
        return float((c * r).sum())
    if eps == 0.0:
        return 0.0
    low, high = 1e-12, 1e12
    for _ in range(200):
        step = np.sqrt(low * high)
        low, high = (step, high) if np.linalg.norm(np.minimum(step * c, r)) < eps else (low, step)
    return float((c * np.minimum(low * c, r)).sum())


@pytest.mark.parametrize("name", available())
@settings(max_examples=60, deadline=None)
@given(seed=seeds, share=st.sampled_from([0.0, 1e-3, 0.1, 0.5, 1.0, 3.0, 1e3]))
def test_the_split_is_the_best_one_and_holds_at_every_radius(
    name: str, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    row, owner, origin, below, above = line(rng, int(rng.integers(1, 12)))
    c, r = np.abs(row).ravel(), np.where(row > 0, below, above).ravel()
    for p in NORMS:
        eps = share * (np.linalg.norm(r, p) if rng.random() < 0.5 else 1.0)
        loss, slope, _ = backend(name).clipped_norm(
            row, owner, origin, below, above, np.array([eps]), p
        )
        bound = float(loss[0] + eps * slope[0])
        assert bound == pytest.approx(most(c, r, eps, p), rel=1e-8, abs=1e-11)
        for s in (0.0, 0.3 * eps, 0.9 * eps, 1.1 * eps, 4 * eps, 1.0):
            assert loss[0] + s * slope[0] >= most(c, r, s, p) * (1 - 1e-9) - 1e-12


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("p", NORMS)
def test_a_box_that_does_not_cut_leaves_the_dual_norm(name: str, p: float) -> None:
    rng = np.random.default_rng(0)
    row, owner, origin, below, _ = line(rng, 20)
    wide = np.full_like(below, 10.0)
    found = backend(name).clipped_norm(row, owner, origin, wide, wide, np.array([0.5]), p)
    dual = {1.0: np.inf, 2.0: 2.0, np.inf: 1.0}[p]
    assert found[0][0] == pytest.approx(0.0, abs=1e-15)
    assert found[1][0] == pytest.approx(np.linalg.norm(row.ravel(), dual), rel=1e-12)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=60, deadline=None)
@given(seed=seeds, share=st.sampled_from([0.0, 1e-6, 0.1, 0.5, 2.0, 50.0]))
def test_backends_agree(name: str, dtype: type, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows, owner, origin, _ = situation(rng, dtype)
    below, above = rooms(rng)
    eps = share * rng.random(len(rows))
    for p in NORMS:
        args = (rows, owner, origin, below, above, eps, p)
        ours, theirs = (backend(k).clipped_norm(*args) for k in (name, "reference"))
        # where two splits are as good, either will do
        same(ours[0] + eps * ours[1], theirs[0] + eps * theirs[1])


@pytest.mark.parametrize("name", available())
@settings(max_examples=40, deadline=None)
@given(seed=seeds, size=scales, wide=scales, near=scales)
def test_no_scale_breaks_a_split(
    name: str, seed: int, size: float, wide: float, near: float
) -> None:
    """Whatever overflows on the way, u + v is |c| and the bound is one."""
    rng = np.random.default_rng(seed)
    row, owner, origin, below, above = line(rng, 7, size)
    below, above = below * wide, above * wide
    c, r = np.abs(row).ravel(), np.where(row > 0, below, above).ravel()
    for p in NORMS:
        args = (row, owner, origin, below, above, np.array([near]), p)
        loss, slope, _ = (float(x[0]) for x in backend(name).clipped_norm(*args))
        m = np.minimum(rng.random(7) * r, near / 7)
        with np.errstate(over="ignore"):
            assert not loss + slope * near < (c * m).sum() * (1 - 1e-12)


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_what_is_no_number_proves_nothing(name: str, p: float, number: float, place: float) -> None:
    rng = np.random.default_rng(1)
    row, owner, origin, below, above = line(rng, 5)
    row[0, 0, 0, 2], below[0, 0, 0, 2], above[0, 0, 0, 2] = number, place, 1 - place
    for eps in (0.0, 0.3, 10.0):
        found = backend(name).clipped_norm(row, owner, origin, below, above, np.array([eps]), p)
        assert not np.isfinite(found[0][0])
    row[0, 0, 0, 2] = 1.0
    for eps in (np.nan, np.inf):
        loss, slope, _ = (
            float(x[0])
            for x in backend(name).clipped_norm(
                row, owner, origin, below, above, np.array([eps]), p
            )
        )
        c, r = np.abs(row).ravel(), np.where(row > 0, below, above).ravel()
        assert loss + 0.3 * slope >= most(c, r, 0.3, p) * (1 - 1e-9)
