"""Pencils of lines and window maxima over a ball: backends agree, and bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from row_cases import PLANE, same, seeds, situation

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
    pencil = (rows, owner, origin, mix, table)
    same(twin.pull_pencil(*pencil), reference.pull_pencil(*pencil), dtype)
    gradient = (*pencil, back, weight)
    same(twin.pencil_gradient(*gradient), reference.pencil_gradient(*gradient), dtype)


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=examples(20), deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS))
def test_activation_backends_agree(name: str, seed: int, kind: tuple[str, float, float]) -> None:
    rng = np.random.default_rng(seed)
    low, high = boxes(rng, 7)
    code, numbers = ACTIVATIONS[kind[0]].code, arguments(*kind)
    twin, reference = backend(name), backend("reference")
    found = twin.activation_pencil(code, low, high, *numbers)
    same(found, reference.activation_pencil(code, low, high, *numbers))
    point, value, far = rng.standard_normal((3, *low.shape))
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
    table, start = backend(name).activation_pencil(code, low, high, *numbers)
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
    tap, out, rest, _ = found
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
@pytest.mark.parametrize("place", [0, 1, 2])
def test_windows_that_are_no_numbers_get_no_ball(name: str, place: int) -> None:
    """The compiled minimum lost a nan, and with it the entry that bounded the window."""
    rng = np.random.default_rng(1)
    rows, owner, origin, _ = situation(rng)
    _, _, _, taps, lines, boxed = windows(rng, 3, 4)
    square = np.full(3, 1e-3)
    boxed[..., 2, place] = np.nan
    _, _, rest, _ = backend(name).pull_maximum(rows, owner, origin, taps, lines, boxed, square)
    _, _, plain, _ = backend("reference").pull_maximum(
        rows, owner, origin, taps, lines, boxed, np.full(3, np.inf)
    )
    np.testing.assert_allclose(rest, plain, rtol=1e-12)
