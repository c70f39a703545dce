"""The checker's lines along activations against longer precision."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from exact_cases import CASES, PARAMETERS, boxes, positive, samples, seeds, shape, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.checker.builder import TYPES
from boundcert.checker.curve import NOWHERE
from boundcert.checker.curves import CURVES
from boundcert.checker.floors import floor
from boundcert.checker.nodes import Bend, Graph, Input
from boundcert.checker.runtime import runs_of, runtime_error
from boundcert.layers.activation_accuracy import Use
from boundcert.layers.activation_table import ACTIVATIONS
from boundcert.layers.arithmetic import BY_CODE, FLOAT32, FLOAT64, Arithmetic
from boundcert.layers.relaxation import Box
from examples import examples

mpmath.mp.dps = 40
#: Straight lines, and curves that bend the other way, are not taken.
REFUSED = (
    *(("HardSigmoid", 0.0, 0.2), ("Elu", -0.8, 0.0), ("Clip", 0.25, 0.25), ("Selu", -1.2, 0.9)),
    *(("Pow", a, 0.0) for a in (0.0, 1.0)),
)
KNOWN = [
    ("LeakyRelu" if case[0] == "PRelu" else case[0], *case[1:])
    for case in CASES
    if case[0] in (*CURVES, "PRelu") and case not in REFUSED
]
#: Slopes of the right size, any slopes, and such as no number of that size is one of.
SLOPES = (0.0, 1.0, -1.0, 1e-30, 0.25, 1e6, -1e12)


@settings(max_examples=examples(60), deadline=None)
@given(case=st.sampled_from(KNOWN), side=st.sampled_from([1.0, -1.0]), seed=seeds)
def test_floors_are_below(case: tuple[str, float, float], side: float, seed: int) -> None:
    name, a, b = case
    rng = np.random.default_rng(seed)
    low, high = (e[0] for e in boxes(rng, name, a, shape(name, a, b)[1][2], 8))
    slope = np.where(rng.random(8) < 0.7, rng.standard_normal(8), rng.choice(SLOPES, 8))
    with np.errstate(all="ignore"):
        least = floor(name, side, slope, low, high, np.array([a]), b)
    kinks = [k for start, end, _ in CURVES[name].pieces(a, b) for k in (start, end)]
    for k in range(8):
        for z in samples(rng, low[k], high[k], *kinks):
            line = mpmath.mpf(slope[k]) * mpmath.mpf(z)
            assert side * truth(name, z, a, b) - line >= mpmath.mpf(least[k]), (z, slope[k])
    sane = (np.abs(slope) <= 10) & (np.maximum(np.abs(low), np.abs(high)) <= 100)
    # a root rises as fast as anything at 0
    sane &= (low > 0) | (not positive(name, a))
    assert np.isfinite(least[sane]).all()


@pytest.mark.parametrize("name", sorted(CURVES))
def test_floors_are_not_far_below(name: str) -> None:
    """With the slope of a chord or a tangent, what is left is what the curve bends."""
    a, b = PARAMETERS.get(name, (0.3, 0.0))
    start = 0.5 if positive(name, a) else -1.5
    low, high = np.full(5, start), np.full(5, 2.0)
    slope = np.linspace(0.0, 1.0, 5)
    grid = np.linspace(start, 2.0, 10001)
    slope = slope * (CURVES[name].value(high, np.array([a]), b)[0] / 2.0)
    for side in (1.0, -1.0):
        value = side * CURVES[name].value(grid, np.array([a]), b) - slope[:, None] * grid
        least = floor(name, side, slope, low, high, np.array([a]), b)
        assert (least <= value.min(axis=1)).all() and (least > value.min(axis=1) - 1e-3).all()


@pytest.mark.parametrize("end", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", sorted(CURVES))
def test_what_is_no_number_has_no_floor(name: str, end: float) -> None:
    for low, high, slope in ((end, 1.0, 0.5), (-1.0, end, 0.5), (-1.0, 1.0, end)):
        about = (np.array([v]) for v in (slope, low, high, 0.3))
        with np.errstate(all="ignore"):
            least = floor(name, 1.0, *about, 0.9)
        assert least[0] == -math.inf


@settings(max_examples=examples(30), deadline=None)
@given(case=st.sampled_from(KNOWN), seed=seeds)
def test_pieces_bend_as_they_say(case: tuple[str, float, float], seed: int) -> None:
    name, a, b = case
    curve, rng = CURVES[name], np.random.default_rng(seed)
    pieces = curve.pieces(a, b)
    assert pieces[0][0] == -math.inf and pieces[-1][1] == math.inf
    assert all(
        left[1] <= right[0] <= np.nextafter(left[1], math.inf) for left, right in pairwise(pieces)
    )
    for start, end, sign in pieces:
        if sign == NOWHERE:
            continue
        first, last = max(start, min(end, 0.0) - 9.0), min(end, max(start, 0.0) + 9.0)
        x, y = np.sort(first + (last - first) * rng.random(2))
        chord = (truth(name, x, a, b) + truth(name, y, a, b)) / 2
        bent = chord - truth(name, (mpmath.mpf(x) + mpmath.mpf(y)) / 2, a, b)
        noise = 1e-14 * (1 + abs(chord) + abs(x) + abs(y))
        assert sign * bent >= -noise and (sign != 0 or abs(bent) <= noise)
        if sign:
            slope = curve.derivative(np.array([x]), np.array([a]), b)[0]
            near = mpmath.diff(lambda z: truth(name, z, a, b), x)
            assert abs(slope - near) <= 1e-9


@pytest.mark.parametrize("kind", [FLOAT32, FLOAT64], ids=lambda kind: kind.name)
@pytest.mark.parametrize(("name", "a", "b"), KNOWN)
def test_a_runtime_may_err_as_much_as_the_layers_say(
    name: str, a: float, b: float, kind: Arithmetic
) -> None:
    if name == "Clip":
        a, b = float(np.float32(a)), float(np.float32(b))
    size = np.array([0.0, 1e-30, 1e-3, 1.0, 7.0, 300.0, 1e20, kind.largest / 3])
    least = 0.5 * size if positive(name, a) else -size
    graph = Graph(
        (Input(8), Bend(8, (0,), name, np.array([a]), b)), kind.unit, kind.tiny, kind.largest
    )
    with np.errstate(all="ignore"):
        own = runtime_error(graph, runs_of(graph, 2.0), 1, [size], None, (least, size))
        out = np.maximum(*(np.abs(CURVES[name].value(x, np.array([a]), b)) for x in (least, size)))
    box = Box(*(torch.from_numpy(x)[None] for x in (least, size, size)))
    use = Use(box, torch.from_numpy(out)[None], abs(a), abs(b), math.inf)
    if name == "Pow":
        use = dataclasses.replace(use, a=a)
    theirs = ACTIVATIONS[name].accuracy(kind, use)
    assert (own is None) == (theirs is None)
    assert own is None or theirs is None or (own >= theirs[0].numpy() * (1 - 1e-12)).all()


def test_types_are_those_of_the_runtime() -> None:
    for code, (unit, tiny, largest) in TYPES.items():
        assert (unit, tiny, largest) == (
            BY_CODE[code].unit,
            BY_CODE[code].tiny,
            BY_CODE[code].largest,
        )
