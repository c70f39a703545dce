"""Torch modules: exported inside boundcert, or by hand with either of torch's exporters."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import boundcert
from boundcert.errors import RefusedInput, UsageError


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.block = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.block(x))
        return self.head(x.mean(dim=(2, 3)))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 4), nn.Linear(6, 3), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.cat([nn.functional.gelu(self.left(x)), self.right(x).sigmoid()], dim=1)
        return self.head(nn.functional.leaky_relu(both, 0.1))


class Flattening(nn.Module):
    """Shape arithmetic, a gate, a softmax inside, a chunk and a pad."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 4, 3), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.conv(nn.functional.pad(x, (1, 2))).chunk(2, dim=1)
        gated = a * torch.softmax(b, dim=-1)
        flat = gated.reshape(x.shape[0], -1)
        return self.head(torch.cat([flat, flat.abs().clamp(max=0.3)], dim=-1)[:, :16])


MODULES = {
    "mlp": (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (6,)),
    "activations": (
        nn.Sequential(
            nn.Linear(6, 8), nn.ELU(0.5), nn.Linear(8, 8), nn.SiLU(), nn.PReLU(8),
            nn.Linear(8, 6), nn.Hardtanh(-0.5, 0.7), nn.CELU(2.0), nn.Softsign(), nn.Hardsigmoid(),
            nn.Hardswish(), nn.GELU(approximate="tanh"), nn.Linear(6, 3),
        ),
        (6,),
    ),
    "softplus": (nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 3)), (6,)),
    "cnn": (
        nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Dropout(0.5), nn.AvgPool2d(2, 1, padding=1), nn.ConvTranspose2d(4, 2, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(2, 3),
        ),
        (1, 9, 9),
    ),
    "residual": (Residual(), (3, 8, 8)),
    "branches": (Branches(), (6,)),
    "flattening": (Flattening(), (2, 7)),
    "binary": (nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid()), (6,)),
    "double": (nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double(), (6,)),
    "softmax": (nn.Sequential(nn.Linear(6, 4), nn.LogSoftmax(dim=1)), (6,)),
}  # fmt: skip


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> tuple[str, nn.Module, torch.Tensor]:
    net, shape = MODULES[request.param]
    torch.manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
    return request.param, net, torch.randn(4, *shape, dtype=next(net.parameters()).dtype)


def expected(name: str, net: nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        out = net.eval()(x).double().numpy()
    if name == "binary":
        z = np.log(out / (1 - out))
        return np.concatenate([np.zeros_like(z), z], axis=1)
    return out


def compare(name: str, network: boundcert.Network, net: nn.Module, x: torch.Tensor) -> None:
    ours = network.logits(network.prepare(x.numpy())).numpy()
    theirs = expected(name, net, x)
    if name == "softmax":
        ours = ours - np.log(np.exp(ours).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_from_torch(module: tuple[str, nn.Module, torch.Tensor]) -> None:
    name, net, x = module
    net.train()
    network = boundcert.from_torch(net, x[:1])
    assert net.training, "the caller's module is left as it was"
    assert network.source.batch is None
    compare(name, network, net, x)


def test_dynamo_exporter(module: tuple[str, nn.Module, torch.Tensor], tmp_path: Path) -> None:
    name, net, x = module
    if name == "softplus":
        pytest.skip("dynamo writes Softplus as Greater and Where, with a step at 20: not bounded")
    path = tmp_path / "model.onnx"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net.eval(), (x[:1],), path, dynamo=True, verbose=False)
    except Exception as error:
        pytest.skip(f"this torch cannot export with dynamo: {error}")
    compare(name, boundcert.load_onnx(path), net, x)


def test_mean_and_std() -> None:
    net, shape = MODULES["residual"]
    x = torch.randn(3, *shape)
    network = boundcert.from_torch(net, x[:1], mean=[0.1, 0.2, 0.3], std=[0.5, 1.0, 2.0])
    mean = torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    std = torch.tensor([0.5, 1.0, 2.0])[:, None, None]
    ours = network.logits(network.prepare(x.numpy())).numpy()
    np.testing.assert_allclose(ours, expected("", net, (x - mean) / std), rtol=1e-4, atol=1e-5)


def test_unknown_options_and_failing_exports() -> None:
    net, shape = MODULES["mlp"]
    with pytest.raises(UsageError, match="unknown option"):
        boundcert.from_torch(net, torch.zeros(1, *shape), colour=1)
    with pytest.raises(RefusedInput, match=r"torch.onnx.export fails on Sequential"):
        boundcert.from_torch(net, torch.zeros(1, 5))


def test_output_kinds(tmp_path: Path) -> None:
    """A model on disk and the same one in memory give the same network."""
    net, shape = MODULES["cnn"]
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (torch.zeros(1, *shape),), buffer, dynamo=False)
    path = tmp_path / "cnn.onnx"
    path.write_bytes(buffer.getvalue())
    x = torch.randn(2, *shape)
    compare("", boundcert.load_onnx(path), net, x)
