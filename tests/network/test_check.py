"""The comparison with onnxruntime catches a layer that evaluates something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from network.models import cnn, mlp, model, node, save

import boundcert
from boundcert.errors import RefusedInput
from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Layer
from boundcert.layers.conv import Conv
from boundcert.layers.dense import Dense
from boundcert.layers.lrn import LRN
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.product import Product


def sabotage(kind: type[Layer], monkeypatch: pytest.MonkeyPatch, off: float) -> None:
    original: Callable[..., torch.Tensor] = kind.forward

    def forward(self: Layer, *x: torch.Tensor) -> torch.Tensor:
        out = original(self, *x)
        flat = out.reshape(-1).clone()
        flat[-1] = flat[-1] * (1 + off) + off
        return flat.reshape(out.shape)

    monkeypatch.setattr(kind, "forward", forward)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Conv, "conv"),
        (Elementwise, "elu"),
        (LRN, "lrn"),
        (MaxPool, "pool"),
        (Product, "gated"),
        (Dense, "logits"),
        (Affine, "conv"),
    ],
)
@pytest.mark.parametrize("off", [0.01, 1.0])
def test_first_differing_node_is_named(
    kind: type[Layer], name: str, off: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(cnn(), tmp_path)
    boundcert.load_onnx(path)
    sabotage(kind, monkeypatch, off)
    with pytest.raises(RefusedInput, match=f"differs from onnxruntime at node '{name}'"):
        boundcert.load_onnx(path)
    boundcert.load_onnx(path, check=False)


def test_wrong_shape_at_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(mlp(), tmp_path)
    monkeypatch.setattr(Dense, "forward", lambda self, x: x)
    with pytest.raises(RefusedInput, match=r"first \(Gemm.*gives shape \[1, 4\] where"):
        boundcert.load_onnx(path)


def test_a_node_that_is_never_finite_is_refused(tmp_path: Path) -> None:
    nodes = [
        node("Abs", "x", "a"),
        node("Neg", "a", "n"),
        node("Log", "n", "l", name="log_of_negative"),
        node("Concat", "x l", "y", axis=1),
    ]
    path = save(model(nodes, ["N", 2]), tmp_path)
    with pytest.raises(RefusedInput, match=r"'log_of_negative' .*NaN or infinity on every"):
        boundcert.load_onnx(path)
