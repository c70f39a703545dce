"""What the twins of the kernels on rows are tried with, and their agreement with the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from boundcert.kernels import backend
from boundcert.kernels.ball_reference import BASE, BELOW, HIGH, LOW

Array = Any
Case = tuple[str, tuple[Any, ...]]


SEEDS = range(12)
DTYPES = (np.float64, np.float32)
NORMS = (1.0, 2.0, np.inf)
#: Those of what a multiplier is searched for; sums are in another order.
BALLS = (1e-11, 1e-11)


def agree(kernels: Any, cases: Iterator[Case], rtol: float = 1e-12, atol: float = 1e-300) -> None:
    truth = backend("reference")
    for name, args in cases:
        ours, theirs = getattr(kernels, name)(*args), getattr(truth, name)(*args)
        pairs = zip(ours, theirs) if isinstance(theirs, tuple) else [(ours, theirs)]
        for at, (one, other) in enumerate(pairs):
            assert one.shape == other.shape and one.dtype == other.dtype, (name, at)
            with np.errstate(invalid="ignore"):
                close = np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=True)
            assert close.all(), (name, at, one[~close], other[~close])


def spoilt(rng: np.random.Generator, values: Array, seed: int) -> Array:
    """Zeros everywhere, and in some cases what arithmetic must not lose."""
    values[rng.random(values.shape) < 0.2] = 0.0
    if seed % 3 == 1:
        for number in (np.nan, np.inf, -np.inf)[: 1 + seed // 3]:
            values[rng.random(values.shape) < 0.02] = number
    return values


def row_cases(seed: int, dtype: type) -> Iterator[Case]:
    rng = np.random.default_rng(seed)
    count, channels, samples = 6, int(rng.integers(1, 4)), 3
    plane = (int(rng.integers(1, 7)), int(rng.integers(1, 7)))
    patch = (int(rng.integers(0 if seed == 5 else 1, 9)), int(rng.integers(1, 9)))
    origin = rng.integers(-10, 9, (count, 2))
    owner = rng.integers(0, samples, count)
    rows = spoilt(rng, rng.standard_normal((count, channels, *patch)).astype(dtype), seed)
    # with infinities among the lines, which coefficients of 0 must not meet
    lines = [rng.standard_normal((samples, channels, *plane)).astype(dtype) for _ in range(4)]
    if seed % 2:
        lines[1][rng.random(lines[1].shape) < 0.1] = -np.inf
        lines[3][rng.random(lines[3].shape) < 0.1] = np.inf
    yield "pull_lines", (rows, owner, origin, *lines)
    yield "scale", (rows, owner, origin, lines[0])
    yield "scale", (rows, owner, origin, lines[0][:1])
    yield "weigh", (rows, owner, origin, abs(lines[1]))
    yield "weigh", (rows, owner, origin, abs(lines[0]).astype(np.float64))
    # squares that underflow or overflow, and the largest entries off the plane
    size = dtype(10.0) ** rng.integers(-15, 15) if dtype is np.float32 else 10.0 ** (10 * seed)
    for q in NORMS:
        yield "dual_norm", ((rows * size).astype(dtype), origin, plane, q)


def fold_arguments(seed: int, dtype: type) -> tuple[Any, ...]:
    rng = np.random.default_rng(1000 + seed)
    rows, channels = 4, int(rng.integers(1, 3))
    tall, broad, high, wide = (int(x) for x in rng.integers(1, 5, 4))
    if seed == 3:
        high = 0
    plane = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    stride, dilation = (tuple(int(x) for x in rng.integers(1, 4, 2)) for _ in range(2))
    first = rng.integers(-5, 6, (rows, 2))
    extent = (
        (high - 1) * stride[0] + (tall - 1) * dilation[0] + 1,
        (wide - 1) * stride[1] + (broad - 1) * dilation[1] + 1,
    )
    if seed % 2:
        # the whole plane, or a patch that covers every tap and may leave the plane
        origin, size = np.zeros((rows, 2), dtype=np.int64), plane
    else:
        origin, size = first - 1, (max(extent[0], 0) + 2, extent[1] + 3)
    columns = rng.standard_normal((rows, channels, tall, broad, high, wide)).astype(dtype)
    out = rng.standard_normal((rows, channels, *size)).astype(dtype)
    return spoilt(rng, columns, seed), first, origin, plane, stride, dilation, out


def places(rng: np.random.Generator, seed: int) -> tuple[Array, Array, Array, tuple[int, ...]]:
    """Rows on patches that hang over the plane or miss it, with zeros; owner, origin, (C, H, W)."""
    count, channels = 6, int(rng.integers(1, 4))
    plane = (channels, int(rng.integers(1, 7)), int(rng.integers(1, 7)))
    patch = (int(rng.integers(0 if seed == 5 else 1, 9)), int(rng.integers(1, 9)))
    rows = rng.standard_normal((count, channels, *patch))
    rows[rng.random(rows.shape) < 0.2] = 0.0
    return rows, rng.integers(0, 3, count), rng.integers(-5, 5, (count, 2)), plane


def pencil_arguments(seed: int, dtype: type) -> tuple[Any, ...]:
    """Those of ``pull_pencil``, with mixes at the lines, between, outside, and not a number."""
    rng = np.random.default_rng(4000 + seed)
    rows, owner, origin, plane = places(rng, seed)
    if seed % 3 == 1:
        rows[rng.random(rows.shape) < 0.02] = np.nan
    mix = rng.uniform(-0.5, 2.5, rows.shape)
    whole = rng.random(rows.shape) < 0.3
    mix[whole] = np.round(mix[whole])
    mix[rng.random(rows.shape) < 0.1] = np.nan
    table = rng.standard_normal((3, 12, *plane))
    if seed % 2:
        # no lines at all in places, which coefficients of 0 must not meet
        none = rng.random((3, *plane)) < 0.1
        for k in range(1, 12, 2):
            table[:, k][none] = -np.inf if k < 6 else np.inf
    return rows.astype(dtype), owner, origin, mix.astype(dtype), table.astype(dtype)


def pencil_cases(seed: int, dtype: type) -> Iterator[Case]:
    args = pencil_arguments(seed, dtype)
    yield "pull_pencil", args
    yield "pull_pencil", (*args[:4], args[4][:1])  # shared by the samples


def gradient_cases(seed: int, dtype: type) -> Iterator[Case]:
    args, rng = pencil_arguments(seed, dtype), np.random.default_rng(4500 + seed)
    back = rng.standard_normal(args[0].shape).astype(dtype)
    yield "pencil_gradient", (*args, back, rng.standard_normal(len(back)))


def ball_cases(seed: int) -> Iterator[Case]:
    """Functions with a kink, below which and above which lines are exact on either side."""
    rng = np.random.default_rng(5000 + seed)
    rows, owner, origin, plane = places(rng, seed)
    shape = (3, *plane)
    point, (a, b) = rng.standard_normal(shape), rng.standard_normal(2)
    low, high = point - rng.random(shape) * 2, point + rng.random(shape) * 2

    def f(z: Array) -> Array:
        return np.where(z > 0, b * z, a * z)

    value, steep = f(point), (f(high) - f(low)) / (high - low)
    cut = np.clip(0, low, high)
    chord = (steep, f(low) + steep * (point - low) - value)
    # on the other side of the chord one of the pieces, or where there is no kink the chord again
    straight, outward = (low >= 0) | (high <= 0), -1e-9 if b > a else 1e-9
    slope = np.where(straight, steep, np.where(rng.random(shape) < 0.5, a, b))
    piece = (slope, np.where(straight, chord[1] + outward, slope * point - value))
    halves = [np.full(shape, a), a * point - value, np.full(shape, b), b * point - value]
    base = [*piece, *chord] if b > a else [*chord, *piece]
    table = np.stack([low - point, high - point, cut - point, *halves, *halves, *base], axis=1)
    if seed % 3 == 1:
        rows[rng.random(rows.shape) < 0.02] = np.nan
        table[:, BASE + 1][rng.random(shape) < 0.1] = -np.inf
        table[:, :BELOW][rng.random((3, BELOW, *plane)) < 0.005] = np.nan
    if seed % 3 == 2:
        # boxes in which rounding may cost anything: the multiplier that was found is given up
        wide = rng.random(shape) < 0.02
        table[:, LOW][wide], table[:, HIGH][wide] = -1e200, 1e200
    for share in (1e-3, 0.1, 1.0, 1e3, 0.0, np.inf):
        yield "pull_ball", (rows, owner, origin, table, np.full(3, share))


def dual_cases(seed: int, dtype: type) -> Iterator[Case]:
    """The functions of :func:`ball_cases` with mixes of slopes, and multipliers of all sizes.

    Tables are in double whatever the rows are in, as those of a ball's layers.
    """
    rng = np.random.default_rng(5500 + seed)
    _, (rows, owner, origin, table, _) = next(ball_cases(seed))
    mix = rng.uniform(-0.5, 2.5, rows.shape)
    if seed % 3 == 1:
        mix[rng.random(rows.shape) < 0.1] = np.nan
    multiplier = rng.choice([1e-6, 0.1, 1.0, 1e4, 0.0, np.inf, np.nan], len(rows))
    rows, mix, square = rows.astype(dtype), mix.astype(dtype), rng.uniform(0.0, 9.0, 3)
    yield "pull_dual", (rows, owner, origin, mix, multiplier, table, square)


def dual_gradient_cases(seed: int, dtype: type) -> Iterator[Case]:
    rng = np.random.default_rng(5700 + seed)
    for _, args in dual_cases(seed, dtype):
        multiplier = rng.uniform(0.1, 5.0, len(args[0]))
        back = rng.standard_normal(args[0].shape).astype(dtype)
        weight = rng.standard_normal(len(back))
        yield "dual_gradient", (*args[:4], multiplier, *args[5:], back, weight)


def clip_arguments(seed: int, dtype: type, p: float) -> tuple[Any, ...]:
    """Those of ``clipped_norm``, for samples with entries at the sides of the box."""
    rng = np.random.default_rng(7000 + seed)
    rows, owner, origin, plane = places(rng, seed)
    if seed % 3 == 1:
        rows[rng.random(rows.shape) < 0.02] = np.nan
    below = np.clip(rng.uniform(-0.5, 1.5, (3, *plane)), 0.0, 1.0)
    eps = rng.choice([0.0, 1e-3, 0.3, 1.0, 3.0, 100.0, np.inf], len(rows))
    size = 10.0 ** rng.integers(-30, 30)
    return (rows * size).astype(dtype), owner, origin, below, 1.0 - below, eps, p


def maximum_cases(seed: int, dtype: type) -> Iterator[Case]:
    """Windows with entries that are padding, and with such as no one knows.

    Windows and lines are in double whatever the rows are in.
    """
    rng = np.random.default_rng(6000 + seed)
    rows, owner, origin, plane = places(rng, seed)
    entries = int(rng.integers(1, 5))
    z, low, high = rng.standard_normal((3, 3, *plane, entries))
    low, high = -np.abs(low), np.abs(high)
    padding = rng.random(z.shape) < 0.2
    padding[..., 0] = False
    z[padding], low[padding], high[padding] = -np.inf, 0.0, 0.0
    value, top = z.max(axis=-1), (z + high).max(axis=-1)
    best = [end.argmax(axis=-1) for end in (z + low, z + high, z)]
    bottom = np.take_along_axis(z, best[0][..., None], -1)[..., 0] - value
    slope = rng.random(value.shape)
    windows = np.stack((value[..., None] - z, low, high), axis=-1)
    if seed % 3 == 1:
        rows[rng.random(rows.shape) < 0.02] = np.nan
        windows[rng.random(windows.shape) < 0.01] = np.nan
        # ends that bound nothing, on the right side and on the wrong one
        for number in (np.inf, -np.inf):
            windows[..., 1:][rng.random((*windows.shape[:-1], 2)) < 0.005] = number
    lines = np.stack([bottom, slope, top - value], axis=1)
    if seed % 3 == 2:
        # boxes in which rounding may cost something, or anything, those of padding among them
        windows[padding, 1:] = -1e7, 1e7
        for sample, share, far in ((0, 0.1, 1e7), (1, 0.05, 1e200), (2, 0.2, 1e200)):
            windows[sample, ..., 1:][rng.random(padding[0].shape) < share] = -far, far
    if seed % 3:
        # no line above, in places not even a floor
        lines[:2, 2][rng.random((2, *plane)) < 0.1] = np.inf
    rows = rows.astype(dtype)
    for share in (1e-3, 0.1, 1.0, 1e3, 0.0, np.inf):
        args = (np.stack(best, axis=1), lines, windows, np.full(3, share))
        yield "pull_maximum", (rows, owner, origin, *args)


def dual_maximum_cases(seed: int, dtype: type) -> Iterator[Case]:
    """The windows of :func:`maximum_cases` with multipliers of all sizes."""
    rng = np.random.default_rng(6500 + seed)
    _, args = next(maximum_cases(seed, dtype))
    multiplier = rng.choice([1e-6, 0.1, 1.0, 1e4, 0.0, np.inf, np.nan], len(args[0]))
    yield "pull_dual_maximum", (*args[:3], multiplier, *args[3:-1], rng.uniform(0.0, 9.0, 3))


def dual_maximum_gradient_cases(seed: int, dtype: type) -> Iterator[Case]:
    rng = np.random.default_rng(6700 + seed)
    for _, args in dual_maximum_cases(seed, dtype):
        multiplier = rng.uniform(0.1, 5.0, len(args[0]))
        back = rng.standard_normal(args[0].shape).astype(dtype)
        weight = rng.standard_normal(len(back))
        yield "dual_maximum_gradient", (*args[:3], multiplier, *args[4:], back, weight)
