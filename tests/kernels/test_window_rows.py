"""Rows through window maxima: backends agree, and what they become bounds what they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import DTYPES, agree
from window_cases import pulled_cases, window_arguments

from examples import examples

BACKENDS = [name for name in available() if name != "reference"]
ALL = pytest.mark.parametrize("name", ["reference", *BACKENDS])
seeds = st.integers(0, 2**32 - 1)
#: Sums are in another order, in the precision of the rows.
CLOSE = {np.float64: (1e-12, 1e-12), np.float32: (1e-5, 1e-5)}


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=examples(60), deadline=None)
@given(seed=seeds)
def test_backends_agree(name: str, dtype: Any, seed: int) -> None:
    agree(backend(name), pulled_cases(seed, dtype), *CLOSE[dtype])


@ALL
@settings(max_examples=examples(60), deadline=None)
@given(seed=seeds)
def test_rows_are_bounded(name: str, seed: int) -> None:
    """c·δ_out ≥ out·δ + rest for any point of the boxes, and the mass is at least Σ|out|."""
    rng = np.random.default_rng(seed)
    low, high, point, value, table = window_arguments(rng, "none")
    taps, lines, _, _ = backend(name).window_lines(low, high, point, value, table)
    count, owner = 5, rng.integers(0, len(low), 5)
    shape = (low.shape[1], 1, len(table))
    rows = rng.standard_normal((count, *shape))
    out, rest, mass = backend(name).pull_windows(
        rows,
        owner,
        np.zeros((count, 2), dtype=np.int64),
        taps.reshape(-1, 3, *shape),
        lines.reshape(-1, 3, *shape),
        table,
        low.shape[2],
    )
    assert (mass >= np.abs(out).sum(axis=(1, 2)) * (1 - 1e-14)).all()
    for share in (0.0, 1.0, None, None, None):
        t = rng.random(low.shape) if share is None else share
        z = low + t * (high - low)
        entries = np.where(table >= 0, z[..., np.maximum(table, 0)], -np.inf)
        moved = (entries.max(axis=-1) - value)[owner]
        bound = (out * (z - point)[owner]).sum(axis=(1, 2)) + rest
        size = np.abs(rows).sum(axis=(1, 2, 3)) * np.abs(high - low).max()
        assert ((rows[:, :, 0] * moved).sum(axis=(1, 2)) >= bound - 1e-12 * size).all()


@ALL
def test_shared_entries_add_up(name: str) -> None:
    """Windows 0 and 1 both lie below in entry 1; that of window 1 above is in entry 2."""
    taps = np.array([[[[[1, 0]]], [[[0, 1]]], [[[0, 0]]]]])
    lines = np.array([[[[[-1.0, -2.0]]], [[[0.5, 0.25]]], [[[3.0, 4.0]]]]])
    rows = np.array([[[[2.0, 8.0]]], [[[2.0, -8.0]]], [[[0.0, 0.0]]], [[[np.nan, 0.0]]]])
    owner, origin = np.zeros(4, dtype=np.int64), np.zeros((4, 2), dtype=np.int64)
    table = np.array([[0, 1], [1, 2]])
    out, rest, mass = backend(name).pull_windows(rows, owner, origin, taps, lines, table, 3)
    assert out[:3, 0].tolist() == [[0, 10, 0], [0, 2, -2], [0, 0, 0]]
    assert rest[:3].tolist() == [-18.0, -34.0, 0.0] and mass[:3].tolist() == [10.0, 4.0, 0.0]
    assert np.isnan(out[3, 0, 0]) and np.isnan(rest[3]) and np.isnan(mass[3])


@ALL
def test_a_mean_is_shared_out(name: str) -> None:
    """Windows of entries 0, 1 and 1, 2 (and padding): the weights below, or above."""
    weights = np.array([[[[[[0.5, 0.25]]], [[[0.5, 0.75]]], [[[0, 0]]]]]])
    weights = np.concatenate((weights, 4 * weights), axis=1)
    constants = np.array([[[[[-1.0, -np.inf]]], [[[3.0, 4.0]]]]])
    rows = np.array([[[[2.0, 0.0]]], [[[2.0, -8.0]]], [[[0.0, 1.0]]], [[[np.nan, 0.0]]]])
    owner, origin = np.zeros(4, dtype=np.int64), np.zeros((4, 2), dtype=np.int64)
    table = np.array([[0, 1, -1], [1, 2, -1]])
    out, rest, mass = backend(name).pull_means(rows, owner, origin, weights, constants, table, 3)
    assert out[:3, 0].tolist() == [[1, 1, 0], [1, -7, -24], [0, 0.25, 0.75]]
    assert rest[:3].tolist() == [-2.0, -34.0, -np.inf] and mass[:3].tolist() == [2.0, 34.0, 1.0]
    assert np.isnan(out[3, 0, 0]) and np.isnan(rest[3]) and np.isnan(mass[3])
