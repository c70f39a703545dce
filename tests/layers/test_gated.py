"""Where activations that gate their operand bend: the numbers of the table are proved here."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from mpmath import iv

from boundcert.layers.activation_gated import GELU_TANH
from boundcert.layers.activation_table import ACTIVATIONS


def mish_sign(x):  # type: ignore[no-untyped-def]
    """D with the sign of Mish″, and D′: with s = sigmoid, T = tanh(softplus), T′ = (1 − T²)s,

    Mish″ = 2T′ + xT″ and T″ = T′(1 − s − 2Ts), so D = 2 + x(1 − s − 2Ts).
    """
    e = iv.exp(x)
    s = e / (1 + e)
    n = e * e + 2 * e
    gate = 1 - 2 / (n + 2)
    steep = 4 * e * (1 + e) / (n + 2) ** 2
    inner = 1 - s - 2 * gate * s
    bent = -s * (1 - s) - 2 * steep * s - 2 * gate * s * (1 - s)
    return 2 + x * inner, inner + x * bent


def assert_mish_bends_between(left: tuple[float, float], right: tuple[float, float]) -> None:
    """D < 0 beyond ±6, by |1 − s − 2Ts| > 0.9 there; within, cell by cell."""
    iv.dps = 40
    for x in (-6, 6):
        assert mish_sign(iv.mpf(x))[0] < 0
    edges = (-6.0, -2.4, -2.1, 1.3, 1.7, 6.0)
    for start, end, sign in zip(edges[::2], edges[1::2], (-1, 1, -1)):
        for k in range(2000):
            cell = [start + (end - start) * t / 2000 for t in (k, k + 1)]
            assert mish_sign(iv.mpf(cell))[0] * sign > 0
    for (low, high), start, end, rises in ((left, -2.4, -2.1, 1), (right, 1.3, 1.7, -1)):
        for k in range(500):
            cell = [start + (end - start) * t / 500 for t in (k, k + 1)]
            assert mish_sign(iv.mpf(cell))[1] * rises > 0
        assert mish_sign(iv.mpf(low))[0] * rises < 0 < mish_sign(iv.mpf(high))[0] * rises


def test_mish_bends_where_the_table_says() -> None:
    assert_mish_bends_between(*(zone[:2] for zone in ACTIVATIONS["Mish"].zones(0.0, 0.0)))


@pytest.mark.parametrize("a", [1.0, 1.702, 1e-3, 500.0])
@pytest.mark.parametrize("name", ["Gelu", "Swish"])
def test_slopes_and_curvatures_turn_where_the_table_says(name: str, a: float) -> None:
    """The functions of the kernels' docstrings, in 40 digits."""
    with mpmath.workdps(40):
        b = mpmath.mpf(a)
        gate = {
            "Gelu": lambda x: x * mpmath.erfc(-b * x) / 2,
            "Swish": lambda x: x / (1 + mpmath.exp(-b * x)),
        }[name]
        rule = ACTIVATIONS[name]
        for low, high, value in rule.zones(a, 0.0):
            before, after = (mpmath.diff(gate, mpmath.mpf(x), 2) for x in (low, high))
            assert before * after < 0  # the curvature changes its sign inside
            top = mpmath.diff(gate, mpmath.mpf(0.5 * (low + high)))
            assert 0 <= (value - top) * mpmath.sign(value) < 1e-6
        for low, high, value in rule.bends(a, 0.0):
            if low < high:
                before, after = (mpmath.diff(gate, mpmath.mpf(x), 3) for x in (low, high))
                assert before * after < 0
            top = mpmath.diff(gate, mpmath.mpf(0.5 * (low + high)), 2)
            assert 0 <= (value - top) * mpmath.sign(value) < 1e-6 * a


@pytest.mark.parametrize("a,b", [GELU_TANH, (float(np.float32(0.79788456)), 0.0447), (3.0, 0.5)])
def test_the_tanh_form_bends_where_it_is_sought(a: float, b: float) -> None:
    with mpmath.workdps(40):

        def gate(x: mpmath.mpf) -> mpmath.mpf:
            return x * (1 + mpmath.tanh(a * (x + mpmath.mpf(b) * x**3))) / 2

        for low, high, value in ACTIVATIONS["GeluTanh"].zones(a, b):
            before, after = (mpmath.diff(gate, mpmath.mpf(x), 2) for x in (low, high))
            assert before * after < 0
            top = mpmath.diff(gate, mpmath.mpf(0.5 * (low + high)))
            assert 0 <= (value - top) * mpmath.sign(value) < 1e-6
        starts = [start for start, *_ in ACTIVATIONS["GeluTanh"].pieces(a, b)]
        assert starts[0] == -math.inf and starts == sorted(starts)
