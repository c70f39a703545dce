"""The checker's reading of models against onnxruntime's, and the importer's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from checker.graphs import values
from checker.random_models import input_shape, random_model
from hypothesis import given, settings
from hypothesis import strategies as st
from network import mutations
from network.compare import runtime
from network.models import model, node, weights
from network.test_opsets import GRID, VARIANTS, attributes
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from boundcert.checker.nodes import Bend, Graph, NotUnderstood
from boundcert.checker.reader import read
from boundcert.network.importer import import_bytes
from examples import examples

I = np.array  # noqa: E741
F = np.float32
seeds = st.integers(0, 2**32 - 1)


def graph_of(made: onnx.ModelProto, shape: Sequence[int] | None = None, **about: object) -> Graph:
    usual = {"source": None, "target": None, "decision": None, "front": None, "pool_first": False}
    shape = tuple(shape or input_shape(made))
    return read(made.SerializeToString(), shape, **{**usual, **about})  # type: ignore[arg-type]


def refused(made: onnx.ModelProto, shape: Sequence[int] | None = None, **about: object) -> str:
    with pytest.raises(NotUnderstood) as found:
        graph_of(made, shape, **about)
    return str(found.value)


def logits(graph: Graph, x: np.ndarray) -> np.ndarray:
    return values(graph, x.astype(np.float64).ravel())[-1]


def assert_as_in_runtime(made: onnx.ModelProto, graph: Graph) -> None:
    """In float32, a head behind the logits or none."""
    x = np.random.default_rng(0).standard_normal(input_shape(made)).astype(F)
    found, expected = logits(graph, x), runtime(made, x).astype(np.float64).ravel()
    if expected.size == 1:
        assert found[0] == 0.0
        found = found[1:]
    head = made.graph.node[-1].op_type
    if head == "Sigmoid":
        found = 1 / (1 + np.exp(-found))
    elif head in ("Softmax", "LogSoftmax"):
        found = found - found.max() - np.log(np.exp(found - found.max()).sum())
        found = np.exp(found) if head == "Softmax" else found
    size = 1e-4 * (1 + np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=size)


@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, pool_first=st.booleans())
def test_random_models(seed: int, pool_first: bool) -> None:
    made = random_model(seed)
    graph = graph_of(made, pool_first=pool_first)
    try:
        assert_as_in_runtime(made, graph)
    except RuntimeException as error:
        # where a stride skips entries it computes padding below 0
        assert "padding values must be non-negative" in str(error)
    network = import_bytes(made.SerializeToString())
    x = np.random.default_rng(seed).standard_normal((1, *network.input_shape))
    expected = network.logits(network.prepare(x)).numpy()[0]
    size = 1e-9 * (1 + np.abs(expected).max())
    np.testing.assert_allclose(logits(graph, x), expected, rtol=1e-9, atol=size)


def test_a_choice_about_the_model() -> None:
    made = random_model(6)
    x = np.random.default_rng(1).standard_normal(input_shape(made))
    front = np.full((1, 1), 0.3), np.full((1, 1), 0.6)
    plain = graph_of(made)
    moved = logits(graph_of(made, front=front), x)
    np.testing.assert_allclose(moved, logits(plain, (x - 0.3) / 0.6))
    np.testing.assert_array_equal(logits(graph_of(made, decision="min"), x), -logits(plain, x))
    assert "0 inputs" in refused(made, source="nobody")
    assert "0 outputs" in refused(made, target="nobody")
    assert "does not take one sample" in refused(made, (2, *input_shape(made)[1:]))


@pytest.mark.parametrize(("opset", "nodes", "stored"), VARIANTS)
def test_variants_of_operators(
    opset: int, nodes: list[onnx.NodeProto], stored: dict[str, np.ndarray]
) -> None:
    made = model(nodes, [1, 7], stored, opset=opset)
    try:
        graph = graph_of(made)
    except NotUnderstood:
        return
    assert_as_in_runtime(made, graph)


def test_windows() -> None:
    """A tenth of all combinations of stride, dilation, padding and rounding."""
    compared = 0
    for case in GRID[::10]:
        about, conv = attributes(case), case[0] == "Conv"
        if about is None or case[0] not in ("Conv", "MaxPool", "AveragePool"):
            continue
        if conv and "dilations" in about and str(about["auto_pad"]).startswith("SAME"):
            continue  # onnxruntime does not take it
        shape = [1, 4, 7, 8]
        stored = {"w": weights(6, 2, 3, 2), "b": weights(6)} if conv else {}
        inputs = "x w b" if conv else "x"
        nodes = [node(case[0], inputs, "p", **about, **({"group": 2} if conv else {}))]
        made = model([*nodes, node("Flatten", "p")], shape, stored, opset=case[-1])
        try:
            graph = graph_of(made)
        except NotUnderstood as error:
            assert "rounds up" in str(error)
            continue
        assert_as_in_runtime(made, graph)
        compared += 1
    assert compared >= 20


def _padded(size: int, op: str) -> onnx.ModelProto:
    """Through a constant that another node makes."""
    stored = {"w": weights(size, 3), "p": I([0, 0, 1, 0]), "i": I([1] * 7)}
    about = {"Pad": "w p", "Gather": "w i"}[op]
    return model([node(op, about, "v"), node("MatMul", "x v")], [1, 7], stored)


def test_constants_are_moved_as_they_are() -> None:
    assert_as_in_runtime(_padded(7, "Gather"), graph_of(_padded(7, "Gather")))
    assert "Pad 'v' of a constant" in refused(_padded(6, "Pad"))


@pytest.mark.parametrize(
    ("nodes", "stored", "why"),
    [
        ([node("Dropout", "x r t")], {"r": F(0.5), "t": I(True)}, "training"),
        ([node("Gemm", "x w", alpha=1e-30)], {"w": weights(7, 3)}, "beyond"),
        ([node("Gemm", "x w", alpha=0.0)], {"w": weights(7, 3)}, "out of range"),
        ([node("Gemm", "x w b", beta=1e30)], {"w": weights(7, 3), "b": weights(3)}, "beyond"),
        ([node("Gemm", "x w", transA=1)], {"w": weights(1, 3)}, "constant matrix"),
        ([node("MatMul", "x w")], {"w": weights(5, 3)}, "do not fit"),
        ([node("MatMul", "x w")], {"w": weights(2, 7, 3)}, "constant matrix"),
        ([node("MatMul", "w x")], {"w": weights(3, 1)}, "not understood"),
        ([node("Div", "x w")], {"w": np.full(7, 1e-40, F)}, "read as 0"),
        ([node("Softmax", "x", "s", axis=0), node("Neg", "s")], {}, "of 1 entries"),
        ([node("LogSoftmax", "x", "s"), node("Neg", "s")], {}, "not understood"),
        ([node("LRN", "x", size=3, bias=0.0)], {}, "LRN"),
        ([node("Mul", "x w")], {"w": np.full(7, np.inf, F)}, "no finite"),
        ([node("Mul", "x w")], {"w": np.full(7, 2)}, "no finite"),
        ([node("Pow", "x e")], {"e": F(1.0)}, "one exponent"),
        ([node("Pow", "x e")], {"e": np.arange(2, 9, dtype=F)}, "one exponent"),
        ([node("Selu", "x", alpha=-1.0)], {}, "alpha -1"),
        ([node("Div", "x s")], {"s": np.zeros(7, F)}, "read as 0"),
        ([node("Celu", "x", alpha=-1.0)], {}, "alpha -1"),
        ([node("Relu", "x", "x"), node("Relu", "x")], {}, "not an ONNX model"),
        ([node("Add", "x w", broadcast=1)], {"w": weights(7)}, "not an ONNX model"),
        ([node("Split", "x s", "a b", axis=1), node("Relu", "a")], {"s": I([3, 3])}, "Split"),
        ([node("Softmax", "x", axis=0)], {}, "over axis 0"),
        ([node("Elu", "x", alpha=-1.0)], {}, "alpha -1"),
        ([node("Clip", "x a b")], {"a": F(1), "b": F(0)}, "Clip"),
        ([node("Relu", "x", domain="other")], {}, "not an ONNX model"),
    ],
)
def test_what_it_does_not_take(
    nodes: list[onnx.NodeProto], stored: dict[str, np.ndarray], why: str
) -> None:
    assert why in refused(model(nodes, [1, 7], stored))


@pytest.mark.parametrize("part", ["gain", "mean", "variance"])
def test_normalisations_of_any_size_are_not_taken(part: str) -> None:
    sizes = {"gain": 1.0, "mean": 0.0, "variance": 1.0, part: {"variance": 1e-25}.get(part, 1e30)}
    stored = {k: np.full(3, v, F) for k, v in sizes.items()}
    nodes = [
        node("BatchNormalization", "x gain mean mean variance", "n", epsilon=0.0),
        node("Flatten", "n"),
    ]
    assert "beyond" in refused(model(nodes, [1, 3, 2, 2], stored))
    made = random_model(3)
    assert "beyond" in refused(made, front=(np.zeros((1, 1)), np.full((1, 1), 1e-20)))


def test_the_model_as_a_whole() -> None:
    made = model([node("Relu", "x")], [1, 2])
    assert [n.name for n in graph_of(made).nodes if isinstance(n, Bend)] == ["Relu"]
    assert "opset 6" in refused(model([node("Relu", "x")], [1, 2], opset=6))
    assert "opset 99" in refused(model([node("Relu", "x")], [1, 2], opset=99))
    assert "neither float32" in refused(model([node("Relu", "x")], [1, 2], kind=6))
    assert "neither float32" in refused(model([node("Relu", "x")], [1, 2], kind=10))
    own = onnx.helper.make_function(
        "", "Relu", ["a"], ["b"], [node("Neg", "a", "b")], [onnx.helper.make_opsetid("", 17)]
    )
    assert "functions" in refused(model([node("Relu", "x")], [1, 2], functions=[own]))
    twice = model([node("Relu", "x")], [1, 2])
    twice.opset_import.append(onnx.helper.make_opsetid("", 9))
    refused(twice)
    outside = model([node("MatMul", "x w")], [1, 7], {"w": weights(7, 3)})
    outside.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    refused(outside)


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum"])
@pytest.mark.parametrize(
    ("opset", "axes", "about"),
    [
        (11, None, {"axes": [1, -1]}),
        (11, None, {"axes": [2], "keepdims": 0}),
        (11, None, {}),
        (18, [2, 3], {}),
        (18, [-1], {"keepdims": 0}),
        (18, None, {"noop_with_empty_axes": 1}),
        (18, None, {"keepdims": 1}),
    ],
)
def test_reductions(op: str, opset: int, axes: list[int] | None, about: dict) -> None:  # type: ignore[type-arg]
    stored = {} if axes is None else {"a": I(axes)}
    nodes = [node(op, "x" if axes is None else "x a", "r", **about), node("Flatten", "r")]
    made = model(nodes, [1, 3, 4, 2], stored, opset=opset)
    assert_as_in_runtime(made, graph_of(made))


@pytest.mark.parametrize(
    ("opset", "nodes", "shape"),
    [
        (11, [node("Softmax", "x", "s", axis=1), node("Mul", "x s")], [1, 3, 2]),
        (13, [node("Softmax", "x", "s", axis=1), node("Mul", "x s")], [1, 3, 2]),
        (13, [node("Softmax", "x", "s"), node("Neg", "s")], [1, 2, 2]),
        (17, [node("Softmax", "x", "s"), node("Softmax", "s")], [1, 5]),
        (13, [node("LRN", "x", "s", size=3, alpha=0.5)], [1, 5, 2, 2]),
        (13, [node("LRN", "x", "s", size=5, alpha=2.0, beta=0.5, bias=2.0)], [1, 3, 2, 2]),
        (13, [node("Exp", "x", "s"), node("Div", "x s")], [1, 4]),
        (13, [node("Exp", "x", "s"), node("Max", "x s w", "m"), node("Neg", "m")], [1, 4]),
        (13, [node("Neg", "x", "s"), node("Min", "w x s")], [1, 4]),
        (13, [node("Max", "x", "s"), node("Min", "s s")], [1, 4]),
        (13, [node("Exp", "x", "e"), node("Div", "w e", "s")], [1, 4]),
        (13, [node("Exp", "x", "e"), node("Log", "e", "s")], [1, 4]),
        (13, [node("Exp", "x", "e"), node("Sqrt", "e", "s")], [1, 4]),
        (13, [node("Exp", "x", "e"), node("Reciprocal", "e", "s")], [1, 4]),
        (13, [node("Exp", "x", "e"), node("Pow", "e p", "s")], [1, 4]),
    ],
)
def test_what_is_read_as_what_it_is_made_of(
    opset: int, nodes: list[onnx.NodeProto], shape: list[int]
) -> None:
    stored = {"w": weights(4), "p": F(-1.5)}
    used = {name for n in nodes for name in n.input}
    made = model(
        [*nodes, node("Flatten", nodes[-1].output[0], "out")],
        shape,
        {k: v for k, v in stored.items() if k in used},
        opset=opset,
        outputs=["out"],
    )
    assert_as_in_runtime(made, graph_of(made))


def test_reshapes_that_allow_for_zeros() -> None:
    nodes = [node("Reshape", "x t", "r", allowzero=1), node("Neg", "r")]
    made = model(nodes, [1, 6], {"t": I([1, -1])}, opset=18)
    assert_as_in_runtime(made, graph_of(made))
    assert "to nothing" in refused(model(nodes, [1, 6], {"t": I([0, 6])}, opset=18))


@settings(max_examples=examples(150), deadline=None)
@given(seed=seeds)
def test_damaged_models_are_not_understood_or_as_in_the_runtime(seed: int) -> None:
    try:
        data = mutations.mutate(random_model(seed).SerializeToString(), seed)
        made = onnx.ModelProto.FromString(data)
        shape = input_shape(made)
    except Exception:
        return
    if not shape or math.prod(shape) > 10**4 or len(made.graph.output) != 1:
        return
    try:
        graph = graph_of(made)
    except NotUnderstood:
        return
    x = np.random.default_rng(0).standard_normal(shape)
    with np.errstate(all="ignore"):
        found = logits(graph, x)
    try:
        expected = runtime(made, x.astype(F)).astype(np.float64).ravel()
    except Exception:
        return
    sizes = np.abs(np.concatenate((found, expected)))
    if expected.size > 1 and np.isfinite(sizes).all() and sizes.max() < 1e6:
        top = np.sort(expected)
        clear = top[-1] - top[-2] > 1e-2 * sizes.max()
        assert not clear or found.argmax() == expected.argmax()
