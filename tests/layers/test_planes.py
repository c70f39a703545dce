"""Planes about products at the corners of boxes, where they are attained, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.layers.product import Product
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from examples import examples

N = 16
SHAPE = (1, N)


def box(rng: np.random.Generator) -> Box:
    """Narrow and wide boxes near and far from 0, points at ends and inside."""
    point = torch.from_numpy(rng.standard_normal((1, *SHAPE)) * 10.0 ** rng.uniform(-6, 9))
    wide = point.abs() * 10.0 ** rng.uniform(-16, 2)
    below, above = (
        wide * torch.from_numpy(rng.random((1, *SHAPE))).round(decimals=1) for _ in "ab"
    )
    return Box(point - below, point + above, point)


@settings(max_examples=examples(60), deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_planes_hold_at_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes = box(rng), box(rng)
    value = boxes[0].point * boxes[1].point
    planes = Product((SHAPE, SHAPE), SHAPE, "Mul").relax(boxes, value)
    index = torch.arange(N)
    for sign in (1.0, -1.0):
        signs = torch.full((N,), sign, dtype=torch.float64)
        (one, other), rest = planes.below(Rows.units(index, 0 * index, signs, SHAPE))
        for i in range(N):
            places = [(b.low[0, 0, i], b.high[0, 0, i]) for b in boxes]
            p, q = (Fraction(float(b.point[0, 0, i])) for b in boxes)
            c, d = (Fraction(float(rows.flat(SHAPE)[i, 0, i])) for rows in (one, other))
            for ends in product(*places):
                u, v = (Fraction(float(x)) for x in ends)
                least = c * (u - p) + d * (v - q) + Fraction(float(rest[i]))
                moved = u * v - Fraction(float(value[0, 0, i]))
                assert least <= Fraction(sign) * moved
