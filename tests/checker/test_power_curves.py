"""Activations that are not known everywhere: no bound is told where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundcert.checker.curves import CURVES
from boundcert.checker.floors import floor
from boundcert.checker.nodes import Bend, Graph, Input
from boundcert.checker.runtime import runs_of, runtime_error

#: By name and exponent: whether it is known at 0, and below.
KNOWN = {
    ("Log", 0.0): (False, False),
    ("Sqrt", 0.5): (True, False),
    ("Reciprocal", 0.0): (False, True),
    ("Pow", 0.5): (True, False),
    ("Pow", 1.5): (True, False),
    ("Pow", -0.7): (False, False),
    ("Pow", -1.0): (False, True),
    ("Pow", -2.0): (False, True),
    ("Pow", 3.0): (True, True),
}
ENDS = (-3.0, -1.0, -1e-300, -math.ulp(0.0), 0.0, math.ulp(0.0), 1e-3, 2.0)


@pytest.mark.parametrize(("name", "a"), KNOWN)
@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("slope", [-2.0, 0.0, 0.5, 1.0])
def test_boxes_that_leave_the_domain_have_no_floor(
    name: str, a: float, side: float, slope: float
) -> None:
    at_zero, below = KNOWN[name, a]
    pairs = [(low, high) for low in ENDS for high in ENDS if low <= high]
    low, high = np.array(pairs).T
    with np.errstate(all="ignore"):
        least = floor(name, side, np.full(len(low), slope), low, high, np.array([a]), 0.0)
        start = CURVES[name].value(np.maximum(low, 0.0), np.array([a]), 0.0)
    outside = ((low < 0) & (not below)) | ((low <= 0) & (high >= 0) & (not at_zero))
    assert (least[outside] == -math.inf).all()
    # a root rises without end at 0, and what has a pole does next to it
    plain = ~outside & (np.maximum(np.abs(low), np.abs(high)) >= 1e-3)
    plain &= (low > 1e-9) | (high < -1e-9) | (at_zero & (side > 0) & (slope >= 0))
    assert np.isfinite(least[plain]).all() and np.isfinite(start[plain & (low > 0)]).all()


@pytest.mark.parametrize(("name", "a"), KNOWN)
def test_runtimes_next_to_a_pole_may_compute_anything(name: str, a: float) -> None:
    low, high = np.array([-1e-3, 0.0, 1e-40, 1e-3]), np.full(4, 5.0)
    graph = Graph(
        (Input(4), Bend(4, (0,), name, np.array([a]), 0.0)), 2.0**-24, 2.0**-126, 2.0**126
    )
    with np.errstate(all="ignore"):
        error = runtime_error(graph, runs_of(graph, 2.0), 1, [high], None, (low, high))
    assert error is not None and error[3] < 10
    if name in ("Log", "Reciprocal") or a < 0:
        assert (error[:3] == math.inf).all()
    elif a < 1:
        # a number that is read as 0
        assert (error[1:3] >= (2.0**-126) ** a).all()


@pytest.mark.parametrize("name", ["Gelu", "GeluTanh", "Swish", "Mish", "HardSwish"])
def test_what_dips_between_the_ends_is_counted(name: str) -> None:
    a, b = np.array([0.75]), 0.05
    x = np.linspace(-9.0, 0.0, 1000)
    most = np.abs(CURVES[name].value(x, a, b)).max()
    graph = Graph((Input(1), Bend(1, (0,), name, a, b)), 2.0**-24, 2.0**-126, 2.0**126)
    box = np.array([-9.0]), np.array([0.0])
    error = runtime_error(graph, runs_of(graph, 2.0), 1, [-box[0]], None, box)
    factor = CURVES[name].accuracy(0.75, b)
    least = 2.0**-24 * (factor.operand * 9.0 + factor.output * most)
    assert error is not None and most > 0.1 and error[0] >= least
