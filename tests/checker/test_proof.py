"""What the checker proves holds at attacked points, for runtimes that err; false claims fail."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import onnx
import pytest
from checker.choices import Choices
from checker.claims import claim_of, proved_radius
from checker.graphs import assert_holds, points, values
from checker.random_models import input_shape, random_model
from checker.test_reader import graph_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network.models import model, node
from network.test_gates import BLENDS, written
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException
from runtime_cases import session

from boundcert.checker import Checker, NotUnderstood
from boundcert.checker.ball import Ball
from boundcert.checker.certificate import NORMS
from boundcert.checker.proof import Proof
from boundcert.checker.runtime import runs_of
from boundcert.proofs import Chooser
from examples import examples

F = np.float32
seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from([1.0, 2.0, math.inf])
radii = st.sampled_from([1e-12, 1e-6, 1e-2, 0.1, 0.5, 3.0])


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=seeds,
    p=norms,
    radius=radii,
    clip=st.sampled_from([None, (-1.0, 1.0)]),
    runtime=st.sampled_from(["exact", "float32", "coarse"]),
    scale=st.sampled_from([0.3, 1.0, 3.0]),
    slopes=st.sampled_from(["usual", "near", "any"]),
    pool_first=st.booleans(),
    more=st.sampled_from([(False, False), (True, False), (False, True)]),
)
def test_boxes_and_margins_hold(  # type: ignore[no-untyped-def]
    seed, p, radius, clip, runtime, scale, slopes, pool_first, more
) -> None:
    graph = graph_of(random_model(seed, scale), pool_first=pool_first)
    if runtime == "coarse":
        graph = dataclasses.replace(graph, unit=2.0**-9, tiny=1e-30, largest=1e30)
    x = np.random.default_rng(seed).standard_normal(graph.nodes[0].n)
    ball = Ball(x if clip is None else x.clip(*clip), p, radius, clip)
    label = int(values(graph, ball.x)[-1].argmax())
    choices = Choices(slopes, seed)
    proof = Proof(graph, runs_of(graph, p), ball, runtime != "exact", choices, *more)
    assert_holds(proof, label, seed)


@settings(max_examples=examples(25), deadline=None)
@given(
    seed=seeds,
    norm=st.sampled_from(list(NORMS)),
    clip=st.sampled_from([None, (-1.0, 1.0)]),
    optimised=st.booleans(),
)
def test_onnxruntime_keeps_the_class(seed: int, norm: str, clip, optimised: bool) -> None:  # type: ignore[no-untyped-def]
    """In float32, at points that were attacked: of the logits, a head takes them along."""
    made = random_model(seed)
    checker, shape = Checker(made.SerializeToString()), input_shape(made)
    x = np.random.default_rng(seed).standard_normal(shape)
    x = x if clip is None else x.clip(*clip)
    claim = claim_of(checker, x, norm, "deployed", clip)
    radius = proved_radius(checker, claim, x)
    if not radius:
        return
    run = session(made, optimised)
    graph, _ = checker.graph(claim.reading, norm)
    for point in points(graph, Ball(x.ravel(), NORMS[norm], radius, clip), claim.label, seed):
        try:
            found = run.run(None, {"x": point.reshape(shape).astype(F)})[0].ravel()
        except RuntimeException as error:
            # where a stride skips entries it computes padding below 0
            assert "padding values must be non-negative" in str(error)
            return
        half = 0.5 if made.graph.node[-1].op_type == "Sigmoid" else 0.0
        if found.size == 1:
            assert (found[0] >= half) if claim.label else (found[0] <= half)
        else:
            assert found[claim.label] == found.max()


def test_a_linear_model_is_proved_up_to_the_boundary() -> None:
    weight = np.array([[1.0, 0.0], [2.0, -1.0]], dtype=F)
    checker = Checker(model([node("MatMul", "x w")], [1, 2], {"w": weight}).SerializeToString())
    x = np.array([[3.0, 0.5]])  # the margin is x0 + 3 x1
    for norm, reach in (("l1", 4.5 / 3), ("l2", 4.5 / math.sqrt(10)), ("linf", 4.5 / 4)):
        claim = claim_of(checker, x, norm, "exact", None)
        for radius, holds in ((reach * (1 - 1e-12), True), (reach * (1 + 1e-12), False)):
            claim = dataclasses.replace(claim, radius=radius)
            assert (checker.check(claim, x) is None) == holds


def _scaled(factors: list[float]) -> onnx.ModelProto:
    """By one factor after the other."""
    names = ["x", *(f"h{k}" for k in range(1, len(factors))), "y"]
    nodes = [node("Mul", f"{a} f{k}", b) for k, (a, b) in enumerate(pairwise(names))]
    return model(nodes, [1, 2], {f"f{k}": np.array(f, dtype=F) for k, f in enumerate(factors)})


def _tiny_then_huge() -> onnx.ModelProto:
    """1e260·relu(1e-340·x − 1e-250) against 1."""
    nodes = [
        node("Mul", "x a", "h1"),
        node("Mul", "h1 a", "h2"),
        node("Add", "h2 b", "h3"),
        node("Relu", "h3", "h4"),
        node("Mul", "h4 c", "h5"),
        node("Gemm", "h5 w t"),
    ]
    stored = {
        "a": np.array(1e-170),
        "b": np.array(-1e-250),
        "c": np.array(1e130),
        "w": np.array([[0.0, 1e130]]),
        "t": np.array([[1.0, 0.0]]),
    }
    return model(nodes, [1, 1], stored, kind=onnx.TensorProto.DOUBLE)


def _tiny_product(other: str) -> onnx.ModelProto:
    """x² or 2x², by numbers whose product is less than any float64, against ½."""
    nodes = [
        node("Mul", "x a", "h1"),
        node("Mul", "h1 two", "h2"),
        node("Mul", f"h1 {other}", "p"),
        node("Mul", "p c", "h3"),
        node("Mul", "h3 c", "h4"),
        node("Gemm", "h4 w t"),
    ]
    stored = {
        "a": np.array(1e-170),
        "two": np.array(2.0),
        "c": np.array(1e130),
        "w": np.array([[0.0, 1e80]]),
        "t": np.array([[0.5, 0.0]]),
    }
    used = {name for n in nodes for name in n.input} | {"two"}
    return model(
        nodes, [1, 1], {k: stored[k] for k in stored if k in used}, kind=onnx.TensorProto.DOUBLE
    )


def _gated_head(text: str) -> onnx.ModelProto:
    """What is written of x against 0.1."""
    made = written(text)
    made.graph.node.append(node("Gemm", "y weight shift", "z"))
    weight = np.zeros((7, 2), dtype=F)
    weight[0, 1] = 1.0
    for name, value in (("weight", weight), ("shift", np.array([0.1, 0.0], dtype=F))):
        made.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    del made.graph.output[:]
    kind = onnx.TensorProto.FLOAT
    made.graph.output.append(onnx.helper.make_tensor_value_info("z", kind, [1, 2]))
    return made


def _gemm(weight: list[list[float]], **about: object) -> onnx.ModelProto:
    return model([node("Gemm", "x w", **about)], [1, 2], {"w": np.array(weight, dtype=F)})


#: A model, a sample, its class, a norm, a radius, a semantics and a range: none of it is so.
FALSE = {
    "squares that underflow": (_scaled([1e-35] * 5), [1, 0], 0, "l2", 10.0, "exact", None),
    "products that underflow": (_tiny_then_huge(), [0], 0, "linf", 1e100, "exact", None),
    "a sample that overflows": (
        model([node("Identity", "x")], [1, 2]), [3.6e38, 4e38], 1, "linf", 1e30, "deployed", None,
    ),
    "a product that overflows": (
        _gemm([[2.0**100, 0], [0, 2.0**100]], alpha=2.0**-29),
        [2.0**28, 2.0**29], 1, "linf", 1.0, "deployed", None,
    ),
    "a weight that is flushed": (
        _gemm([[0, 1e-40], [0, 0]], alpha=2.0**29), [1, 0], 1, "linf", 0.1, "deployed", None,
    ),
    "a range without the sample": (
        model([node("Identity", "x")], [1, 2]), [1, 0], 0, "linf", 0.1, "exact", (0.5, 1.0),
    ),
    "a square that underflows": (_tiny_product("h1"), [0], 0, "linf", 1.0, "exact", None),
    "a product that underflows": (_tiny_product("h2"), [0], 0, "linf", 0.6, "exact", None),
    "a gate beyond where it crosses": (
        _gated_head("s = Sigmoid x; y = Mul x s"), [0] * 7, 0, "linf", 0.19, "exact", None,
    ),
    "a square root of a half": (
        _gated_head("y = Mul x x"), [0] * 7, 0, "linf", 0.32, "exact", None,
    ),
    "a highway beyond where it crosses": (
        _gated_head(BLENDS["highway"]), [0] * 7, 0, "linf", 0.101, "exact", None,
    ),
    "a tie": (model([node("Identity", "x")], [1, 2]), [1, 1], 0, "linf", 1e-9, "exact", None),
    "another class": (model([node("Identity", "x")], [1, 2]), [1, 0], 1, "l1", 1e-9, "exact", None),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FALSE))
def test_false_claims_are_refused(name: str) -> None:
    made, x, label, norm, radius, semantics, clip = FALSE[name]
    checker, x = Checker(made.SerializeToString()), np.array([x], dtype=np.float64)
    claim = claim_of(checker, x, norm, semantics, clip)
    for lines in range(9):
        some = dataclasses.replace(claim, label=label, radius=radius, slopes=(None,) * lines)
        try:
            assert checker.check(some, x) is not None
        except NotUnderstood as error:
            assert "slopes are missing" in str(error)


def test_a_sample_of_float32_is_not_computed_with_in_float32() -> None:
    """5e-10 − relu(−x): at −1e-9, which float32 does not tell from 0, it is below 0."""
    nodes = [node("Neg", "x", "h"), node("Relu", "h", "r"), node("Gemm", "r w t")]
    stored = {"w": np.array([[-1, 0]], dtype=F), "t": np.array([5e-10, 0], dtype=F)}
    checker, x = Checker(model(nodes, [1, 1], stored).SerializeToString()), np.ones((1, 1), dtype=F)
    claim = dataclasses.replace(claim_of(checker, x, "linf", "exact", None), slopes=(None,))
    for radius, holds in ((1.0, True), (1 + 1e-9, False)):
        claim = dataclasses.replace(claim, radius=radius)
        assert (checker.check(claim, x) is None) == holds


def test_errors_of_many_channels_meet_the_weights_of_their_own_entries() -> None:
    """c − Σ relu(|h|/2 − t) of a channel that errs a lot, beside three that bend and hardly err."""
    n, weight = 8, np.zeros((4, 2, 1, 1), dtype=F)
    weight[0, :, 0, 0], weight[1:, 0] = (100, -100), 1e-3
    stored = {
        "w": weight,
        "b": np.array([0] + 3 * [2e-9 - 1e-3], dtype=F),
        "half": np.array(0.5, dtype=F),
        "s": np.eye(4 * n, n, dtype=F),
        "u": np.full(n, -2e-6, dtype=F),
        "v": np.array([[-1, 0]] * n, dtype=F),
        "t": np.array([2.5e-3, 0], dtype=F),
    }
    nodes = [
        node("Conv", "x w b", "h"),
        node("Relu", "h", "r"),
        node("Mul", "h half", "m"),
        node("Sub", "r m", "d"),
        node("Flatten", "d", "f"),
        node("Gemm", "f s u", "a"),
        node("Relu", "a", "q"),
        node("Gemm", "q v t"),
    ]
    graph = graph_of(model(nodes, [1, 2, 1, n], stored))
    ball = Ball(np.ones(2 * n), 2.0, 1e-9)
    proof = Proof(graph, runs_of(graph, 2.0), ball, True, Chooser(), True)
    assert_holds(proof, 0, 0)
    base, _ = proof.margins(0)
    wrong = values(graph, ball.x, {1: proof.error[1]})[-1]
    assert base[0] <= wrong[0] - wrong[1] < 0
