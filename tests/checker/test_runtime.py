"""What onnxruntime computes in float32 lies in the box about a point, at any scale."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from checker.choices import Choices
from checker.test_reader import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network.models import model, node
from network.test_gates import BLENDS, NO_BLENDS, WRITTEN, written
from runtime_cases import session

from boundcert.checker.ball import Ball
from boundcert.checker.nodes import Graph
from boundcert.checker.normalisers import LrnRounds, SoftmaxRounds
from boundcert.checker.proof import Proof
from boundcert.checker.runtime import runs_of
from examples import examples

F = np.float32
ACTIVATIONS = (
    *("Selu", "Celu", "Erf", "Exp", "Mish", "HardSwish", "Gelu", "Reciprocal", "Log", "Sqrt"),
    *("Sigmoid", "Tanh", "Softplus", "Softsign", "Elu", "HardSigmoid"),
)


def powers(exponent: float) -> onnx.ModelProto:
    return model([node("Pow", "x e")], [1, 7], {"e": F(exponent)}, opset=20)


def two(*nodes: onnx.NodeProto, shape: tuple[int, ...] = (1, 7)) -> onnx.ModelProto:
    last = node("Flatten", nodes[-1].output[0], "out")
    return model([*nodes, last], shape, {}, outputs=["out"], opset=20)


MODELS: dict[str, onnx.ModelProto] = {
    **{name: two(node(name, "x", "y")) for name in ACTIVATIONS},
    "GeluTanh": model([node("Gelu", "x", approximate="tanh")], [1, 7], opset=20),
    **{f"Pow {e}": powers(e) for e in (2.0, 3.0, 0.5, -1.0, -0.7, 5.0)},
    **{name: written(text) for name, (_, text) in WRITTEN.items()},
    **{name: written(text) for name, text in {**BLENDS, **NO_BLENDS}.items()},
    "square": model([node("Mul", "x x")], [1, 7]),
    "ratio": two(node("Exp", "x", "e"), node("Div", "x e", "y")),
    "inverse": two(node("Softplus", "x", "e"), node("Div", "x e", "y")),
    "Softmax": two(node("Softmax", "x", "y")),
    "of two": two(node("Softmax", "x", "y"), shape=(1, 3, 2)),
    "LRN": two(node("LRN", "x", "y", size=3, alpha=2.0, bias=1.5), shape=(1, 5, 2, 2)),
    "LRN steep": two(
        node("LRN", "x", "y", size=5, alpha=30.0, beta=2.0, bias=0.1), shape=(1, 7, 1, 1)
    ),
    "Max": two(node("Tanh", "x", "t"), node("Max", "x t", "y")),
}


@pytest.mark.parametrize("case", MODELS)
@settings(max_examples=examples(6), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    power=st.floats(-42, 38.4) | st.floats(-2, 2),
    positive=st.booleans(),
    optimised=st.booleans(),
)
def test_is_in_the_box(case: str, seed: int, power: float, positive: bool, optimised: bool) -> None:
    made = MODELS[case]
    graph = graph_of(made)
    rng = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        x = np.clip(rng.standard_normal(graph.nodes[0].n) * 10.0**power, -3e38, 3e38)
        x = np.where(rng.random(x.shape) < 0.3, rng.standard_normal(x.shape) * 3.0, x)
        x = np.abs(x).astype(F) if positive else x.astype(F)
        ball = Ball(x.astype(np.float64), math.inf, 1e-300)
        proof = Proof(graph, runs_of(graph, math.inf), ball, True, Choices())
        shape = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim]
        found = session(made, optimised).run(None, {"x": x.reshape(shape)})[0].ravel()
    low, high = proof.low[-1], proof.high[-1]
    known = np.isfinite(low) & np.isfinite(high)
    wide = found.astype(np.float64)
    assert ((low <= wide) & (wide <= high))[known].all()
    roots = not positive and case in ("Log", "Sqrt", "Pow 0.5", "Pow -0.7")
    if -2 < power < 0.5 and not roots and case != "LRN steep":
        much = 0.1 if case == "LRN" else 0.01
        assert known.all() and (high - low < much * (1 + np.abs(wide))).all()


@settings(max_examples=examples(15), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spike=st.floats(0, 4))
def test_windows_that_are_moved_on_leave_something(seed: int, spike: float) -> None:
    """A large entry that is added first, and subtracted again."""
    made = two(node("LRN", "x", "y", size=3, alpha=3.0, beta=1.0, bias=0.1), shape=(1, 20, 1, 1))
    x = np.random.default_rng(seed).standard_normal(20).astype(F) * F(0.1)
    x[0] = 10.0**spike
    graph = graph_of(made)
    with np.errstate(all="ignore"):
        ball = Ball(x.astype(np.float64), math.inf, 1e-300)
        proof = Proof(graph, runs_of(graph, math.inf), ball, True, Choices())
    found = session(made, False).run(None, {"x": x.reshape(1, 20, 1, 1)})[0].ravel()
    low, high, wide = proof.low[-1], proof.high[-1], found.astype(np.float64)
    known = np.isfinite(low) & np.isfinite(high)
    assert ((low <= wide) & (wide <= high))[known].all()
    assert known.all() or spike > 1


def test_where_errors_are_too_large_to_tell_there_is_no_bound() -> None:
    graph = Graph((), 2.0**-24, 2.0**-126, 2.0**126)
    shares, local = SoftmaxRounds(np.arange(4).reshape(1, 4)), LrnRounds(3, 1.0, 1.0, 0.1, 4)
    for rounds, most in ((shares, 1e6), (local, 1e2)):
        one = [np.ones(4)] * 2
        assert (rounds(graph, 0, one) < 1e-2).all()
        one = [np.ones(4), np.array([1.0, 1.0, 1.0, most * 100])]
        assert (rounds(graph, 0, one) == math.inf).all()
    for rounds in (shares, local):
        for size in (3e38, math.inf, math.nan):
            with np.errstate(all="ignore"):
                assert (rounds(graph, 0, [np.full(4, size)] * 2) == math.inf).all()
