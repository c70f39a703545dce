"""Activations written out as products: recognised, of the same value, with errors that hold."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network.compare import imported
from network.models import model, node
from runtime_cases import in_onnxruntime

from boundcert.layers.activation import Elementwise
from boundcert.layers.arithmetic import FLOAT32
from boundcert.layers.blend import Blend
from boundcert.layers.relaxation import Box
from boundcert.network.graph import Network
from examples import examples

F = np.float32
NUMBERS = {
    "half": F(0.5),
    "one": F(1),
    "two": F(2),
    "three": F(3),
    "root2": F(np.sqrt(2)),
    "root_half": F(np.sqrt(0.5)),
    "quick": F(1.702),
    "kappa": F(0.044715),
    "beta": F(np.sqrt(2 / np.pi)),
    "minus": F(-1),
    "tiny": F(1e-6),
    "eight": F(8),
}
GELU = "t = Div x root2; e = Erf t; s = Add e one; "
#: name of the activation, what is written from x to y
WRITTEN = {
    "silu": ("Swish", "s = Sigmoid x; y = Mul x s"),
    "silu_turned": ("Swish", "s = Sigmoid x; y = Mul s x"),
    "quick_gelu": ("Swish", "t = Mul x quick; s = Sigmoid t; y = Mul x s"),
    "half_tanh": (
        "Swish",
        "t = Mul half x; h = Tanh t; s = Add h one; p = Mul x half; y = Mul p s",
    ),
    "gelu": ("Gelu", GELU + "p = Mul x s; y = Mul p half"),
    "gelu_half_first": ("Gelu", GELU + "p = Mul x half; y = Mul p s"),
    "gelu_half_gate": (
        "Gelu",
        "t = Mul x root_half; e = Erf t; s = Add one e; g = Mul half s; y = Mul g x",
    ),
    "gelu_tanh_product": (
        "GeluTanh",
        "x2 = Mul x x; x3 = Mul x x2; c = Mul kappa x3; u = Add x c; t = Mul beta u; "
        "h = Tanh t; s = Add h one; p = Mul half x; y = Mul p s",
    ),
    "gelu_tanh_power": (
        "GeluTanh",
        "x3 = Pow x three; c = Mul kappa x3; u = Add c x; t = Mul u beta; "
        "h = Tanh t; s = Add one h; p = Mul x s; y = Mul p half",
    ),
    "mish": ("Mish", "p = Softplus x; s = Tanh p; y = Mul x s"),
    "hard_swish": ("HardSwish", "s = HardSigmoid x; y = Mul x s"),
}
#: what looks like one and is none, or might leave the range of the runtime's numbers
APART = {
    "another_gate": "n = Neg x; s = Sigmoid n; y = Mul x s",
    "gate_of_more": "t = Add x one; s = Sigmoid t; y = Mul x s",
    "more_of_the_gate": "t = Add x one; s = Sigmoid x; y = Mul t s",
    "another_shift": "e = Erf x; s = Add e two; y = Mul x s",
    "no_shift": "s = Tanh x; y = Mul x s",
    "squared": "t = Mul x x; s = Sigmoid x; y = Mul t s",
    "faint": "s = Sigmoid x; t = Mul s tiny; y = Mul x t",
    "cancelling_shifts": "t = Add x eight; u = Sub t eight; s = Sigmoid u; y = Mul x s",
    "cancelling_terms": "p = Mul x two; q = Mul x root2; t = Sub p q; s = Sigmoid t; y = Mul x s",
    "shifted_twice": "e = Erf x; f = Add e two; s = Sub f one; y = Mul x s",
    "scaled_often": "a = Mul x two; b = Mul a half; c = Mul b two; d = Mul c half; e = Mul d two; "
    "f = Mul e half; t = Mul f two; s = Sigmoid t; y = Mul x s",
    "scaled_gate": "s = Sigmoid x; a = Mul s half; b = Mul a two; c = Mul b half; d = Mul c two; "
    "y = Mul x d",
    "one_of_two": "s = Sigmoid x; p = Mul x s; n = Mul p minus; g = Sigmoid n; y = Mul g x",
}


def written(text: str) -> onnx.ModelProto:
    nodes = []
    for part in text.split("; "):
        out, op, *inputs = part.replace("= ", "").split()
        more = {"alpha": 1 / 6, "beta": 0.5} if op == "HardSigmoid" else {}
        nodes.append(node(op, " ".join(inputs), out, **more))
    used = {name for n in nodes for name in n.input}
    return model(nodes, [1, 7], {k: v for k, v in NUMBERS.items() if k in used}, opset=18)


def activations(network: Network) -> list[Elementwise]:
    return [n.layer for n in network.nodes[1:] if isinstance(n.layer, Elementwise)]


def values(seed: int, scale: float) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((40, 1, 7)) * scale
    return np.clip(found, -3e38, 3e38).astype(F)


@pytest.mark.parametrize("case", WRITTEN)
def test_becomes_one_activation(case: str) -> None:
    name, text = WRITTEN[case]
    network = imported(written(text))
    (layer,) = activations(network)
    assert layer.name == name
    assert all(n.op in ("Input", "Mul", name) for n in network.nodes)
    # HardSigmoid's 1/6 is a float32, which takes two factors of about 1
    assert len(network.nodes) == (4 if case == "hard_swish" else 2)


BLENDS = {
    "highway": "t = Sigmoid x; h = Relu x; a = Mul t h; c = Sub one t; b = Mul c x; y = Add a b",
    "turned": "t = Sigmoid x; h = Relu x; n = Neg t; c = Add n one; b = Mul x c; "
    "a = Mul h t; y = Add b a",
    "backward": "t = Tanh x; h = Relu x; d = Sub t one; c = Neg d; a = Mul t h; b = Mul c x; "
    "y = Sum a b",
}
#: gates that are not of the same node, do not add up to 1, or are subtracted
NO_BLENDS = {
    "two_gates": "t = Sigmoid x; u = Sigmoid x; h = Relu x; a = Mul t h; c = Sub one u; "
    "b = Mul c x; y = Add a b",
    "more": "t = Sigmoid x; h = Relu x; a = Mul t h; c = Sub two t; b = Mul c x; y = Add a b",
    "less": "t = Sigmoid x; h = Relu x; a = Mul t h; c = Sub one t; b = Mul c x; y = Sub a b",
    "in_steps": "t = Sigmoid x; h = Relu x; a = Mul t h; s = Mul t two; n = Mul s half; "
    "c = Sub one n; b = Mul c x; y = Add a b",
}


@pytest.mark.parametrize("case", [*BLENDS, *NO_BLENDS])
def test_highway_gates_become_one_layer(case: str) -> None:
    network = imported(written({**BLENDS, **NO_BLENDS}[case]))
    assert any(isinstance(n.layer, Blend) for n in network.nodes) == (case in BLENDS)


@pytest.mark.parametrize("case", [*WRITTEN, *APART, *BLENDS, *NO_BLENDS])
def test_has_the_value_of_what_is_written(case: str) -> None:
    texts = {**APART, **BLENDS, **NO_BLENDS, **{k: text for k, (_, text) in WRITTEN.items()}}
    made = written(texts[case])
    network, run = imported(made), in_onnxruntime(made, False)
    for scale in (0.1, 3.0, 50.0):
        x = torch.from_numpy(values(1, scale).astype(np.float64))
        np.testing.assert_allclose(
            network.logits(x), run(x).reshape(len(x), -1), rtol=3e-6, atol=3e-6 * scale
        )


@pytest.mark.parametrize("case", APART)
def test_is_left_apart(case: str) -> None:
    names = {layer.name for layer in activations(imported(written(APART[case])))}
    assert names - {"Sigmoid", "Erf", "Tanh"} == ({"Swish"} if case == "one_of_two" else set())


def test_a_gate_with_another_reader_stays() -> None:
    text = "s = Sigmoid x; g = Mul x s; y = Add g s"
    names = [layer.name for layer in activations(imported(written(text)))]
    assert sorted(names) == ["Sigmoid", "Swish"]


@pytest.mark.parametrize("case", WRITTEN)
@settings(max_examples=examples(8), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), power=st.floats(-42, 38.4), optimised=st.booleans())
def test_errors_of_runtimes_hold(case: str, seed: int, power: float, optimised: bool) -> None:
    """Every evaluation of the nodes as written, in float32, is within the activation's error."""
    made = written(WRITTEN[case][1])
    network = imported(made)
    x = values(seed, 10.0**power)
    x = np.where(np.random.default_rng(seed).random(x.shape) < 0.3, values(seed + 1, 3.0), x)
    point = torch.from_numpy(x.astype(np.float64))
    box, error = Box(point, point, point), torch.zeros_like(point)
    for n in network.nodes[1:]:
        assert n.layer is not None
        own = n.layer.runtime_error(FLOAT32, box)
        value = n.layer.forward(box.point)
        error = error * (1 if isinstance(n.layer, Elementwise) else float(n.layer.weight))
        error = error * 1.6 + (0.0 if own is None else own)
        box = Box(value, value, value)
    with np.errstate(all="ignore"):
        out = in_onnxruntime(made, optimised)(point)
    off = (out - box.point).abs()
    assert bool(((off <= error) | error.isinf()).all())
    if abs(power) < 10:
        assert bool(error.isfinite().all())
