"""Windows over planes, of every geometry, with boxes that may not be known: for kernel tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from kernel_cases import places, spoilt

from boundcert.layers.windows import Windows

Array = Any
BROKEN = (np.nan, np.inf, -np.inf)
#: What is done to the numbers: which are none, or so large that sums are, or no normal ones.
SPOILS = ("none", "equal", "low", "high", "point", "value", "all", "huge", "tiny")


def table(rng: np.random.Generator) -> tuple[int, Array]:
    """Size of a plane and its windows, one entry each at least: they overlap, leave gaps, pad."""
    axes = int(rng.integers(1, 3))

    def drawn(high: int) -> tuple[int, ...]:
        return tuple(int(x) for x in rng.integers(1, high, axes))

    size, kernel, stride, dilation = drawn(8), drawn(4), drawn(4), drawn(3)
    if rng.random() < 0.2:  # one window over everything
        return int(np.prod(size)), np.arange(np.prod(size)).reshape(1, -1)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    before = tuple(int(rng.integers(0, r)) for r in reach)
    out = tuple(max(1, (n + b + r - 1) // s) for n, b, r, s in zip(size, before, reach, stride))
    zero = (0,) * axes
    windows = Windows(size, out, kernel, stride, dilation, before, zero, zero).table()
    windows = windows[(windows >= 0).any(axis=1)]
    return int(np.prod(size)), windows if len(windows) else np.zeros((1, 1), dtype=np.int64)


def window_arguments(rng: np.random.Generator, spoil: str) -> tuple[Array, ...]:
    """Those of ``window_lines``."""
    size, windows = table(rng)
    shape = (2, int(rng.integers(1, 4)), size)
    point = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3)
    if spoil == "equal":  # ties, also of a lower end with an upper
        point = np.round(point)
    width = rng.choice([0.0, 0.1, 1.0]) * np.abs(point).max()
    known = rng.random((2, *shape)) < 0.8
    low, high = (point + s * rng.random(shape) * width * k for s, k in zip((-1, 1), known))
    if spoil in ("huge", "tiny"):
        unit, factor = np.abs(point).max(), 1e308 if spoil == "huge" else 1e-310
        with np.errstate(over="ignore"):
            parts = [x / unit * factor for x in (low, high, point)]
        low, high, point = (np.clip(x, -1.7e308, 1.7e308) for x in parts)
    entries = np.where(windows >= 0, point[..., np.maximum(windows, 0)], -np.inf)
    value = entries.max(axis=-1)
    arrays = {"low": low, "high": high, "point": point, "value": value}
    for name, x in arrays.items():
        if spoil in (name, "all"):
            for number in BROKEN:
                x[rng.random(x.shape) < rng.choice([0.02, 0.3])] = number
    return low, high, point, value, windows


def window_cases(seed: int) -> Iterator[tuple[str, tuple[Array, ...]]]:
    for k, spoil in enumerate(SPOILS):
        rng = np.random.default_rng((7000 + seed, k))
        yield "window_lines", window_arguments(rng, spoil)


def pulled_cases(seed: int, dtype: type) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """Those of ``pull_windows`` and ``pull_means``: on patches that may leave the plane, and on
    whole planes."""
    rng = np.random.default_rng(7500 + seed)
    rows, owner, origin, plane = places(rng, seed)
    kernel, stride, dilation = ((int(a), int(b)) for a, b in rng.integers(1, 4, (3, 2)))
    zero = (0, 0)
    patch = Windows(zero, zero, kernel, stride, dilation, zero, zero, zero).over(rows.shape[2:])
    taps = rng.integers(0, np.prod(kernel), (3, 3, *plane))
    rows = rows.astype(dtype)
    yield _pulled(rng, seed, rows, owner, origin, taps, patch.table(), patch.size)
    yield _shared(rng, seed, rows, owner, origin, plane, patch.table(), patch.size)
    size, windows = table(rng)
    rows = rng.standard_normal((6, plane[0], 1, len(windows))).astype(dtype)
    # of a window that hangs over the plane only the entries on it
    odds = rng.random((3, 3, plane[0], *windows.shape)) * (windows >= 0)
    taps = odds.argmax(axis=-1)[..., None, :]
    yield _pulled(rng, seed, rows, owner, 0 * origin, taps, windows, (size,))
    line = (plane[0], 1, len(windows))
    yield _shared(rng, seed, rows, owner, 0 * origin, line, windows, (size,))


def _pulled(
    rng: np.random.Generator,
    seed: int,
    rows: Array,
    owner: Array,
    origin: Array,
    taps: Array,
    windows: Array,
    size: tuple[int, ...],
) -> tuple[str, tuple[Array, ...]]:
    """The arguments with lines, some of which are none."""
    lines = rng.standard_normal(taps.shape)
    lines[:, 1] = rng.random(lines[:, 1].shape)
    if seed % 2:
        for k, end in ((0, -np.inf), (2, np.inf)):
            lines[:, k][rng.random(lines[:, k].shape) < 0.1] = end
    args = (spoilt(rng, rows, seed), owner, origin, taps, lines, windows, int(np.prod(size)))
    return "pull_windows", args


def _shared(
    rng: np.random.Generator,
    seed: int,
    rows: Array,
    owner: Array,
    origin: Array,
    plane: tuple[int, ...],
    windows: Array,
    size: tuple[int, ...],
) -> tuple[str, tuple[Array, ...]]:
    """The arguments with weights of entries, and constants, some of which are none."""
    weights = rng.random((3, 2, windows.shape[1], *plane))
    if plane[1] == 1 and len(windows) == plane[2]:
        weights *= (windows >= 0).T[:, None, None, :]
    constants = rng.standard_normal((3, 2, *plane))
    if seed % 2:
        for k, end in enumerate((-np.inf, np.inf)):
            constants[:, k][rng.random(constants[:, k].shape) < 0.1] = end
    arrays = spoilt(rng, rows, seed), owner, origin, weights, constants, windows
    return "pull_means", (*arrays, int(np.prod(size)))
