"""Derivatives near their zeros, where summands cancel: ranges hold the true value."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from boundcert.kernels import available, backend, scalar

from boundcert.layers.activation_gated import GELU, GELU_TANH


def gelu(x: mpmath.mpf) -> mpmath.mpf:
    density = mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2 + x * density


def gelu_tanh(x: mpmath.mpf) -> mpmath.mpf:
    root, cubic = mpmath.sqrt(2 / mpmath.pi), mpmath.mpf(0.044715)
    t, dt = root * (x + cubic * x**3), root * (1 + 3 * cubic * x**2)
    return (1 + mpmath.tanh(t)) / 2 + x * dt / (2 * mpmath.cosh(t) ** 2)


def hard_swish(x: mpmath.mpf) -> mpmath.mpf:
    return (2 * x + 3) / 6


def swish(x: mpmath.mpf) -> mpmath.mpf:
    gate = 1 / (1 + mpmath.exp(-x))
    return gate + x * gate * (1 - gate)


def mish(x: mpmath.mpf) -> mpmath.mpf:
    gate = mpmath.tanh(mpmath.log1p(mpmath.exp(x)))
    return gate + x * (1 - gate**2) / (1 + mpmath.exp(-x))


CASES = (
    (scalar.GELU, (GELU, 0.0), gelu, -0.7517915246935645),
    (scalar.GELU_TANH, GELU_TANH, gelu_tanh, -0.7524614220710162),
    (scalar.HARD_SWISH, (0.0, 0.0), hard_swish, -1.5),
    (scalar.SWISH, (1.0, 0.0), swish, -1.2784645427610738),
    (scalar.MISH, (0.0, 0.0), mish, -1.1924312145154952),
)


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize(("kind", "parameters", "slope", "zero"), CASES)
def test_ranges_hold_the_true_derivative_where_it_vanishes(
    name, kind, parameters, slope, zero
) -> None:  # type: ignore[no-untyped-def]
    z = zero + np.arange(-40, 41) * 2.0**-52
    none, unit, zones = np.zeros(1), np.ones(len(z)), np.zeros((0, 3))
    a, b = (np.array([p]) for p in parameters)
    box = (z[None].copy(), unit, none, none)
    low, high = backend(name).activation_slopes(kind, 1, *box, a, b, zones)
    with mpmath.workprec(200):
        true = [slope(mpmath.mpf(float(x))) for x in z]
        assert all(a <= t <= b for a, t, b in zip(low[0], true, high[0]))
        assert max(abs(t) for t in true) < 1e-13
