"""Convolution norms against the written-out matrix, each proof on its own."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.layers import conv_norm
from boundcert.layers.affine import unchanged
from boundcert.layers.base import NodeSpec
from boundcert.layers.conv import Conv
from boundcert.layers.spectral import batched_norm_bound, spectral_norm_bound


def random_conv(rng: np.random.Generator) -> Conv:
    """One or two spatial axes, any geometry that yields an output."""
    while True:
        rank = int(rng.integers(1, 3))
        size = rng.integers(1, 7, rank)
        kernel, stride = rng.integers(1, 5, rank), rng.integers(1, 4, rank)
        dilation, pads = rng.integers(1, 3, rank), rng.integers(0, 4, 2 * rank)
        groups = int(rng.integers(1, 3))
        weight = rng.standard_normal((2 * groups, int(rng.integers(1, 3)), *kernel))
        if rng.random() < 0.5:
            weight = np.sign(weight)  # high or constant frequencies decide
        shape = (1, weight.shape[1] * groups, *size)
        attributes = {
            "strides": stride.tolist(),
            "dilations": dilation.tolist(),
            "pads": pads.tolist(),
            "group": groups,
        }
        try:
            layer = Conv.build(NodeSpec("Conv", "c", 18, attributes, (shape, weight), shape))
        except Exception:
            continue
        assert isinstance(layer, Conv)
        return layer


def exact(layer: Conv) -> float:
    n = math.prod(layer.in_shape)
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *layer.in_shape)
    return float(np.linalg.norm(layer.apply(basis, unchanged).reshape(n, -1).numpy(), 2))


@settings(max_examples=250, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_both_proofs_hold(seed: int) -> None:
    layer = random_conv(np.random.default_rng(seed))
    true, weight = exact(layer), layer.weight.numpy()
    bound = conv_norm.conv_norm_bound(weight, layer.windows, layer.groups)
    assert true * (1 - 1e-12) <= bound
    budget, conv_norm.BUDGET = conv_norm.BUDGET, -1.0
    try:
        overlap = conv_norm.conv_norm_bound(weight, layer.windows, layer.groups)
    finally:
        conv_norm.BUDGET = budget
    assert true * (1 - 1e-12) <= overlap


def test_the_torus_must_hold_the_padding() -> None:
    """A torus too short for data and padding misses the frequency that matters."""
    weight = np.array([[[1.0, -1.0, 1.0]]])
    attributes = {"pads": [1, 1]}
    for size in range(3, 9):
        shape = (1, 1, size)
        layer = Conv.build(NodeSpec("Conv", "c", 18, attributes, (shape, weight), shape))
        assert isinstance(layer, Conv)
        bound = conv_norm.conv_norm_bound(weight, layer.windows, 1)
        assert exact(layer) <= bound <= 3.0 * (1 + 1e-9)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-160, 1e-20, 1.0, 1e20, 1e150]),
    rank=st.integers(0, 5),
)
def test_spectral_bounds_are_upper_and_tight(seed: int, scale: float, rank: int) -> None:
    rng = np.random.default_rng(seed)
    m, n = rng.integers(1, 12, 2)
    matrix = rng.standard_normal((m, rank)) @ rng.standard_normal((rank, n)) * scale
    true = np.linalg.norm(matrix / scale, 2) * scale
    bound = spectral_norm_bound(matrix)
    assert true * (1 - 1e-13) <= bound <= true * (1 + 1e-7) + 1e-300
    stack = np.stack([matrix, 2 * matrix])
    assert (batched_norm_bound(stack) >= np.array([1, 2]) * true * (1 - 1e-13)).all()


def test_power_iteration_would_be_too_small() -> None:
    """Orthogonal to its start, power iteration sees only the second singular value; we don't."""
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    values = np.concatenate([[1.0], np.full(39, 1 - 1e-9)])
    matrix = u @ np.diag(values) @ u.T
    assert spectral_norm_bound(matrix) >= 1.0 - 1e-15
    assert spectral_norm_bound(np.full((3, 3), np.nan)) == np.inf
