"""The kernels on rows: every backend against the reference, the ball against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from boundcert.kernels import available, backend
from hypothesis import given, settings
from hypothesis import strategies as st
from row_cases import PLANE, same, seeds, situation

BACKENDS = [name for name in available() if name != "reference"]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@settings(max_examples=40, deadline=None)
@given(seed=seeds)
def test_backends_agree(name: str, dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, owner, origin, tensor = situation(rng, dtype)
    twin, reference = backend(name), backend("reference")
    lines = (tensor(), tensor(), tensor(), tensor())
    same(twin.pull_lines(rows, owner, origin, *lines),
         reference.pull_lines(rows, owner, origin, *lines), dtype)  # fmt: skip
    for weight in (tensor(), tensor(shared=True)):
        same(twin.scale(rows, owner, origin, weight),
             reference.scale(rows, owner, origin, weight), dtype)  # fmt: skip
        same(twin.weigh(rows, owner, origin, abs(weight)),
             reference.weigh(rows, owner, origin, abs(weight)), dtype)  # fmt: skip
    for q in (1.0, 2.0, np.inf):
        same(twin.dual_norm(rows, origin, PLANE[1:], q),
             reference.dual_norm(rows, origin, PLANE[1:], q), dtype)  # fmt: skip


@pytest.mark.parametrize("name", available())
@pytest.mark.parametrize("q", [1.0, 2.0, np.inf])
def test_dual_norms_of_extreme_rows(name: str, q: float) -> None:
    """Neither squares that leave the range nor what is no number makes a norm too small."""
    entries = np.array([3.0, -4.0, 0.0, 0.0])
    known = {1.0: 7.0, 2.0: 5.0, np.inf: 4.0}[q]
    sizes = np.array([1e-300, 1e-200, 1e-145, 1.0, 1e150, 1e250, 0.0])
    spoiled = [[np.nan, 1.0, 1.0, 1.0], [1.0, 2.0, np.nan, 0.0], [np.nan] * 4, [np.inf, 1, 1, 1]]
    rows = np.concatenate([sizes[:, None] * entries, spoiled]).reshape(-1, 1, 1, 4)
    origin = np.zeros((len(rows), 2), dtype=np.int64)
    found = backend(name).dual_norm(rows, origin, (1, 4), q)
    assert np.allclose(found[:7], sizes * known, rtol=1e-14, atol=0)
    assert not np.isfinite(found[7:]).any() and np.isnan(found[7:10]).all()


@pytest.mark.skipif("cpu" not in BACKENDS, reason="the twin on the CPU is left out")
def test_no_subnormal_coefficient_is_handed_on() -> None:
    """Products of matrices take three times as long with them: saturated sigmoids make such."""
    tiny = np.finfo(np.float32).tiny
    owner, origin = np.zeros(1, dtype=np.int64), np.zeros((1, 2), dtype=np.int64)
    rows = np.array([1e-30, -1e-30, np.nan, 1.0], dtype=np.float32).reshape(1, 1, 1, 4)
    lines = tuple(np.full((1, 1, 1, 4), value) for value in (1e-9, 0.0, 1e-9, 0.0))
    out, _, _ = backend("cpu").pull_lines(rows, owner, origin, *lines)
    assert out[0, 0, 0, :2].tolist() == [0.0, 0.0] and np.isnan(out[0, 0, 0, 2])
    assert out[0, 0, 0, 3] == np.float32(1e-9)
    table = np.full((1, 12, 1, 1, 4), 1e-9)
    mixed, _, _ = backend("cpu").pull_pencil(rows, owner, origin, 0 * rows, table)
    sizes = np.abs(mixed[np.isfinite(mixed)])
    assert ((sizes == 0) | (sizes >= tiny)).all() and sizes.max() > 0
    fine = np.full((1, 1, 1, 4), 1e-300)
    small = backend("cpu").pull_lines(fine, owner, origin, *lines)[0]
    assert (small == 1e-300 * 1e-9).all() and small.max() > 0


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=60, deadline=None)
@given(seed=seeds)
def test_fold_agrees(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, high, wide, tall, broad = rng.integers(1, 5, size=5)
    stride, dilation = (tuple(int(v) for v in rng.integers(1, 4, size=2)) for _ in range(2))
    plane = tuple(int(v) for v in rng.integers(1, 9, size=2))
    columns = rng.standard_normal((count, 2, tall, broad, high, wide))
    first = rng.integers(-4, 8, size=(count, 2))
    patch = [
        int((n - 1) * s + d * (k - 1) + 1)
        for n, s, d, k in zip((high, wide), stride, dilation, (tall, broad))
    ]
    whole = bool(rng.random() < 0.5)
    origin = np.zeros_like(first) if whole else first
    size = plane if whole else patch
    outs = []
    for backend_name in (name, "reference"):
        out = np.zeros((count, 2, *size))
        backend(backend_name).fold(columns, first, origin, plane, stride, dilation, out)
        outs.append(out)
    same(*outs)


@pytest.mark.parametrize("name", available())
def test_norms_of_hostile_scales(name: str) -> None:
    for scale in (1e-300, 1e-160, 1e160, 1e300):
        rows = np.full((1, 1, 1, 4), scale)
        found = backend(name).dual_norm(rows, np.zeros((1, 2), dtype=np.int64), (1, 4), 2.0)
        assert found[0] == pytest.approx(2 * scale, rel=1e-12)


def table_of(rng: np.random.Generator, samples: int):  # type: ignore[no-untyped-def]
    """A table for |z|-like functions: kink somewhere, exact halves, lines over the whole box."""
    shape = (samples, *PLANE)
    point = rng.standard_normal(shape)
    low, high = point - rng.random(shape) * 2, point + rng.random(shape) * 2
    a, b = rng.standard_normal(2)

    def f(z: np.ndarray) -> np.ndarray:
        return np.where(z > 0, b * z, a * z)

    value = f(point)
    secant = (f(high) - f(low)) / (high - low)
    slopes = (np.full(shape, a), np.full(shape, b))
    halves = [np.full(shape, a), a * point - value, np.full(shape, b), b * point - value]
    worst = [f(z) - value - secant * (z - point) for z in (low, high, np.clip(0, low, high))]
    below, above = np.minimum.reduce(worst), np.maximum.reduce(worst)
    table = [low - point, high - point, np.clip(0, low, high) - point, *halves, *halves]
    table += [secant, below - 1e-12, secant, above + 1e-12]
    assert len(slopes) == 2
    return np.stack(table, axis=1), point, f


@pytest.mark.parametrize("name", available())
@settings(max_examples=40, deadline=None)
@given(seed=seeds, share=st.sampled_from([1e-3, 0.1, 0.5, 1.0, 10.0]))
def test_ball_bounds_hold_and_beat_lines(name: str, seed: int, share: float) -> None:
    """c·δ_out ≥ out·δ + rest for δ in box and ball."""
    rng = np.random.default_rng(seed)
    rows, owner, origin, _ = situation(rng)
    table, point, f = table_of(rng, 3)
    widest = np.maximum(np.abs(table[:, 0]), np.abs(table[:, 1]))
    square = share * (widest.reshape(3, -1) ** 2).sum(axis=1)
    out, rest, mass, _ = backend(name).pull_ball(rows, owner, origin, table, square)
    lines = (np.ascontiguousarray(table[:, 11 + k]) for k in range(4))
    plain = backend(name).pull_lines(rows, owner, origin, *lines)
    assert (rest >= plain[1] - 1e-12).all()
    assert (mass >= np.abs(out).reshape(len(out), -1).sum(axis=1) * (1 - 1e-12)).all()
    for trial in range(30):
        t = rng.random(point.shape) if trial % 3 else rng.random(point.shape).round()
        delta = table[:, 0] + t * (table[:, 1] - table[:, 0])
        length = np.sqrt((delta.reshape(3, -1) ** 2).sum(axis=1))
        shrink = np.minimum(1.0, np.sqrt(square) / np.maximum(length, 1e-300))
        delta = delta * shrink[:, None, None, None]
        moved = f(point + delta) - f(point)
        for r in range(len(rows)):
            left = right = 0.0
            for k, y, x in np.ndindex(rows.shape[1:]):
                v, u = origin[r, 0] + y, origin[r, 1] + x
                if 0 <= v < PLANE[1] and 0 <= u < PLANE[2]:
                    left += rows[r, k, y, x] * moved[owner[r], k, v, u]
                    right += out[r, k, y, x] * delta[owner[r], k, v, u]
            assert left >= right + rest[r] - 1e-10


@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=40, deadline=None)
@given(seed=seeds, share=st.sampled_from([1e-3, 0.1, 1.0]))
def test_ball_backends_agree(name: str, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    rows, owner, origin, _ = situation(rng)
    table, _, _ = table_of(rng, 3)
    square = np.full(3, share * 10)
    found = backend(name).pull_ball(rows, owner, origin, table, square)
    wanted = backend("reference").pull_ball(rows, owner, origin, table, square)
    # near a tie between multipliers the twins may choose differently, but not do worse
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6, atol=1e-9)
