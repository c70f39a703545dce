"""Every backend against the NumPy reference, and the reference against what it claims."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from activation_cases import PARAMETERS, POSITIVE
from boundcert.kernels import NAMES, available, backend, scalar
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.layers.activation_table import ACTIVATIONS

BACKENDS = [name for name in available() if name != "reference"]
seeds = st.integers(0, 2**32 - 1)


def boxes(rng: np.random.Generator, low: float = -np.inf):  # type: ignore[no-untyped-def]
    b, n = 3, 7
    z = rng.standard_normal((b, n)) * 10.0 ** rng.uniform(-2, 2)
    if low == 0.0:
        z = np.abs(z) + 1.0
    unit, scale = rng.random(n), rng.random(b) * 10.0 ** rng.uniform(-3, 1)
    offset = rng.random(b) * rng.choice([0.0, 1e-3])
    if low == 0.0:
        scale, offset = scale * 0.05, offset * 0.05
    return z, unit, scale, offset


def arguments(name: str, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    rule = ACTIVATIONS[name]
    a, b = PARAMETERS.get(name, (0.0, 0.0))
    zones = np.array(rule.zones(a, b), dtype=float).reshape(-1, 3)
    z, unit, scale, offset = boxes(rng, 0.0 if name in POSITIVE else -np.inf)
    return rule.code, z, unit, scale, offset, np.array([a]), np.array([b]), zones


@pytest.mark.parametrize("name", BACKENDS)
def test_backends_define_every_kernel(name: str) -> None:
    assert all(callable(getattr(backend(name), k)) for k in NAMES)
    assert all(callable(getattr(backend("reference"), k)) for k in NAMES)


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("kind", list(ACTIVATIONS))
@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_activation_kernels(name: str, kind: str, seed: int) -> None:
    code, *rest = arguments(kind, np.random.default_rng(seed))
    ours, truth = backend(name), backend("reference")
    same(ours.activation_slopes(code, 1, *rest), truth.activation_slopes(code, 1, *rest))
    for p in (1.0, 2.0, np.inf):
        same(ours.activation_gain(code, p, *rest), truth.activation_gain(code, p, *rest))


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_other_kernels(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, truth = backend(name), backend("reference")
    z, unit, scale, offset = boxes(rng)
    low, width = rng.standard_normal(z.shape), rng.random(z.shape)
    weight = rng.standard_normal((2, *z.shape)) * (rng.random(z.shape) < 0.8)
    for p in (1.0, 2.0, np.inf):
        args = (weight, low, low + width, unit, scale, offset, rng.random(3), p)
        same(ours.slope_remainder(*args), truth.slope_remainder(*args))
        x, reach = rng.standard_normal((3, 6, 4)), rng.random(3)
        lrn = (x, reach, int(rng.integers(1, 6)), 0.5, 0.75, 1.2, p)
        same(ours.lrn_gain(*lrn), truth.lrn_gain(*lrn))
        rows = rng.standard_normal((4, 9))
        same(ours.pairwise_norms(rows, p), truth.pairwise_norms(rows, p))
    windows = rng.integers(-1, 7, size=(5, 3))
    same(ours.pool_multiplicity(z, windows, scale), truth.pool_multiplicity(z, windows, scale))
    norms = np.abs(rng.standard_normal((7, 7)))
    norms[0, 1] = 0.0
    label = rng.integers(0, 7, size=3)
    args = (z, offset * 1e-6, norms, label)
    same(ours.margin_distances(*args), truth.margin_distances(*args))
    steep, curved = rng.random((3, 4)), rng.random((3, 4))
    args = (steep, curved, rng.random(4) * 3, rng.random(4))
    same(ours.taylor_recursion(*args), truth.taylor_recursion(*args))


@pytest.mark.parametrize("name", available())
def test_broken_numbers_never_become_bounds(name: str) -> None:
    kernels = backend(name)
    z = np.array([[np.nan, 1.0]])
    one = np.ones(1)
    args = (scalar.RELU, np.inf, z, np.ones(2), one, one * 0, one, one, np.zeros((0, 3)))
    gain, size = kernels.activation_gain(*args)
    assert gain[0] == np.inf and size[0] == np.inf
    far = kernels.margin_distances(z, one * 0, np.ones((2, 2)), np.array([1]))
    assert far[0, 0] == 0.0


@pytest.mark.parametrize("kind", [k for k in ACTIVATIONS if k != "PRelu"])
@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_slope_ranges_hold(kind: str, seed: int) -> None:
    """Dense sampling of the derivative, and of secants of the function itself."""
    import torch

    rng = np.random.default_rng(seed)
    code, z, unit, scale, offset, a, b, zones = arguments(kind, rng)
    z = z / max(1.0, np.abs(z).max() / 6) if kind not in POSITIVE else z
    low, high = backend("reference").activation_slopes(code, 1, z, unit, scale, offset, a, b, zones)
    reach = unit * scale[:, None] + offset[:, None]
    steps = np.linspace(-1, 1, 401)[:, None, None]
    points = torch.from_numpy(z + steps * reach)
    values = ACTIVATIONS[kind].function(points, torch.tensor(a[0]), torch.tensor(b[0])).numpy()
    gap = np.diff(points.numpy(), axis=0)
    rise = np.diff(values, axis=0)
    room = 1e-12 * (np.abs(values[1:]) + np.abs(points.numpy()[1:])) + 1e-15
    with np.errstate(invalid="ignore"):
        assert not (rise > high * gap + room).any()
        assert not (rise < low * gap - room).any()


@pytest.mark.parametrize("kind", [k for k, rule in ACTIVATIONS.items() if rule.smooth])
def test_curvature_ranges_hold(kind: str) -> None:
    rule = ACTIVATIONS[kind]
    assert rule.smooth
    rng = np.random.default_rng(0)
    z = rng.uniform(-5, 5, (40, 6))
    unit, scale, zero = np.ones(6), rng.random(40) * 3, np.zeros(40)
    a, b = PARAMETERS.get(kind, (0.0, 0.0))
    bends = np.array(rule.bends(a, b), dtype=float).reshape(-1, 3)
    low, high = backend("reference").activation_slopes(
        rule.code, 2, z, unit, scale, zero, np.array([a]), np.array([b]), bends
    )
    for step in np.linspace(-1, 1, 801):
        x = z + step * scale[:, None]
        value = np.vectorize(scalar.curvature)(rule.code, x, a, b)
        assert (value <= high).all() and (value >= low).all()


@pytest.mark.parametrize("kind", list(ACTIVATIONS))
def test_derivatives_match_the_functions(kind: str) -> None:
    import torch

    rule = ACTIVATIONS[kind]
    a, b = PARAMETERS.get(kind, (0.0, 0.0))
    x = np.random.default_rng(1).uniform(0.5 if kind in POSITIVE else -4, 4, 200)
    points = torch.from_numpy(x).requires_grad_()
    out = rule.function(points, *(torch.tensor(v, dtype=torch.float64) for v in (a, b))).sum()
    (slope,) = torch.autograd.grad(out, points, create_graph=True)
    ours = np.vectorize(scalar.slope, otypes=[float])(rule.code, x, a, b)
    assert np.allclose(ours, slope.detach().numpy(), rtol=1e-9, atol=1e-12)
    if rule.smooth:
        (bend,) = torch.autograd.grad(slope.sum(), points)
        ours = np.vectorize(scalar.curvature)(rule.code, x, a, b)
        assert np.allclose(ours, bend.numpy(), rtol=1e-7, atol=1e-9)


def same(left, right) -> None:  # type: ignore[no-untyped-def]
    left = left if isinstance(left, tuple) else (left,)
    right = right if isinstance(right, tuple) else (right,)
    for one, other in zip(left, right):
        assert one.shape == other.shape and one.dtype == other.dtype
        assert np.allclose(one, other, rtol=1e-12, atol=1e-300, equal_nan=True)


@pytest.mark.parametrize("kind", list(ACTIVATIONS))
@pytest.mark.parametrize("order", [1, 2])
def test_zones_cover_every_turning_point(kind: str, order: int) -> None:
    """Between zones the derivative is monotone, or the ends of a box would not bound it."""
    rule = ACTIVATIONS[kind]
    if order == 2 and not rule.smooth:
        return
    a, b = PARAMETERS.get(kind, (0.0, 0.0))
    zones = rule.zones(a, b) if order == 1 else rule.bends(a, b)
    x = np.linspace(1e-3 if kind in POSITIVE else -30, 30, 30001)
    f = np.vectorize(scalar.slope if order == 1 else scalar.curvature)(rule.code, x, a, b)
    rise = np.diff(f)
    rise[np.abs(rise) <= 1e-13 * np.maximum(1e-3, np.abs(f[1:]))] = 0.0
    moving = np.nonzero(rise)[0]
    for left, right in itertools.pairwise(moving):
        if np.sign(rise[left]) != np.sign(rise[right]):
            met = [z for z in zones if z[0] <= x[right] + 3e-3 and z[1] >= x[left] - 3e-3]
            assert any(abs(f[right]) <= abs(z[2]) * (1 + 1e-9) + 1e-12 for z in met), x[right]
