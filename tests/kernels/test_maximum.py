"""Window maxima over a ball: backends agree, and bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from boundcert.kernels import available, backend
from boundcert.kernels.maximum_reference import PEAK
from hypothesis import given, settings
from hypothesis import strategies as st
from row_cases import PLANE, same, seeds, situation

from examples import examples

BACKENDS = [name for name in available() if name != "reference"]


def windows(rng: np.random.Generator, samples: int, entries: int):  # type: ignore[no-untyped-def]
    """Entries of windows at the sample, boxes about them, and what the kernel takes."""
    shape = (samples, *PLANE, entries)
    z, low, high = (rng.standard_normal(shape) for _ in range(3))
    low, high = -np.abs(low), np.abs(high)
    value = z.max(axis=-1)
    least, most = (z + low).argmax(axis=-1), (z + high).argmax(axis=-1)
    taps = np.stack([least, most, z.argmax(axis=-1)], axis=1)
    bottom = np.take_along_axis(z, least[..., None], -1)[..., 0] - value
    top = (z + high).max(axis=-1) - value
    lines = np.stack([bottom, np.zeros_like(value), top], axis=1)
    return z, low, high, taps, lines, np.stack((value[..., None] - z, low, high), axis=-1)


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, entries=st.integers(1, 5), share=st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_maxima_over_a_ball_hold(name: str, seed: int, entries: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows, owner, origin, _ = situation(rng)
    z, low, high, taps, lines, boxed = windows(rng, 3, entries)
    square = rng.uniform(0.1, 1.0, 3) * share
    arrays = (rows, owner, origin, taps, lines, boxed, square)
    found = backend(name).pull_maximum(*arrays)
    same(found, backend("reference").pull_maximum(*arrays))
    tap, out, rest, _, _ = found
    for r, s in enumerate(owner):
        places = [
            (k, y, x)
            for k, y, x in np.ndindex(*rows.shape[1:])
            if 0 <= y + origin[r, 0] < PLANE[1] and 0 <= x + origin[r, 1] < PLANE[2]
        ]
        for _ in range(20):
            delta = rng.uniform(low[s], high[s]) * (rng.random(low[s].shape) < rng.random())
            delta *= min(1.0, np.sqrt(square[s] / max((delta**2).sum(), 1e-300)))
            move = (z[s] + delta).max(axis=-1) - z[s].max(axis=-1)
            left, right = 0.0, rest[r]
            for k, y, x in places:
                at = (k, y + origin[r, 0], x + origin[r, 1])
                left += rows[r, k, y, x] * move[at]
                right += out[r, k, y, x] * delta[(*at, tap[r, k, y, x])]
            assert left >= right - 1e-9


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(30), deadline=None)
@given(seed=seeds, place=st.integers(0, 2))
def test_windows_that_are_no_numbers_get_no_ball(name: str, seed: int, place: int) -> None:
    """The compiled minimum lost a nan, and with it the entry that bounded the window."""
    rng = np.random.default_rng(seed)
    rows, owner, origin, _ = situation(rng)
    _, _, _, taps, lines, boxed = windows(rng, 3, 4)
    square = np.full(3, 1e-3)
    other = (taps[:, PEAK] + 1) % 4  # of the peak itself the gap is not asked for
    np.put_along_axis(boxed[..., place], other[..., None], np.nan, axis=-1)
    _, _, rest, _, _ = backend(name).pull_maximum(rows, owner, origin, taps, lines, boxed, square)
    _, _, plain, _, _ = backend("reference").pull_maximum(
        rows, owner, origin, taps, lines, boxed, np.full(3, np.inf)
    )
    np.testing.assert_allclose(rest, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_window_that_is_lost_costs_the_others_nothing(
    name: str, place: int, number: float
) -> None:
    """It keeps its line, and no more than that is paid for rounding; a gap of ∞ loses nothing."""
    rng = np.random.default_rng(place)
    _, _, _, taps, lines, boxed = windows(rng, 3, 4)
    rows, owner, origin = -rng.random((6, *PLANE)), np.arange(6) // 2, np.zeros((6, 2), np.int64)
    lines[:, 2, 0, 0, 0] = 0.0  # a line that no floor beats
    spoilt = boxed.copy()
    spoilt[:, 0, 0, 0, 1, place] = number
    kernels, square = backend(name), np.full(3, 1e-3)
    found = [
        kernels.pull_maximum(rows, owner, origin, taps, lines, x, square) for x in (boxed, spoilt)
    ]
    assert (found[0][-1] > 0).all()
    same(found[1], found[0])
    given = (rows, owner, origin, found[0][-1], taps, lines)
    same(*(kernels.pull_dual_maximum(*given, x, square) for x in (boxed, spoilt)))


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
def test_windows_without_a_line_above_have_their_floor(name: str) -> None:
    rng = np.random.default_rng(7)
    _, _, _, taps, lines, boxed = windows(rng, 3, 4)
    rows, owner, origin = -rng.random((6, *PLANE)), np.arange(6) // 2, np.zeros((6, 2), np.int64)
    lines[:, 2, 0] = np.inf
    tap, _, rest, _, multiplier = backend(name).pull_maximum(
        rows, owner, origin, taps, lines, boxed, np.full(3, 1e-3)
    )
    assert (multiplier > 0).all() and np.isfinite(rest).all()
    assert (tap[:, 0] == taps[owner, PEAK, 0]).all()
