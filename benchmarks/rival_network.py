"""A network as torch's own layers, which the rival can trace."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from boundcert.layers.activation import Elementwise
from boundcert.layers.base import Layer
from boundcert.layers.conv import Conv
from boundcert.layers.dense import Dense
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.structure import Reshape
from boundcert.network.graph import Network


class Plain(nn.Module):
    """A network as torch's own layers, which the rival can trace.

    A normalisation in front of the network is split: its scale goes into the first layer's
    weights, and its shift into the data (:meth:`data`), which moves the ball and does not change
    it. As layers of the graph, Sub and Div make the rival's L2 bounds wrong (its intervals lose
    the ball behind them), and a shift in the first bias would be wrong at a convolution's
    padding.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.inputs: list[tuple[int, ...]] = []
        self.flat = False
        scale = torch.ones(network.input_shape, dtype=torch.float64)
        shift = torch.zeros_like(scale)
        place, first = {0: 0}, True  # positions here, by positions in the network
        for i, node in enumerate(network.nodes[1:], 1):
            layer = node.layer
            if first and isinstance(layer, Diagonal):
                weight = layer.weight.reshape(layer.weight.shape[1:])
                scale = scale * weight
                shift = shift * weight + layer.shift.reshape(layer.shift.shape[1:])
                place[i] = 0
                continue
            if first and isinstance(layer, Reshape) and len(layer.out_shape) == 2:
                self.flat, place[i] = True, 0
                continue
            assert layer is not None
            self.layers.append(_module(layer, scale if first else None))
            self.inputs.append(tuple(place[j] for j in node.inputs))
            place[i] = len(self.layers)
            first = False
        self.offset = shift / scale
        with torch.no_grad():
            trial = torch.randn(3, *network.input_shape, dtype=torch.float64).abs()
            expected = network.logits(trial)
            error = (self(self.data(trial)) - expected).abs().max() / expected.abs().max()
        assert error < 1e-9, f"the rival's network differs by {error:.2g}"

    @property
    def convolutional(self) -> bool:
        return any(isinstance(m, nn.Conv2d) for m in self.layers)

    def data(self, rows: torch.Tensor) -> torch.Tensor:
        """Samples (B, *input_shape) as this module takes them."""
        moved = (rows + self.offset).reshape(len(rows), *self.offset.shape[1:])
        return moved.flatten(1) if self.flat else moved

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values = [x]
        for layer, inputs in zip(self.layers, self.inputs):
            values.append(layer(*(values[j] for j in inputs)))
        return values[-1]


class _Sum(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def _module(layer: Layer, scale: torch.Tensor | None) -> nn.Module:
    """One layer as torch's; ``scale`` of its input goes into its weights."""
    if isinstance(layer, Conv):
        return _conv(layer, scale)
    if isinstance(layer, Dense) and layer.weight.dim() == 2 and not layer.left:
        weight = layer.weight.T
        dense = nn.Linear(weight.shape[1], weight.shape[0]).double()
        return _filled(dense, weight if scale is None else weight * scale.flatten(), layer.bias)
    if isinstance(layer, MaxPool):
        w = layer.windows
        return nn.MaxPool2d(w.kernel, w.stride, w.before, w.dilation)
    if isinstance(layer, Elementwise):
        return {"Relu": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh}[layer.name]()
    if isinstance(layer, Reshape) and len(layer.out_shape) == 2:
        return nn.Flatten()
    if getattr(layer, "op", "") == "Add":
        return _Sum()
    raise NotImplementedError(f"the rival's conversion knows no {type(layer).__name__}")


def _conv(layer: Conv, scale: torch.Tensor | None) -> nn.Module:
    w, weight = layer.windows, layer.weight
    if len(w.kernel) != 2 or w.before != w.after:
        raise NotImplementedError("the rival's conversion knows 2-D and even padding only")
    if scale is not None:
        channels = scale.reshape(scale.shape[1], -1)
        if layer.groups != 1 or (channels != channels[:, :1]).any():
            raise NotImplementedError("the rival's conversion scales whole channels only")
        weight = weight * channels[:, 0].reshape(1, -1, 1, 1)
    form: Any = (w.kernel, w.stride, w.before, w.dilation, layer.groups)
    conv = nn.Conv2d(weight.shape[1] * layer.groups, weight.shape[0], *form).double()
    return _filled(conv, weight, layer.bias)


def _filled(module: Any, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(0.0 if bias is None else bias.flatten())
    return module
