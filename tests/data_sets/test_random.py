"""Random inputs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boundcert.data import parse_random, random_inputs
from boundcert.errors import RefusedInput, UsageError

BOUND = st.floats(-1e6, 1e6)


@given(BOUND, BOUND, st.integers(0, 99))
def test_samples_stay_inside_after_rounding(a: float, b: float, seed: int) -> None:
    low, high = min(a, b), max(a, b) + 1.0
    data = random_inputs((2, 3), 5, low, high, seed)
    assert data.x.shape == (5, 2, 3) and data.x.dtype == np.float32 and data.y is None
    assert (data.x.astype(np.float64) >= low).all() and (data.x.astype(np.float64) <= high).all()


def test_seed_and_arrays() -> None:
    low, high = np.array([0.0, 10.0, -5.0]), np.array([1.0, 20.0, -5.0])
    x = random_inputs((3,), 50, low, high, seed=1).x
    assert (x >= low).all() and (x <= high).all() and x[:, 1].std() > 1
    np.testing.assert_array_equal(x, random_inputs((3,), 50, low, high, seed=1).x)
    assert (x != random_inputs((3,), 50, low, high, seed=2).x).any()


@pytest.mark.parametrize(
    ("shape", "n", "low", "high"),
    (
        ((2,), 0, 0, 1),
        ((0,), 1, 0, 1),
        ((2,), 1, 1, 0),
        ((2,), 1, np.nan, 1),
        ((2,), 1, 0, np.inf),
        ((2,), 1, np.zeros(3), 1),
        ((2,), 1, 0.1, 0.1),
    ),
)
def test_wrong_requests(shape: tuple[int, ...], n: int, low: object, high: object) -> None:
    with pytest.raises(UsageError):
        random_inputs(shape, n, low, high)  # type: ignore[arg-type]


def test_absurd_size() -> None:
    with pytest.raises(RefusedInput, match="at most"):
        random_inputs((1000, 1000), 10**6)


def test_parse() -> None:
    assert parse_random("random:7") == (7, 0.0, 1.0)
    assert parse_random("random:7:-1:2.5") == (7, -1.0, 2.5)
    assert parse_random("mnist") is None
    for wrong in ("random", "random:", "random:0", "random:1:2", "random:1:2:1", "random:1:0:nan"):
        with pytest.raises(UsageError, match="random:N"):
            parse_random(wrong)
