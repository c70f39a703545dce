"""Activations written out as products: read as what they are, and only such as are."""

from __future__ import annotations

import numpy as np
import pytest
from checker.graphs import values
from checker.test_reader import assert_as_in_runtime, graph_of
from network.models import model, node
from network.test_gates import APART, BLENDS, NO_BLENDS, WRITTEN, written

from boundcert.checker.nodes import Affine, Bend, Graph, Product

F = np.float32


def bends(graph: Graph) -> list[str]:
    return [n.name for n in graph.nodes if isinstance(n, Bend)]


def products(graph: Graph) -> list[bool]:
    """Of each whether it is one that a runtime computes, and not a highway's."""
    return [not n.free for n in graph.nodes if isinstance(n, Product)]


@pytest.mark.parametrize("case", WRITTEN)
def test_becomes_one_activation(case: str) -> None:
    name, text = WRITTEN[case]
    graph = graph_of(written(text))
    assert bends(graph) == [name] and not products(graph)
    # HardSigmoid's 1/6 is a float32, which takes two factors of about 1
    assert len(graph.nodes) == (4 if case == "hard_swish" else 2)
    assert_as_in_runtime(written(text), graph)


@pytest.mark.parametrize("case", APART)
def test_others_stay_apart(case: str) -> None:
    graph = graph_of(written(APART[case]))
    assert len(products(graph)) >= 1
    assert_as_in_runtime(written(APART[case]), graph)


#: Whose factors are far from the operand's size, alone or together.
FAR = {
    "operand": "p = Mul x eight; s = Sigmoid x; y = Mul p s",
    "together": "p = Mul x two; s = Sigmoid x; g = Mul s two; y = Mul p g",
    "faint_together": "p = Mul x half; s = Sigmoid x; g = Mul s half; y = Mul p g",
    "another_cube": "d = Pow x three; k = Mul d half; u = Add x k; t = Mul u beta; "
    "h = Tanh t; s = Add h one; p = Mul x half; y = Mul p s",
    "of_two": "p = Mul x two; e = Erf x; s = Add e one; y = Mul p s",
}


@pytest.mark.parametrize("case", FAR)
def test_factors_of_any_size_stay_apart(case: str) -> None:
    graph = graph_of(written(FAR[case]))
    assert products(graph) == [True]
    assert_as_in_runtime(written(FAR[case]), graph)


def test_a_flat_gate_stays_apart() -> None:
    """y = 0.12x is far from x."""
    nodes = [node("HardSigmoid", "x", "s", alpha=0.02, beta=0.5), node("Mul", "x s")]
    made = model(nodes, [1, 7])
    assert products(graph_of(made)) == [True]
    assert_as_in_runtime(made, graph_of(made))


@pytest.mark.parametrize("case", [*BLENDS, *NO_BLENDS])
def test_highway_gates_are_one_product(case: str) -> None:
    made = written({**BLENDS, **NO_BLENDS}[case])
    graph = graph_of(made)
    # a negated gate plus 1 is as good to the importer
    assert (products(graph) == [False]) == (case == "highway"), products(graph)
    assert_as_in_runtime(made, graph)


def test_what_is_computed_by_other_numbers_is_no_gate() -> None:
    """A normalisation of one gain for all, which a runtime may go about in large steps."""
    ones, zeros = np.ones(3, dtype=F), np.zeros(3, dtype=F)
    stored = {"g": 2 * ones, "z": zeros, "v": ones}
    nodes = [
        node("BatchNormalization", "x g z z v", "n", epsilon=0.0),
        node("Sigmoid", "n", "s"),
        node("Mul", "x s"),
    ]
    made = model(nodes, [1, 3], stored)
    graph = graph_of(made)
    assert bends(graph) == ["Sigmoid"] and products(graph) == [True]
    assert_as_in_runtime(made, graph)


def test_factors_are_broadcast() -> None:
    nodes = [
        node("Mul", "x w", "a"),
        node("Transpose", "a", "t", perm=[1, 0]),
        node("Mul", "a t", "p"),
        node("Flatten", "p", axis=0),
    ]
    made = model(nodes, [1, 3], {"w": np.array([1, 2, 3], dtype=F)})
    graph = graph_of(made)
    assert products(graph) == [True]
    assert_as_in_runtime(made, graph)
    assert bends(graph_of(model([node("Mul", "x x")], [1, 3]))) == ["Pow"]


def test_a_blend_is_exact_in_real_numbers() -> None:
    graph = graph_of(written(BLENDS["highway"]))
    x = np.linspace(-2, 2, 7)
    t = 1 / (1 + np.exp(-x))
    expected = t * np.maximum(x, 0) + (1 - t) * x
    np.testing.assert_allclose(values(graph, x)[-1], expected, rtol=1e-14)
    apart, whole = (n for n in graph.nodes if isinstance(n, Affine))
    assert apart.moves and whole.moves and whole.rounds is not None
