"""Bounds on a runtime's error, carried through several nodes, where the runtime may fuse these.

And sums in the orders that are allowed: at random, one after the other, the bias first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network.models import model, node
from runtime_cases import in_onnxruntime

from boundcert.layers import registry
from boundcert.layers.activation import elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.arithmetic import BFLOAT16, BY_CODE, FLOAT16, FLOAT32, FUSED, Arithmetic
from boundcert.layers.base import Layer, NodeSpec
from boundcert.layers.dense import Dense
from boundcert.layers.relaxation import Box
from examples import examples

seeds = st.integers(0, 2**32 - 1)
#: How large the constants that are added are beside what they are added to.
shifts = st.sampled_from([0.0, 1.0, 1e3, 1e6])
SHAPE = (1, 3, 6, 6)


def point(value: torch.Tensor, error: torch.Tensor | float = 0.0) -> Box:
    return Box(value - error, value + error, value)


def build(op: str, *operands: object, shape: tuple[int, ...], **attributes: object) -> Layer:
    return registry.build(NodeSpec(op, op, 18, attributes, tuple(operands), shape))  # type: ignore[arg-type]


def fusing(*layers: Layer) -> Arithmetic:
    """What holds where these may become one sum: its bias goes through all of their sums."""
    terms = sum(layer.fan_in if isinstance(layer, Affine) else 2 for layer in layers)
    return dataclasses.replace(FLOAT32, fused=FUSED + terms)


Step = tuple[torch.Tensor, torch.Tensor]


def through(layer: Layer, arithmetic: Arithmetic, value: torch.Tensor, error: torch.Tensor) -> Step:
    """Exact value and bound on the error behind an affine layer."""
    assert isinstance(layer, Affine)
    own = layer.runtime_error(arithmetic, point(value, error))
    assert own is not None
    return layer.forward(value), layer.apply(error, torch.abs) + own


def check(made: onnx.ModelProto, x: torch.Tensor, value: torch.Tensor, bound: torch.Tensor) -> None:
    assert bool(bound.isfinite().all())
    for optimised in (False, True):
        computed = in_onnxruntime(made, optimised)(x)
        assert bool(((computed - value).abs() <= bound).all())


def numbers(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def operand(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(numbers(rng, 4, *shape)).double()


@settings(max_examples=examples(15), deadline=None)
@given(seed=seeds, shift=shifts)
def test_convolution_and_batch_normalisation(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = numbers(rng, 4, 3, 3, 3), numbers(rng, 4, scale=shift)
    parts = [numbers(rng, 4), *(numbers(rng, 4, scale=shift) for _ in range(2))]
    parts.append(rng.random(4).astype(np.float32) + np.float32(1e-3))
    out = (1, 4, 4, 4)
    layers = [
        build("Conv", SHAPE, weight, bias, shape=out),
        build("BatchNormalization", out, *parts, shape=out, epsilon=float(np.float32(1e-5))),
    ]
    x = operand(rng, *SHAPE)
    value, error = x, torch.zeros_like(x)
    for layer in layers:
        value, error = through(layer, fusing(*layers), value, error)
    nodes = [node("Conv", "x w b", "c"), node("BatchNormalization", "c s t m v", epsilon=1e-5)]
    constants = {"w": weight, "b": bias, **dict(zip("stmv", parts))}
    check(model(nodes, SHAPE, constants, rank=4), x, value, error)


@settings(max_examples=examples(15), deadline=None)
@given(seed=seeds, shift=shifts)
def test_product_and_bias(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = numbers(rng, 300, 20), numbers(rng, 20, scale=shift)
    layers = [
        build("MatMul", (1, 300), weight, shape=(1, 20)),
        build("Add", (1, 20), bias, shape=(1, 20)),
    ]
    x = operand(rng, 1, 300)
    value, error = x, torch.zeros_like(x)
    for layer in layers:
        value, error = through(layer, fusing(*layers), value, error)
    nodes = [node("MatMul", "x w", "p"), node("Add", "p b")]
    check(model(nodes, (1, 300), {"w": weight, "b": bias}), x, value, error)


@settings(max_examples=examples(15), deadline=None)
@given(seed=seeds, shift=shifts)
def test_convolution_residual_and_relu(seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    weight, bias = numbers(rng, 3, 3, 3, 3), numbers(rng, 3, scale=shift)
    first = build("Conv", SHAPE, weight, bias, shape=SHAPE, pads=[1, 1, 1, 1])
    add = build("Add", SHAPE, SHAPE, shape=SHAPE)
    arithmetic, x = fusing(first, add), operand(rng, *SHAPE) * (shift or 1.0)
    x = x.float().double()
    value, error = through(first, arithmetic, x, torch.zeros_like(x))
    own = add.runtime_error(arithmetic, point(value, error), point(x))
    assert own is not None
    relu = elementwise("Relu", SHAPE)
    assert relu.runtime_error(FLOAT32, point(value)) is None
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("Add", "c x", "a"),
        node("Relu", "a"),
    ]
    made = model(nodes, SHAPE, {"w": weight, "b": bias}, rank=4)
    check(made, x, relu.forward(add.forward(value, x)), error + own)


def one_by_one(terms: np.ndarray) -> np.ndarray:
    """Sums along the first axis, rounded after every term."""
    return np.cumsum(terms, axis=0, dtype=np.float32)[-1]


def in_blocks(terms: np.ndarray) -> np.ndarray:
    """Sums with eight accumulators."""
    return one_by_one(np.stack([one_by_one(terms[k::8]) for k in range(8)]))


SIGNS: list[Callable[[np.ndarray], np.ndarray]] = [lambda x: x, np.abs, np.ones_like]


@pytest.mark.parametrize("sign", SIGNS, ids=["mixed", "positive", "ones"])
@settings(max_examples=examples(5), deadline=None)
@given(seed=seeds, shift=shifts)
def test_sums_in_any_order(sign: Callable, seed: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    weight, x = sign(numbers(rng, 1000, 6)), sign(numbers(rng, 1000))
    bias = numbers(rng, 6, scale=shift)
    layer = build("Gemm", (1, 1000), weight, bias, shape=(1, 6))
    exact = torch.from_numpy(x).double()[None, None]
    bound = layer.runtime_error(FLOAT32, point(exact))
    assert bound is not None
    for total in (one_by_one, in_blocks):
        order = rng.permutation(1001)
        terms = np.concatenate([bias[None], x[:, None] * weight])
        for chosen in (order, np.arange(1001)):
            error = np.abs(total(terms[chosen]) - layer.forward(exact).numpy())
            assert (error <= bound.numpy()).all()


def test_a_bias_goes_through_the_sums_in_front_of_it() -> None:
    """Why ``fused`` grows along affine nodes: an accumulator that starts with a later bias."""
    n, tick = 1000, np.float32(2.0**-24 * 1.001)
    weight, bias = np.full((n, 1), tick), np.ones(1, dtype=np.float32)
    layers = [
        build("MatMul", (1, n), weight, shape=(1, 1)),
        build("Add", (1, 1), bias, shape=(1, 1)),
    ]
    computed = one_by_one(np.concatenate([bias[None], weight]))
    value, bounds = torch.ones(1, 1, n, dtype=torch.float64), []
    for arithmetic in (FLOAT32, fusing(*layers)):
        exact, error = value, torch.zeros_like(value)
        for layer in layers:
            exact, error = through(layer, arithmetic, exact, error)
        bounds.append(float(error))
    assert bounds[0] < abs(float(computed[0]) - float(exact)) <= bounds[1]


@pytest.mark.parametrize("code", [10, 16], ids=["float16", "bfloat16"])
def test_a_cast_rounds(code: int) -> None:
    kind, rng = BY_CODE[code], np.random.default_rng(0)
    dtype = {10: torch.float16, 16: torch.bfloat16}[code]
    layer = build("Cast", (1, 2000), shape=(1, 2000), to=code)
    x = numbers(rng, 5, 1, 2000) * 10.0 ** rng.uniform(-9, 3, (5, 1, 2000)).astype(np.float32)
    exact = torch.from_numpy(x).double()
    bound = layer.runtime_error(FLOAT32, point(exact))
    assert bound is not None and bool(bound.isfinite().all())
    error = (exact.float().to(dtype).double() - exact).abs()
    assert bool((error <= bound).all()) and float((error / bound).max()) > 0.5
    huge = layer.runtime_error(FLOAT32, point(exact * 2.0 * kind.largest))
    assert huge is not None and bool(huge.isinf().any())


def test_coarser_types_and_what_they_cannot_hold() -> None:
    clip = build("Clip", (1, 3), np.array(0.3), np.array(1e30), shape=(1, 3))
    box = point(torch.zeros(1, 1, 3, dtype=torch.float64))
    assert clip.runtime_error(BFLOAT16, box) is not None
    half = build("Clip", (1, 3), np.array(0.25), None, shape=(1, 3))
    assert half.runtime_error(FLOAT16, box) is None
    wide = build("Gemm", (1, 4000), np.ones((4000, 1)), shape=(1, 1))
    assert isinstance(wide, Dense)
    ones = point(torch.ones(1, 1, 4000, dtype=torch.float64))
    assert bool(torch.isinf(wide.runtime_error(FLOAT16, ones)).all())  # type: ignore[arg-type]
