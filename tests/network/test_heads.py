"""The class is that of the model's own output: what heads do to logits that differ by little."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network.models import model, node, weights
from onnx import TensorProto

import boundcert
from boundcert.errors import RefusedInput, UsageError
from boundcert.layers.arithmetic import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Arithmetic
from boundcert.layers.relaxation import Box
from boundcert.network.heads import (
    LogSoftmaxSlack,
    SoftmaxSlack,
    ThresholdSlack,
    logit,
    saturation,
    sigmoid_error,
)
from boundcert.network.importer import import_bytes
from boundcert.network.runtime import LEVELS, Runtime, session
from examples import examples

KINDS = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)


def head_of(op: str, **attributes: object) -> onnxruntime.InferenceSession:
    """A head alone, in float32."""
    made = model([node(op, "x", "y", **attributes)], ["N", "C"])
    return session(made.SerializeToString(), op)


SOFTMAX, LOG_SOFTMAX = head_of("Softmax", axis=1), head_of("LogSoftmax", axis=1)
SIGMOID = head_of("Sigmoid")


def outputs(op: str, z: np.ndarray) -> list[np.ndarray]:
    """What onnxruntime and torch make of float32 logits (N, C)."""
    ready = {"Softmax": SOFTMAX, "LogSoftmax": LOG_SOFTMAX, "Sigmoid": SIGMOID}[op]
    tensor = torch.from_numpy(z)
    theirs = {
        "Softmax": lambda: tensor.softmax(dim=1),
        "LogSoftmax": lambda: tensor.log_softmax(dim=1),
        "Sigmoid": tensor.sigmoid,
    }
    return [ready.run(None, {"x": z})[0], theirs[op]().numpy()]


def box_of(z: np.ndarray) -> Box:
    values = torch.from_numpy(z.astype(np.float64))
    return Box(values, values, values)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["Softmax", "LogSoftmax"]))
@settings(max_examples=examples(60), deadline=None)
def test_logits_farther_apart_than_the_slack_are_told_apart(seed: int, op: str) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 40))
    z = rng.standard_normal((200, classes)) * 10.0 ** rng.uniform(-3, 2)
    z = np.sort(z.astype(np.float32), axis=1)[:, ::-1].copy()
    slack = SoftmaxSlack() if op == "Softmax" else LogSoftmaxSlack(classes, False)
    apart = 2 * np.asarray(slack(FLOAT32, box_of(z)))
    winner, rival = 0, 1
    below = z[:, winner].astype(np.float64) - apart.reshape(-1) * (1 + 1e-6)
    z[:, rival] = below.astype(np.float32)
    z[:, rival] = np.where(z[:, rival] > below, np.nextafter(z[:, rival], -np.inf), z[:, rival])
    z[:, rival:] = np.minimum(z[:, rival:], z[:, rival : rival + 1])
    for y in outputs(op, np.ascontiguousarray(z, dtype=np.float32)):
        assert (y[:, winner] > y[:, 1:].max(axis=1)).all()


def test_logits_closer_than_rounding_are_not() -> None:
    """What the slack is there for."""
    z = np.zeros((4001, 2), np.float32)
    z[:, 1] = np.linspace(0, 1e-6, 4001)
    for op in ("Softmax", "Sigmoid"):
        for y in outputs(op, z):
            assert (y[1:, 0] == y[1:, 1]).any()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_slack_of_sigmoids_is_enough_up_to_where_they_saturate(kind: Arithmetic) -> None:
    top, slack = saturation(kind)
    if math.isinf(slack):
        assert kind is BFLOAT16  # no two outputs of so few digits are surely apart
        return
    t = torch.linspace(-top - slack, top, 100001, dtype=torch.float64)
    assert float((torch.sigmoid(t + slack) - torch.sigmoid(t)).min()) > 2 * sigmoid_error(kind)


def test_sigmoids_apart_by_the_slack_are_told_apart() -> None:
    top, slack = saturation(FLOAT32)
    low = np.linspace(-top - slack, top, 200001).astype(np.float32)
    high = np.nextafter((low.astype(np.float64) + slack).astype(np.float32), np.float32(np.inf))
    for y in outputs("Sigmoid", np.stack([high, low], axis=1)):
        assert (y[:, 0] > y[:, 1]).all()


@pytest.mark.parametrize("threshold", [0.5, 0.01, 0.99, 0.9999])
def test_beyond_the_slack_of_a_threshold_the_side_is_sure(threshold: float) -> None:
    about = logit(threshold)
    slack = float(ThresholdSlack(threshold)(FLOAT32, None))
    for sign in (-1, 1):
        z = about + sign * (slack + np.linspace(1e-9, 1e-2, 100001))
        z = np.nextafter(z.astype(np.float32), np.float32(sign * np.inf))[:, None]
        for y in outputs("Sigmoid", z):
            assert ((y > threshold) == (sign > 0)).all()


def test_a_threshold_too_near_an_end_is_never_sure() -> None:
    assert float(ThresholdSlack(1 - 1e-9)(FLOAT32, None)) == math.inf


def linear(weight: object, bias: object, *behind: onnx.NodeProto, **options: object) -> bytes:
    """z = xW + b, and a head."""
    nodes = [node("Gemm", "x w b", "z"), *behind]
    constants = {"w": np.float32(weight), "b": np.float32(bias)}
    shape = ["N", constants["w"].shape[0]]
    return model(nodes, shape, constants, **options).SerializeToString()  # type: ignore[arg-type]


def test_saturated_sigmoids_are_not_certified() -> None:
    """Of 1.0, 1.0 and 0.5 the first wins, though its logit is the smaller one."""
    data = linear([[1, 0, -1], [0, 1, -1]], [20, 25, 0], node("Sigmoid", "z"))
    found = boundcert.certify(import_bytes(data), np.zeros((1, 2)))
    assert found.predicted.tolist() == [0]
    assert found.lower.tolist() == [0.0]


def test_sigmoids_that_do_not_saturate_keep_their_radius() -> None:
    data = linear([[1, 0, -1], [0, 1, -1]], [0, 2, 0], node("Sigmoid", "z"))
    plain = linear([[1, 0, -1], [0, 1, -1]], [0, 2, 0], node("Identity", "z"))
    found, bare = (boundcert.certify(import_bytes(d), np.zeros((1, 2))) for d in (data, plain))
    assert found.predicted.tolist() == bare.predicted.tolist() == [1]
    assert bare.lower[0] * 0.995 < found.lower[0] < bare.lower[0]


@pytest.mark.parametrize("method", ["walk", "relax"])
def test_softmax_ties_are_outside_of_the_radius(method: str) -> None:
    data = linear([[1e-3, -1e-3]], [0, 1e-3], node("Softmax", "z", axis=1))
    network = import_bytes(data)
    radius = boundcert.certify(network, np.zeros((1, 1)), method=method).lower[0]
    assert 0.49 < radius < 0.5
    x = (radius * (1 - np.linspace(1e-7, 2e-3, 4001)))[:, None]
    for level in LEVELS:
        classes = Runtime(network.source, (1, 1), level=level).classify(x[:, None])
        assert (classes == 1).all()


def test_exact_semantics_know_no_slack() -> None:
    data = linear([[1e-3, -1e-3]], [0, 1e-3], node("Softmax", "z", axis=1))
    radius = boundcert.certify(import_bytes(data), np.zeros((1, 1)), semantics="exact").lower[0]
    assert radius == pytest.approx(0.5, rel=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=examples(12), deadline=None)
def test_no_point_inside_a_radius_has_another_class(seed: int) -> None:
    """Random two-layer networks behind every head, tried just inside their radii."""
    rng = np.random.default_rng(seed)
    behind = [
        [node("Softmax", "z", axis=1)],
        [node("LogSoftmax", "z", axis=1)],
        [node("Sigmoid", "z")],
        [node("Softmax", "z", "p", axis=1), node("ArgMax", "p", axis=1)],
        [node("ArgMax", "z", axis=1, keepdims=0)],
        [node("Hardmax", "z", axis=1)],
        [node("Softmax", "z", "p", axis=1), node("Sigmoid", "p")],
        [node("Cast", "z", "half", to=10), node("Cast", "half", "y", to=1)],
    ][int(rng.integers(8))]
    last = behind[-1].op_type
    scale = 10.0 ** rng.uniform(-4, 1)
    nodes = [node("Gemm", "x a b", "h"), node("Relu", "h", "r"), node("Gemm", "r c d", "z")]
    constants = {
        "a": weights(3, 5, seed=seed),
        "b": weights(5, seed=seed),
        "c": weights(5, 4, seed=seed) * np.float32(scale),
        "d": weights(4, seed=seed) * np.float32(scale),
    }
    kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    rank = 1 if any(a.name == "keepdims" and a.i == 0 for a in behind[-1].attribute) else 2
    made = model([*nodes, *behind], ["N", 3], constants, out_kind=kind, rank=rank)
    network = import_bytes(made.SerializeToString())
    x = rng.standard_normal((4, 3))
    found = boundcert.certify(network, x, method="relax")
    runtime = Runtime(network.source, network.input_shape)
    margin = torch.from_numpy(x).reshape(4, 1, 3)
    for row, radius, label in zip(margin, found.lower, found.predicted):
        if radius == 0:
            continue
        point = row.clone().requires_grad_(True)
        z = network.logits(point[None])[0]
        gradients = [torch.autograd.grad(z[label] - z[j], point, retain_graph=True)[0]
                     for j in range(len(z)) if j != label]  # fmt: skip
        for g in gradients:
            if float(g.norm()) == 0:
                continue
            step = -(radius * g / g.norm()).numpy()
            shares = np.concatenate([1 - np.logspace(-9, -1, 200), np.linspace(0, 1, 100)[:-1]])
            points = row.numpy() + shares[:, None, None] * step
            assert (runtime.classify(points) == label).all()


def test_only_the_last_of_two_heads_is_left_out() -> None:
    two = linear([[1.0, 2]], [0, 0], node("Softmax", "z", "p", axis=1), node("Sigmoid", "p"))
    network = import_bytes(two)
    assert network.source.head == "Sigmoid"
    assert "Softmax" in [n.op for n in network.nodes]


def test_the_least_probability_is_bounded_as_it_stands() -> None:
    data = linear([[1.0, 2]], [0, 0], node("Softmax", "z", axis=1))
    assert import_bytes(data).source.head == "Softmax"
    least = import_bytes(data, decision="min")
    assert (least.source.head, least.nodes[-2].op) == ("", "Softmax")


def test_a_cast_that_rounds_logits_is_part_of_the_network() -> None:
    """Logits of 1 and 1 + 2⁻¹² are one number in float16, unless a runtime drops the cast."""
    behind = [node("Cast", "z", "h", to=10), node("ArgMax", "h", axis=1)]
    data = linear([[0.0, 0]], [1, 1 + 2.0**-12], *behind, out_kind=TensorProto.INT64)
    found = boundcert.certify(import_bytes(data), np.zeros((1, 1)))
    assert found.lower[0] == 0


def test_the_model_itself_says_which_output_wins() -> None:
    data = linear([[1.0, 2]], [0, 0], node("ArgMax", "z", axis=1), out_kind=TensorProto.INT64)
    with pytest.raises(UsageError, match="itself takes the max"):
        import_bytes(data, decision="min")


@pytest.mark.parametrize(
    ("behind", "threshold", "expected"),
    [
        ([node("Sigmoid", "z")], None, 2.0),
        ([node("Sigmoid", "z")], 0.9, 2.0 - logit(0.9)),
        ([node("Identity", "z")], None, 2.0),
        ([node("Identity", "z")], -1.0, 3.0),
    ],
)
def test_a_threshold(
    behind: list[onnx.NodeProto], threshold: float | None, expected: float
) -> None:
    network = import_bytes(linear([[1.0]], [2.0], *behind), threshold=threshold)
    found = boundcert.certify(network, np.zeros((1, 1)))
    assert found.predicted[0] == (1 if expected > 0 else 0)
    assert abs(expected) * (1 - 1e-4) < found.lower[0] < abs(expected)
    runtime = Runtime(network.source, (1, 1))
    x = found.lower[0] * np.linspace(-1, 1, 2001)[:, None, None]
    assert (runtime.classify(x) == found.predicted[0]).all()


@pytest.mark.parametrize("threshold", [0.0, 1.0, 7.0, math.nan])
def test_a_threshold_that_no_sigmoid_passes(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        import_bytes(linear([[1.0]], [2.0], node("Sigmoid", "z")), threshold=threshold)


def test_a_threshold_of_several_outputs() -> None:
    with pytest.raises(UsageError, match="a threshold is for one output; the model has 2"):
        import_bytes(linear([[1.0, 1]], [2.0, 0], node("Sigmoid", "z")), threshold=0.5)


def test_softmax_of_one_entry_is_the_constant_one() -> None:
    network = import_bytes(linear([[1.0]], [-9.0], node("Softmax", "z", axis=1)))
    found = boundcert.certify(network, np.zeros((1, 1)))
    assert network.source.head == "" and found.predicted[0] == 1 and found.lower[0] > 1e3


def test_another_file_than_the_model_that_was_read_is_refused() -> None:
    from dataclasses import replace

    from boundcert.network.check import check_against_runtime

    one, other = (
        import_bytes(linear([[1.0, 2]], [0, bias], node("Softmax", "z", axis=1))) for bias in (0, 1)
    )
    check_against_runtime(one)
    source = replace(one.source, file=other.source.file)
    with pytest.raises(RefusedInput, match="from the file itself"):
        check_against_runtime(replace(one, source=source))
