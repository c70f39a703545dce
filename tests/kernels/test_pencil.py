"""Pencils of lines: backends agree, and bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from row_cases import same, seeds, situation

from boundcert.layers.activation_table import ACTIVATIONS
from examples import examples

BACKENDS = [name for name in available() if name != "reference"]
#: Activations with the parameters they are tried with.
KINDS = [
    ("Relu", 0.0, 0.0),
    ("LeakyRelu", 0.1, 0.0),
    ("LeakyRelu", 1.7, 0.0),
    ("LeakyRelu", -0.5, 0.0),
    ("Sigmoid", 0.0, 0.0),
    ("Tanh", 0.0, 0.0),
    ("Softplus", 0.0, 0.0),
    ("Elu", 1.0, 0.0),
    ("Clip", -0.5, 1.0),
    ("Abs", 0.0, 0.0),
    ("Exp", 0.0, 0.0),
]


def boxes(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    scale = 10.0 ** rng.integers(-6, 3)
    low = rng.standard_normal((2, n)) * scale
    return low, low + np.abs(rng.standard_normal((2, n))) * scale * (rng.random((2, n)) < 0.9)


def arguments(name: str, a: float, b: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pieces = np.array(ACTIVATIONS[name].pieces(a, b), dtype=np.float64).reshape(-1, 3)
    return np.array([a]), np.array([b]), pieces


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, dtype=st.sampled_from([np.float64, np.float32]))
def test_pencil_backends_agree(name: str, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    rows, owner, origin, tensor = situation(rng, dtype)
    mix = rng.uniform(-0.5, 2.5, rows.shape)
    mix[rng.random(mix.shape) < 0.1] = np.nan
    mix = mix.astype(dtype)
    table = np.ascontiguousarray(np.stack([tensor() for _ in range(12)], axis=1))
    back, weight = rng.standard_normal(rows.shape).astype(dtype), rng.standard_normal(len(rows))
    twin, reference = backend(name), backend("reference")
    for lines in (table, table[:1]):  # one a sample, and shared by them
        pencil = (rows, owner, origin, mix, lines)
        same(twin.pull_pencil(*pencil), reference.pull_pencil(*pencil), dtype)
        gradient = (*pencil, back, weight)
        same(twin.pencil_gradient(*gradient), reference.pencil_gradient(*gradient), dtype)


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(20), deadline=None)
@given(seed=seeds, dtype=st.sampled_from([np.float64, np.float32]))
def test_a_mix_outside_the_pencil_is_its_nearer_end(name: str, seed: int, dtype: type) -> None:
    """Beyond its ends a combination of lines is no line below; nan is the first."""
    rng = np.random.default_rng(seed)
    rows, owner, origin, tensor = situation(rng, dtype)
    table = np.ascontiguousarray(np.stack([tensor() for _ in range(12)], axis=1))
    wild = rng.choice([-np.inf, -3.0, -1e-3, 2.001, 5.0, np.inf, np.nan], rows.shape)
    with np.errstate(invalid="ignore"):
        ends = np.where(wild > 0, 2.0, 0.0)
    pulled = [
        backend(name).pull_pencil(rows, owner, origin, mix.astype(dtype), table)
        for mix in (wild, ends)
    ]
    for one, other in zip(*pulled):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(20), deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS))
def test_activation_backends_agree(name: str, seed: int, kind: tuple[str, float, float]) -> None:
    rng = np.random.default_rng(seed)
    low, high = boxes(rng, 7)
    code, numbers = ACTIVATIONS[kind[0]].code, arguments(*kind)
    twin, reference = backend(name), backend("reference")
    point, value, far = rng.standard_normal((3, *low.shape))
    found = twin.activation_pencil(code, low, high, point, *numbers)
    same(found, reference.activation_pencil(code, low, high, point, *numbers))
    for outward in (-1.0, 1.0):
        lines = (found[0][:, 0].copy(), found[0][:, 1].copy(), point, value, np.abs(far), outward)
        same(twin.shift_lines(*lines), reference.shift_lines(*lines))


@pytest.mark.parametrize("name", ["reference", *BACKENDS])
@settings(max_examples=examples(60), deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS))
def test_pencils_hold(name: str, seed: int, kind: tuple[str, float, float]) -> None:
    """All six lines, on the box; the start picks the lines of ``activation_lines``."""
    import torch

    rng = np.random.default_rng(seed)
    low, high = boxes(rng, 5)
    code, numbers = ACTIVATIONS[kind[0]].code, arguments(*kind)
    unknown = np.full_like(low, np.nan)
    table, start = backend(name).activation_pencil(code, low, high, unknown, *numbers)
    lines = backend(name).activation_lines(code, low, high, *numbers)
    place = (2 * start).astype(int)[:, None]
    for side, slope, const in ((0, *lines[:2]), (6, *lines[2:])):
        picked = np.take_along_axis(table, place + side, axis=1)[:, 0]
        at = np.take_along_axis(table, place + side + 1, axis=1)[:, 0]
        for z in (low, high):
            apart = np.abs(picked * z + at - slope * z - const)
            assert (apart <= 1e-12 * (1 + np.abs(slope * z) + np.abs(const)))[np.isfinite(at)].all()
    first, second = (torch.tensor(value, dtype=torch.float64) for value in kind[1:])
    for share in rng.random(20):
        z = torch.from_numpy(low + share * (high - low))
        value = ACTIVATIONS[kind[0]].function(z, first, second).numpy()
        z = z.numpy()
        for k in range(0, 12, 2):
            line = table[:, k] * z + table[:, k + 1]
            room = (
                1e-13 * (np.abs(value) + np.abs(table[:, k] * z) + np.abs(table[:, k + 1])) + 1e-300
            )
            assert (line <= value + room).all() if k < 6 else (line >= value - room).all()


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(20), deadline=None)
@given(seed=seeds)
def test_pencil_gradient_is_that_of_pull_pencil(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, owner, origin, tensor = situation(rng)
    mix = rng.uniform(0.05, 0.95, rows.shape) + rng.integers(0, 2, rows.shape)
    table = np.ascontiguousarray(np.stack([tensor() for _ in range(12)], axis=1))
    back, weight = rng.standard_normal(rows.shape), rng.standard_normal(len(rows))

    def value(rows: np.ndarray, mix: np.ndarray) -> np.ndarray:
        out, rest, _ = backend(name).pull_pencil(rows, owner, origin, mix, table)
        return (out * back).reshape(len(rows), -1).sum(axis=1) + rest * weight

    move, turn = rng.standard_normal(rows.shape) * rows, rng.standard_normal(rows.shape)
    found = backend(name).pencil_gradient(rows, owner, origin, mix, table, back, weight)
    step = 1e-6
    numeric = value(rows + step * move, mix + step * turn) - value(
        rows - step * move, mix - step * turn
    )
    exact = (found[0] * move + found[1] * turn).reshape(len(rows), -1).sum(axis=1)
    np.testing.assert_allclose(numeric / (2 * step), exact, rtol=1e-5, atol=1e-5)
