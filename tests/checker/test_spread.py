"""2-norms of deviations, and what multipliers make of them, refuted by points if they can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.checker.curves import CURVES
from boundcert.checker.nodes import Bend
from boundcert.checker.spread import bends_of, dual, norm_bound, two_pieces
from examples import examples

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1e-30, 1e-3, 1.0, 1e5, 1e30])


def kinked(rng: np.random.Generator, n: int, name: str) -> Bend:
    a = rng.uniform(-0.5, 1.5, n) if name == "LeakyRelu" else np.zeros(1)
    return Bend(n, (0,), name, a, 0.0)


def box(rng: np.random.Generator, n: int, scale: float) -> tuple[np.ndarray, ...]:
    """Ends of a box, and a point of it."""
    ends = np.sort(rng.standard_normal((2, n)), axis=0) * scale
    share = rng.random(n)
    return ends[0], ends[1], np.clip(ends[0] + share * (ends[1] - ends[0]), ends[0], ends[1])


@settings(max_examples=examples(100), deadline=None)
@given(
    seed=seeds,
    name=st.sampled_from(["Relu", "Abs", "LeakyRelu"]),
    scale=scales,
    beyond=st.sampled_from([0.0, 0.0, 1e-9, 1.0]),
)
def test_chords_have_slopes_within_the_middle_and_half(
    seed: int, name: str, scale: float, beyond: float
) -> None:
    """From points beside the box, too: where these are rounded to is another side."""
    rng = np.random.default_rng(seed)
    node = kinked(rng, 9, name)
    assert two_pieces(node)
    low, high, point = box(rng, 9, scale)
    if beyond and seed % 3 == 0:
        low, high, point = 0 * low, 0 * low, beyond * point
    elif beyond:
        low, high = (np.maximum(low, 0), np.abs(high)) if seed % 2 else (-np.abs(high), 0 * high)
        point = low - beyond * scale if seed % 2 else high + beyond * scale
    bends, middle = bends_of(node, low, high, point)
    half = np.zeros(9)
    half[bends.entries] = bends.half
    value = CURVES[name].value
    for share in (0.0, 0.3, 0.7, 1.0, *rng.random(5)):
        z = low + share * (high - low)
        rest = value(z, node.a, 0.0) - value(point, node.a, 0.0) - middle * (z - point)
        size = np.abs(value(z, node.a, 0.0)) + np.abs(value(point, node.a, 0.0)) + np.abs(z - point)
        assert (np.abs(rest) <= half * np.abs(z - point) + 1e-15 * size).all()


@settings(max_examples=examples(100), deadline=None)
@given(seed=seeds, scale=st.sampled_from([1e-30, 1.0, 1e30]))
def test_the_norm_of_a_sum_of_images_is_bounded(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    weight = np.where(rng.random(count) < 0.2, 0.0, rng.random(count))
    parts = [
        (rng.standard_normal((count, int(rng.integers(1, 12)))) * scale, float(rng.random()))
        for _ in range(int(rng.integers(1, 4)))
    ]
    bound = norm_bound(parts, weight)
    for _ in range(20):
        # all sources push the same way
        way = rng.standard_normal(count) * weight
        total = np.zeros(count)
        for rows, size in parts:
            e = rows.T @ (weight * way)
            total += rows @ (e / (np.linalg.norm(e) or 1.0) * size)
        assert np.linalg.norm(weight * total) <= bound * (1 + 1e-14)
    if len(parts) == 1:
        rows, size = parts[0]
        exact = np.linalg.norm((weight * size)[:, None] * rows, 2)
        assert bound <= exact * (1 + 1e-3) + 1e-139


def test_no_number_bounds_nothing() -> None:
    for wrong in (math.inf, math.nan):
        rows = np.array([[1.0, wrong]])
        assert not norm_bound([(rows, 1.0)], np.ones(1)) < math.inf


@settings(max_examples=examples(200), deadline=None)
@given(seed=seeds, name=st.sampled_from(["Relu", "Abs", "LeakyRelu"]), scale=scales)
def test_the_dual_bound_holds_in_box_and_ball(seed: int, name: str, scale: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    node = kinked(rng, n, name)
    low, high, point = box(rng, n, scale)
    low, high = np.minimum(low, -scale * 1e-3), np.maximum(high, scale * 1e-3)
    bends, _ = bends_of(node, low, high, point)
    at = bends.entries
    if not len(at):
        return
    c = rng.standard_normal((3, len(at)))
    slopes = rng.uniform(-1.0, 1.5, (2, len(at)))
    level = 2.0 ** rng.integers(-6, 6, 3) / scale
    g, least = dual(c, level, bends, *slopes)
    points = [low[at], high[at], point[at], np.zeros(len(at)), -point[at]]
    points += list(low[at] + rng.random((40, len(at))) * (high - low)[at])
    for z in points:
        z = np.clip(z, low[at], high[at])
        apart = ((z - point[at]) ** 2).sum()
        sigma = CURVES[name].value(z, node.a[at] if node.a.size > 1 else node.a, 0.0)
        found = c @ sigma - g @ z + 0.5 * level * apart
        size = np.abs(c) @ np.abs(sigma) + np.abs(g) @ np.abs(z) + 0.5 * level * apart
        assert (found >= least - 1e-13 * size).all()


@pytest.mark.parametrize("name", ["Sigmoid", "Clip", "Elu"])
def test_other_activations_are_left_alone(name: str) -> None:
    assert not two_pieces(Bend(1, (0,), name, np.array([-1.0]), 1.0))
