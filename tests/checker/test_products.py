"""Planes about products against exact arithmetic, and what runtimes may make of products."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import onnx
import pytest
from checker.test_reader import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network.models import model, node
from network.test_gates import BLENDS, written
from runtime_cases import session

from boundcert.checker.curve import Array
from boundcert.checker.nodes import Affine, Graph, Input, Product
from boundcert.checker.products import Ends, corner_floor, ends_of, planes
from boundcert.checker.runtime import FUSED, runs_of, runtime_error
from examples import examples

seeds = st.integers(0, 2**32 - 1)
F = np.float32


def boxes(rng: np.random.Generator, n: int) -> Ends:
    """Boxes of all sizes and places, some of them points."""
    scale = 10.0 ** rng.choice([-160, -30, -8, 0, 0, 0, 3, 30, 150], n)
    middle = rng.standard_normal(n) * rng.choice([0.0, 1.0, 1e6], n)
    ends = np.sort(middle + rng.standard_normal((2, n)) * rng.choice([0.0, 1e-9, 1.0], n), axis=0)
    return ends[0] * scale, ends[1] * scale


def points(rng: np.random.Generator, low: float, high: float) -> list[Fraction]:
    one, other = Fraction(low), Fraction(high)
    return [one, other, *(one + (other - one) * Fraction(t) for t in rng.random(3))]


def _plane(
    rng: np.random.Generator, side: float, u: Ends, v: Ends, drawn: bool
) -> tuple[Ends, Array]:
    """Slopes of a plane below ``side``·uv, and its constant."""
    if drawn:
        lines = planes(u, v, (u[0], v[1]))
        assert lines.others is not None
        if side > 0:
            return (lines.below_slope, lines.others[0]), lines.below
        return (-lines.above_slope, -lines.others[1]), -lines.above
    first, other = rng.standard_normal((2, 6)) * 10.0 ** rng.choice([-30, 0, 30], (2, 6))
    return (first, other), corner_floor(side, (first, other), u, v)


@settings(max_examples=examples(60), deadline=None)
@given(seed=seeds, side=st.sampled_from([1.0, -1.0]), drawn=st.booleans())
def test_planes_are_below_and_above(seed: int, side: float, drawn: bool) -> None:
    """In exact arithmetic; slopes as they are drawn, or any at all."""
    rng, n = np.random.default_rng(seed), 6
    u, v = boxes(rng, n), boxes(rng, n)
    with np.errstate(all="ignore"):
        steep, at = _plane(rng, side, u, v, drawn)
        ends = [e.tolist() for e in ends_of(u, v)]
    for k in range(n):
        g, h = Fraction(steep[0][k]), Fraction(steep[1][k])
        for a in points(rng, u[0][k], u[1][k]):
            for b in points(rng, v[0][k], v[1][k]):
                for sign, end in zip((1, -1), (ends[0][k], -ends[1][k])):
                    assert end == -math.inf or sign * a * b >= Fraction(end)
                if math.isfinite(at[k]):
                    assert int(side) * a * b - g * a - h * b >= Fraction(at[k])


def test_planes_are_as_close_as_can_be() -> None:
    """McCormick's gap in the middle of boxes is the product of their radii."""
    u, v = (
        (np.array([-1.0, 2.0]), np.array([3.0, 2.5])),
        (np.array([0.0, -4.0]), np.array([0.5, 1.0])),
    )
    middle = [0.5 * (e[0] + e[1]) for e in (u, v)]
    gap = 0.25 * (u[1] - u[0]) * (v[1] - v[0])
    lines = planes(u, v, (middle[0], middle[1]))
    assert lines.others is not None
    value = middle[0] * middle[1]
    below = lines.below_slope * middle[0] + lines.others[0] * middle[1] + lines.below
    above = lines.above_slope * middle[0] + lines.others[1] * middle[1] + lines.above
    np.testing.assert_allclose(value - below, gap, rtol=1e-12)
    np.testing.assert_allclose(above - value, gap, rtol=1e-12)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_bounds_nothing(wrong: float) -> None:
    fine, odd = (-np.ones(1), np.ones(1)), (-np.ones(1), np.array([wrong]))
    with np.errstate(all="ignore"):
        for u, v in ((fine, odd), (odd, fine)):
            assert corner_floor(1.0, fine, u, v)[0] == -math.inf
            assert not np.isfinite(planes(u, v, (np.zeros(1), np.zeros(1))).below).any()
        assert corner_floor(1.0, odd, fine, fine)[0] == -math.inf


def _error_at(graph: Graph, x: Array) -> Array:
    """Of the one product, in float32, at a point."""
    found: list[Array] = []
    runs = runs_of(graph, 2.0)
    for k, n in enumerate(graph.nodes):
        operands = [found[i] for i in n.inputs]
        if isinstance(n, Product):
            error = runtime_error(graph, runs, k, [np.abs(f) for f in found], None)
            assert error is not None
            return error
        if isinstance(n, Input):
            found.append(x)
        elif isinstance(n, Affine):
            found.append(n.bias + sum(m.forward(o) for m, o in zip(n.maps, operands)))
        else:
            raise AssertionError(n)
    raise AssertionError("no product")


@settings(max_examples=examples(30), deadline=None)
@given(seed=seeds, power=st.floats(-44, 38), optimised=st.booleans())
def test_a_product_errs_no_more(seed: int, power: float, optimised: bool) -> None:
    """Of both halves of a vector, in onnxruntime, down to numbers that underflow."""
    nodes = [node("Split", "x s", "a b", axis=1), node("Mul", "a b")]
    made = model(nodes, [1, 8], {"s": np.array([4, 4])}, outputs=["y"])
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(8) * 10.0 ** (power * rng.choice([0.0, 0.5, 1.0, -1.0], 8))
    x = np.clip(x, -3e38, 3e38).astype(F)
    found = session(made, optimised).run(None, {"x": x[None]})[0].ravel().astype(np.float64)
    error = _error_at(graph_of(made), x.astype(np.float64))
    exact = x[:4].astype(np.float64) * x[4:].astype(np.float64)
    known = np.isfinite(error)
    assert (np.abs(found - exact)[known] <= error[known]).all()
    if abs(power) < 13:
        assert np.isfinite(error).all()


def test_a_blend_errs_as_its_products_do() -> None:
    """Where h is x all of what x + t·(h − x) adds vanishes, but not what a runtime rounds."""
    graph = graph_of(written(BLENDS["highway"]))
    k, sizes, runs = len(graph.nodes) - 1, [np.zeros(7) for _ in graph.nodes], runs_of(graph, 2.0)
    x, added, t, h = graph.nodes[k].inputs
    assert runtime_error(graph, runs, added, sizes, None) is None
    for gate in (0.0, 1.0):
        # all of the one, or the other
        sizes[t], sizes[x if gate else h] = np.full(7, gate), np.zeros(7)
        sizes[h if gate else x] = np.full(7, 1e3)
        error = runtime_error(graph, runs, k, sizes, None)
        assert error is not None and (error > 20 * 2.0**-24 * 1e3).all() and (error < 1e-2).all()


def test_a_blend_may_be_fused_into_the_sums_that_read_it() -> None:
    text, found = BLENDS["highway"].replace("y = Add a b", "z = Add a b"), []
    for width in (1, 100):
        made = written(text + "; y = Neg z")
        made.graph.node.pop()
        made.graph.node.append(node("MatMul", "z w"))
        weight = np.zeros((7, width), dtype=F)
        made.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
        graph = graph_of(made)
        (k,) = (k for k, n in enumerate(graph.nodes) if isinstance(n, Affine) and n.rounds)
        sizes = [np.ones(n.n) for n in graph.nodes]
        error = runtime_error(graph, runs_of(graph, 2.0), k, sizes, None)
        plain = runtime_error(
            graph, dataclasses.replace(runs_of(graph, 2.0), behind={}), k, sizes, None
        )
        assert error is not None and plain is not None
        assert (error > plain * (1 + 6 / (FUSED + 6))).all()
        found.append(error)
    # so many terms a sum has, however many sums there are
    np.testing.assert_array_equal(*found)


def test_what_may_overflow_has_no_bound() -> None:
    graph = Graph((Input(1), Input(1), Product(1, (0, 1))), 2.0**-24, 2.0**-126, 2.0**126)
    for u, v in ((1e20, 1e20), (1e38, 0.0), (math.inf, 0.0), (math.nan, 1.0)):
        with np.errstate(all="ignore"):
            error = runtime_error(
                graph, runs_of(graph, 2.0), 2, [np.array([u]), np.array([v])], None
            )
        assert error is not None and error[0] == math.inf
