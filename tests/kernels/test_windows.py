"""Lines about window maxima: backends agree, and bounds hold in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from boundcert.kernels import available, backend
from boundcert.kernels.maximum_reference import LEAST, MOST, PEAK
from boundcert.kernels.window_reference import BEHIND, FIRST, TIED
from hypothesis import given, settings
from hypothesis import strategies as st
from window_cases import SPOILS, window_arguments

from examples import examples

BACKENDS = [name for name in available() if name != "reference"]
ALL = pytest.mark.parametrize("name", ["reference", *BACKENDS])
seeds, spoils = st.integers(0, 2**32 - 1), st.sampled_from(SPOILS)


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(150), deadline=None)
@given(seed=seeds, spoil=spoils)
def test_backends_agree(name: str, seed: int, spoil: str) -> None:
    args = window_arguments(np.random.default_rng(seed), spoil)
    found, wanted = (backend(b).window_lines(*args) for b in (name, "reference"))
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@ALL
@settings(max_examples=examples(100), deadline=None)
@given(seed=seeds, spoil=spoils)
def test_lines_hold(name: str, seed: int, spoil: str) -> None:
    """δ_out ≥ δ_least + constant, δ_out ≤ slope·δ_most + constant, whatever is not known."""
    rng = np.random.default_rng(seed)
    args = low, high, point, value, table = window_arguments(rng, spoil)
    taps, lines, _, far = backend(name).window_lines(*args)
    assert not np.isnan(lines).any() and (lines[:, 1] >= 0).all() and (lines[:, 1] <= 1).all()
    assert not (lines[:, 0] == np.inf).any() and not (lines[:, 2] == -np.inf).any()
    for s, c, w in list(np.ndindex(*value.shape))[:40]:
        places = table[w][table[w] >= 0]
        least, most, peak = (table[w][taps[s, k, c, w]] for k in (LEAST, MOST, PEAK))
        assert min(least, most, peak) >= 0
        constants = lines[s, (0, 2), c, w]
        if not np.isfinite(constants).any():
            continue
        base = Fraction(float(value[s, c, w]))
        for kind in range(6):
            z = [
                _point(rng, kind, e == most, *(float(x[s, c, e]) for x in (low, high, point)))
                for e in places
            ]
            exact, at = max(z) - base, dict(zip(places, z))
            if np.isfinite(constants[0]):
                moved = at[least] - Fraction(float(point[s, c, least]))
                assert exact >= moved + Fraction(float(constants[0]))
            if np.isfinite(constants[1]):
                moved = at[most] - Fraction(float(point[s, c, most]))
                slope = Fraction(float(lines[s, 1, c, w]))
                assert exact <= slope * moved + Fraction(float(constants[1]))
            for e in places if np.isfinite(far[s, c]) else ():
                assert abs(at[e] - Fraction(float(point[s, c, e]))) <= Fraction(float(far[s, c]))


def _point(
    rng: np.random.Generator, kind: int, most: bool, low: float, high: float, point: float
) -> Fraction:
    """A point of a box, where an end that is no number bounds nothing."""
    centre = point if np.isfinite(point) else 0.0
    ends = [Fraction(low) if np.isfinite(low) else None, None]
    ends[1] = Fraction(high) if np.isfinite(high) else None
    reach = Fraction(10) ** 309
    start = ends[0] if ends[0] is not None else min(Fraction(centre), ends[1] or 0) - reach
    end = ends[1] if ends[1] is not None else max(Fraction(centre), start) + reach
    # corners: all at one end, and the entry of the line above at the other
    share = (0.0, 1.0, float(most), float(not most), rng.random(), rng.integers(0, 2))[kind]
    return start + Fraction(float(share)) * (end - start)


@ALL
def test_marks_say_what_a_window_is_short_of(name: str) -> None:
    """Two windows that share an entry: one is exact; in the other two entries may be the most."""
    point = np.array([[[3.0, 0.0, 1.0, -5.0]]])
    table = np.array([[0, 1, -1], [1, 2, 3]])
    value = np.array([[[3.0, 1.0]]])
    args = (point - 1, point + 1, point, value, table)
    taps, lines, marks, far = backend(name).window_lines(*args)
    assert taps[0, :, 0].tolist() == [[0, 1], [0, 1], [0, 1]]
    assert marks[0, TIED, 0].tolist() == [0, 1, 1, 0]  # the last is beaten
    assert marks[0, FIRST, 0].tolist() == [1, 0, 1, 0]
    assert marks[0, BEHIND, 0].tolist() == [0, 1, 0, 1]
    assert lines[0, 1, 0].tolist() == [1.0, 0.5] and far[0, 0] == pytest.approx(1.0)
    # max(z_1, z_2) ≤ 1 + ½(z_2 − 0) on [0, 2], so δ_out ≤ ½δ_2 + ½
    assert lines[0, 2, 0] == pytest.approx([0.0, 0.5]) and lines[0, 0, 0] == pytest.approx([0, 0])


@ALL
def test_an_entry_without_a_bound_comes_before_padding(name: str) -> None:
    point = np.zeros((1, 1, 2))
    table, value = np.array([[-1, 1, 0]]), np.zeros((1, 1, 1))
    for end in (np.nan, -np.inf, np.inf):
        args = (np.full_like(point, end), np.full_like(point, end), point, value, table)
        taps, lines, marks, far = backend(name).window_lines(*args)
        assert taps.ravel().tolist() == [1, 1, 1] and far[0, 0] == np.inf
        assert lines[0, 0, 0, 0] == -np.inf and lines[0, 2, 0, 0] == np.inf
        assert marks[0, TIED, 0].tolist() == [1, 1]
