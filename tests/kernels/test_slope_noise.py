"""Derivatives near their zeros, where summands cancel: ranges hold the true value."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from boundcert.kernels import available, backend, scalar


def gelu(x: mpmath.mpf) -> mpmath.mpf:
    density = mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2 + x * density


def gelu_tanh(x: mpmath.mpf) -> mpmath.mpf:
    root, cubic = mpmath.sqrt(2 / mpmath.pi), mpmath.mpf(0.044715)
    t, dt = root * (x + cubic * x**3), root * (1 + 3 * cubic * x**2)
    return (1 + mpmath.tanh(t)) / 2 + x * dt / (2 * mpmath.cosh(t) ** 2)


def hard_swish(x: mpmath.mpf) -> mpmath.mpf:
    return (2 * x + 3) / 6


CASES = (
    (scalar.GELU, gelu, -0.7517915246935645),
    (scalar.GELU_TANH, gelu_tanh, -0.7524614220710162),
    (scalar.HARD_SWISH, hard_swish, -1.5),
)


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize(("kind", "slope", "zero"), CASES)
def test_ranges_hold_the_true_derivative_where_it_vanishes(name, kind, slope, zero) -> None:  # type: ignore[no-untyped-def]
    z = zero + np.arange(-40, 41) * 2.0**-52
    none, unit, zones = np.zeros(1), np.ones(len(z)), np.zeros((0, 3))
    box = (z[None].copy(), unit, none, none)
    low, high = backend(name).activation_slopes(kind, 1, *box, none, none, zones)
    with mpmath.workprec(200):
        true = [slope(mpmath.mpf(float(x))) for x in z]
        assert all(a <= t <= b for a, t, b in zip(low[0], true, high[0]))
        assert max(abs(t) for t in true) < 1e-13
