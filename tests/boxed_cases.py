"""Primitive layers with boxes about samples, points of these, and rows: for relaxation tests."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from layer_cases import CASES, Case

from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Layer
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.merge import Add, Concat
from boundcert.layers.product import Product
from boundcert.layers.relaxation import Box, Choice, Relaxation
from boundcert.layers.rows import Rows, plane_of

#: Room for the rounding of the test's own sums, in units of what they add up.
ROOM = 1e-11

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1e-9, 1e-2, 1.0, 30.0, 1e5])
widths = st.sampled_from([0.0, 1e-9, 1e-2, 1.0, 10.0])


def primitive(case: Case) -> bool:
    layer, _ = case.build(np.random.default_rng(0))
    return type(layer) in (Add, Concat, Product, Elementwise, MaxPool) or isinstance(layer, Affine)


def elementwise(case: Case) -> bool:
    layer, _ = case.build(np.random.default_rng(0))
    return type(layer) is Elementwise


CHOSEN = [case for case in CASES if primitive(case)]


def boxed(case: Case, rng: np.random.Generator, scale: float, width: float, samples: int):  # type: ignore[no-untyped-def]
    """A layer, boxes of its operands about computed points, and the value there."""
    layer, shapes = case.build(rng)
    boxes = []
    for shape in shapes:
        point = np.clip(
            rng.standard_normal((samples, *shape)) * scale, case.low, min(case.high, 1e6)
        )
        share = rng.random((2, samples, *shape)) * (rng.random((1, samples, *shape)) < 0.8)
        low = np.maximum(point - share[0] * width * scale, case.low)
        high = np.minimum(point + share[1] * width * scale, case.high)
        boxes.append(Box(*(torch.from_numpy(v) for v in (low, high, point))))
    return layer, tuple(boxes), layer.forward(*(box.point for box in boxes))


def inside(rng: np.random.Generator, boxes: tuple[Box, ...], kind: int) -> list[torch.Tensor]:
    """Points of the boxes: uniform, corners, faces, the samples themselves."""
    points = []
    for box in boxes:
        t = torch.from_numpy(rng.random(box.low.shape))
        if kind == 1:
            t = t.round()
        elif kind == 2:
            t = torch.clamp(3 * t - 1, 0, 1)
        z = box.point if kind == 3 else box.low + t * (box.high - box.low)
        points.append(torch.minimum(torch.maximum(z, box.low), box.high))
    return points


def some_rows(
    rng: np.random.Generator, owner: torch.Tensor, shape: tuple[int, ...], patches: bool
) -> Rows:
    """Random rows of a value of this shape; on patches that hang over it, if it has any."""
    channels, high, wide = plane_of(shape)
    patch = (high, wide)
    if patches and high > 1:
        patch = (int(rng.integers(1, high + 2)), int(rng.integers(1, wide + 2)))
    values = rng.standard_normal((len(owner), channels, *patch))
    values = torch.from_numpy(values * (rng.random(values.shape) < 0.7))
    if not patches or high == 1:
        return Rows.of(values.reshape(len(owner), *shape), owner, shape)
    origin = torch.from_numpy(rng.integers(-2, max(high, wide), size=(len(owner), 2)))
    rows = Rows(values, values.abs().flatten(1).sum(dim=1) * (1 + 1e-9), owner, origin, False)
    on_plane = rows.patches(torch.ones(1, *shape, dtype=torch.float64))
    return rows.with_values(values * on_plane, rows.mass)


def some_choice(
    rng: np.random.Generator, relaxation: Relaxation, rows: Rows, ball: bool = False
) -> Choice:
    """Random lines for rows; with a ball random slopes and multipliers for most of them, too."""
    mix = torch.from_numpy(rng.uniform(-0.3, 2.3, rows.values.shape)).float()
    if not ball:
        return Choice(mix)
    level = relaxation.start(rows).level
    level = torch.zeros(len(rows), dtype=torch.float64) if level is None else level
    level = level + torch.from_numpy(rng.standard_normal(len(rows))) * 2
    return Choice(mix, level, torch.from_numpy(rng.random(len(rows)) < 0.8))


def exact(layer: Layer, points: list[torch.Tensor]) -> np.ndarray:
    return layer.forward(*points).numpy().astype(np.longdouble)
