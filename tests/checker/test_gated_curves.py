"""Where curves bend at points that are no float64 numbers: the checker's enclosures are proved."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from exact_cases import truth
from hypothesis import given, settings
from hypothesis import strategies as st
from layers.test_gated import assert_mish_bends_between

from boundcert.checker.bends import GELU, GELU_TANH
from boundcert.checker.curve import NARROW, Curve
from boundcert.checker.curves import CURVES
from boundcert.checker.floors import floor
from boundcert.checker.gated_curves import crossing
from examples import examples

CASES = [
    *(("Swish", a, 0.0) for a in (1.0, 1.702, 2.0**-10, 2.0**10)),
    *(("Gelu", a, 0.0) for a in (GELU, float(np.float32(GELU)), 3.0, 0.01)),
    ("GeluTanh", *GELU_TANH),
    ("GeluTanh", float(np.float32(0.7985)), float(np.float32(0.0447))),
    ("Mish", 0.0, 0.0),
]
by_case = pytest.mark.parametrize(("name", "a", "b"), CASES)


def narrow(name: str, a: float, b: float) -> list[tuple[float, float]]:
    return [(s, e) for s, e, sign in CURVES[name].pieces(a, b) if sign == NARROW]


@by_case
def test_narrow_pieces_hold_where_it_bends(name: str, a: float, b: float) -> None:
    """And nothing on them bends more than it may."""
    with mpmath.workdps(60):
        for (start, end), before in zip(narrow(name, a, b), (-1, 1)):
            assert 0 < end - start < 1e-11 * abs(start)
            bent = [
                mpmath.diff(lambda z: truth(name, z, a, b), mpmath.mpf(x), 2) for x in (start, end)
            ]
            assert bent[0] * before > 0 > bent[1] * before
            assert max(map(abs, bent)) <= CURVES[name].curvature(a, b)


def test_mish_bends_where_it_says_and_nowhere_else() -> None:
    assert_mish_bends_between(*narrow("Mish", 0.0, 0.0))


def test_a_crossing_that_is_not_sure_is_none() -> None:
    with pytest.raises(ValueError, match="nobody knows where"):
        crossing(lambda x: (1.0 - x, 1e6), 8.0)


@settings(max_examples=examples(40), deadline=None)
@given(
    case=st.sampled_from(CASES),
    which=st.integers(0, 1),
    side=st.sampled_from([1.0, -1.0]),
    shift=st.sampled_from([-1e3, -1.0, -0.3, 0.0, 0.7, 1.0, 1e3]),
    width=st.sampled_from([0.0, 1e-3, 0.5, 1.0, 3.0, 1e6]),
    tilt=st.sampled_from([0.0, 1e-13, -1e-9, 0.1, -2.0, 1e30, -1e-300]),
)
def test_floors_about_a_bend(  # type: ignore[no-untyped-def]
    case, which, side, shift, width, tilt
) -> None:
    """Boxes in, over and beside narrow pieces; slopes about that of the curve there."""
    name, a, b = case
    start, end = narrow(name, a, b)[which]
    size = end - start
    low, high = start + shift * size, start + (shift + width) * size
    with mpmath.workdps(50):
        steep = float(mpmath.diff(lambda z: truth(name, z, a, b), mpmath.mpf(start)))
        slope = side * steep + tilt
        about = (np.array([v]) for v in (slope, low, high, a))
        least = mpmath.mpf(float(floor(name, side, *about, b)[0]))
        values = []
        for share in np.linspace(0, 1, 11):
            z = mpmath.mpf(low) + mpmath.mpf(float(share)) * (mpmath.mpf(high) - mpmath.mpf(low))
            values.append(side * truth(name, z, a, b) - mpmath.mpf(slope) * z)
        assert min(values) >= least
        assert least > min(values) - 1e-13 * (1 + abs(a)) * (1 + abs(low)) * (1 + abs(slope))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_narrow_pieces_may_bend_as_much_as_they_say(
    side: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a sine as one of them: below it, and by no more than its curvature allows for."""
    wave = Curve(
        lambda x, a, b: np.sin(x),
        lambda a, b: [(-math.inf, math.inf, NARROW)],
        lambda x, a, b: np.cos(x),
        curvature=lambda a, b: 1.0,
    )
    monkeypatch.setitem(CURVES, "Sine", wave)
    rng = np.random.default_rng(0)
    low, slope = rng.uniform(-9, 9, 200), rng.uniform(-2, 2, 200)
    size = rng.choice([0.0, 0.01, 0.3, 1.0, 3.0], 200)
    least = floor("Sine", side, slope, low, low + size, np.zeros(1), 0.0)
    grid = low + np.linspace(0, 1, 400)[:, None] * size
    most = (side * np.sin(grid) - slope * grid).min(axis=0)
    assert (least <= most + 1e-14).all() and (least >= most - 1.5 * size**2 - 1e-12).all()


@by_case
@pytest.mark.parametrize("scale", [1e-320, 1e-30, 1e30, 1e150, 1.7e308])
def test_floors_at_any_scale(name: str, a: float, b: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    low, high = np.sort(rng.standard_normal((2, 20)).clip(-1, 1) * scale, axis=0)
    slope = rng.standard_normal(20) * np.array([1.0, 1e-30, 1e30, 0.0] * 5)
    for side in (1.0, -1.0):
        with np.errstate(all="ignore"):
            least = floor(name, side, slope, low, high, np.array([a]), b)
        assert not np.isnan(least).any()
        with mpmath.workdps(50):
            for k in np.nonzero(least > -math.inf)[0]:
                for z in (low[k], high[k], 0.5 * low[k] + 0.5 * high[k]):
                    line = mpmath.mpf(slope[k]) * mpmath.mpf(z)
                    value = side * truth(name, max(z, -1e6) if z < 0 else z, a, b)
                    # far out on the left nothing but 0 is left, which the precision does not hold
                    assert value - line >= mpmath.mpf(least[k]) or (z < -1e6 and -line >= least[k])
