"""Random networks over all layer kinds: chains, residual, concat, gates, built without ONNX."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from boundcert.layers import registry
from boundcert.layers.base import NodeSpec
from boundcert.network.gates import with_gates
from boundcert.network.graph import Network, Node, Source, append

SMOOTH = ("Sigmoid", "Tanh", "Softplus", "Gelu", "Erf")
KINKED = ("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "Softsign", "Abs", "HardSwish")


class Builder:
    """Grows a graph node by node; every method returns the new node's position."""

    def __init__(
        self, shape: tuple[int, ...], rng: np.random.Generator, scale: float = 1.0
    ) -> None:
        self.rng, self.scale = rng, scale
        self.nodes = [Node("input", "Input", None, (), shape, "input")]

    def shape(self, k: int) -> tuple[int, ...]:
        return self.nodes[k].shape

    def add(
        self,
        op: str,
        inputs: Sequence[int],
        shape: tuple[int, ...] | None = None,
        constants: Sequence[np.ndarray] = (),
        **attributes: object,
    ) -> int:
        operands = (*(self.shape(i) for i in inputs), *constants)
        spec = NodeSpec(op, op.lower(), 18, attributes, operands, shape or self.shape(inputs[0]))
        layer = registry.build(spec)
        out = getattr(layer, "out_shape", spec.shape)
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(Node(name, op, layer, tuple(inputs), out, name))
        return len(self.nodes) - 1

    def weight(self, *shape: int) -> np.ndarray:
        fan = max(int(np.prod(shape[1:])), 1)
        return self.rng.standard_normal(shape) * (self.scale / np.sqrt(fan))

    def dense(self, k: int, width: int) -> int:
        n = self.shape(k)[1]
        return self.add(
            "Gemm", [k], (1, width), [self.weight(width, n), self.weight(width)], transB=1
        )

    def conv(self, k: int, channels: int, kernel: int = 3, **attributes: object) -> int:
        c = self.shape(k)[1]
        weights = [self.weight(channels, c, kernel, kernel), self.weight(channels)]
        return self.add("Conv", [k], None, weights, **attributes)

    def activation(self, k: int, kinds: Sequence[str] = (*SMOOTH, *KINKED)) -> int:
        return self.add(str(self.rng.choice(kinds)), [k])

    def normalise(self, k: int) -> int:
        c = self.shape(k)[1]
        parts = [self.weight(c), self.weight(c), self.weight(c), self.rng.random(c) + 0.1]
        return self.add("BatchNormalization", [k], None, parts)

    def flatten(self, k: int) -> int:
        return self.add("Flatten", [k], (1, int(np.prod(self.shape(k)))))

    def finish(self, k: int, classes: int) -> Network:
        k = self.flatten(k) if len(self.shape(k)) != 2 else k
        self.dense(k, classes)
        source = Source("random", "0" * 64, b"", "input", "logits")
        # as imports have them, or as they are written
        nodes = with_gates(self.nodes) if self.rng.random() < 0.7 else self.nodes
        return Network(append(nodes, "max"), source)


def vector_block(b: Builder, k: int) -> int:
    """One random block on a vector."""
    width = b.shape(k)[1]
    kind = b.rng.choice(
        ["layer", "layer", "residual", "concat", "highway", "square", "softmax", "swish"]
    )
    if kind == "layer":
        return b.activation(b.dense(k, int(b.rng.integers(2, 7))))
    if kind == "residual":
        inner = b.dense(b.activation(b.dense(k, 5)), width)
        return b.activation(b.add(str(b.rng.choice(["Add", "Sub", "Max"])), [inner, k]))
    if kind == "concat":
        new = b.activation(b.dense(k, 3))
        return b.add("Concat", [k, new], (1, width + 3), axis=1)
    if kind == "highway":
        gate = b.add("Sigmoid", [b.dense(k, width)])
        inner = b.activation(b.dense(k, width))
        carry = b.add("Neg", [gate])
        kept = b.add("Mul", [b.add("Add", [carry], None, [np.ones(1)]), k])
        return b.add("Add", [b.add("Mul", [gate, inner]), kept])
    if kind == "softmax":
        return b.add("Softmax", [b.dense(k, 4)], axis=1)
    if kind == "swish":
        inner = b.dense(k, 4)
        return b.add("Mul", [inner, b.add("Sigmoid", [inner])])
    return b.add("Pow", [b.dense(k, 4)], None, [np.array(2.0)])


def image_block(b: Builder, k: int) -> int:
    """One random block on an image."""
    channels = b.shape(k)[1]
    kind = b.rng.choice(["conv", "conv", "pool", "residual", "dense", "excite", "norm", "lrn"])
    if kind == "conv":
        k = b.conv(k, 3, pads=[1, 1, 1, 1], strides=[int(b.rng.integers(1, 3)), 1])
        return b.activation(k)
    if kind == "pool":
        pads = [1, 0, 1, 1]
        op = str(b.rng.choice(["MaxPool", "AveragePool", "LpPool"]))
        window = [2, 2] if b.rng.random() < 0.5 else [3, 2]
        extra = {"p": int(b.rng.integers(1, 4))} if op == "LpPool" else {}
        stride = [int(b.rng.integers(1, 3)), 1]
        return b.add(op, [k], kernel_shape=window, strides=stride, pads=pads, **extra)
    if kind == "residual":
        inner = b.conv(b.activation(b.conv(k, 4, pads=[1] * 4)), channels, 1)
        return b.activation(b.add("Add", [k, inner]))
    if kind == "dense":
        new = b.activation(b.conv(k, 2, pads=[1] * 4))
        shape = (1, channels + 2, *b.shape(k)[2:])
        return b.add("Concat", [k, new], shape, axis=1)
    if kind == "excite":
        gap = b.add("GlobalAveragePool", [k], (1, channels, 1, 1))
        gate = b.add("Sigmoid", [b.conv(b.add("Relu", [b.conv(gap, 2, 1)]), channels, 1)])
        return b.add("Mul", [k, gate])
    if kind == "norm":
        return b.activation(b.normalise(k))
    return b.add("LRN", [k], size=3, alpha=0.5, beta=0.75, bias=1.0)


def random_network(seed: int, scale: float = 1.0) -> Network:
    """A random network on vectors or small images, 2 to 4 classes."""
    rng = np.random.default_rng(seed)
    image = rng.random() < 0.5
    shape = (1, 2, 5, 4) if image else (1, int(rng.integers(1, 6)))
    b = Builder(shape, rng, scale)
    k = 0
    for _ in range(int(rng.integers(1, 4))):
        k = image_block(b, k) if image else vector_block(b, k)
    if image:
        k = b.flatten(k)
        if rng.random() < 0.5:
            k = b.activation(b.dense(k, 5))
    return b.finish(k, int(rng.integers(2, 5)))


def smooth_mlp(seed: int, scale: float = 1.0) -> Network:
    """A dense network of smooth activations: where FC-Taylor applies."""
    rng = np.random.default_rng(seed)
    b = Builder((1, int(rng.integers(2, 7))), rng, scale)
    k = 0
    for _ in range(int(rng.integers(1, 4))):
        k = b.activation(b.dense(k, int(rng.integers(2, 9))), SMOOTH)
    return b.finish(k, int(rng.integers(2, 5)))


def relu_mlp(seed: int, widths: tuple[int, ...], size: float = 1.0, classes: int = 4) -> Network:
    """A dense ReLU network; all sizes give one function, with hidden values ``size`` as large."""
    b = Builder((1, 8), np.random.default_rng(seed), 1.5)
    k = 0
    for place, width in enumerate(widths):
        n = b.shape(k)[1]
        weight, bias = b.weight(width, n), b.weight(width) * (0.2 * size)
        grown = weight * size if place == 0 else weight
        k = b.add("Relu", [b.add("Gemm", [k], (1, width), [grown, bias], transB=1)])
    b.scale /= size
    weight, bias = b.weight(classes, widths[-1]), b.weight(classes) * (0.2 * size)
    b.add("Gemm", [k], (1, classes), [weight, bias], transB=1)
    return Network(append(b.nodes, "max"), Source("random", "0" * 64, b"", "input", "logits"))


def cancelling_mlp(seed: int, size: float) -> tuple[Network, np.ndarray]:
    """Two classes, whose margin is a difference that float32 rounds away; its gradient.

    Both hidden neurons stay active for inputs of size 1, so the network is linear there.
    """
    rng = np.random.default_rng(seed)
    b = Builder((1, 4), rng, 1.0)
    common, apart = rng.standard_normal(4) * size, rng.standard_normal(4) * size * 2.0**-23
    weight, bias = np.stack([common + apart, common]), np.full(2, 30.0 * size)
    k = b.add("Relu", [b.add("Gemm", [0], (1, 2), [weight, bias], transB=1)])
    b.add("Gemm", [k], (1, 2), [np.eye(2), np.zeros(2)], transB=1)
    source = Source("random", "0" * 64, b"", "input", "logits")
    return Network(append(b.nodes, "max"), source), weight[0] - weight[1]


def linear_network(seed: int, scale: float = 1.0) -> Network:
    """A linear classifier, sometimes in two factors."""
    rng = np.random.default_rng(seed)
    b = Builder((1, int(rng.integers(1, 9))), rng, scale)
    k = b.dense(0, 6) if rng.random() < 0.5 else 0
    return b.finish(k, int(rng.integers(2, 6)))


def run_from(
    network: Network, values: list[torch.Tensor], k: int, value: torch.Tensor
) -> torch.Tensor:
    """Logits when the value of cut point ``k`` is replaced."""
    fresh = dict(enumerate(values[:k])) | {k: value}
    for i in range(k + 1, len(network.nodes)):
        layer = network.nodes[i].layer
        assert layer is not None
        fresh[i] = layer.forward(*(fresh[j] for j in network.nodes[i].inputs))
    return fresh[len(network.nodes) - 1].reshape(value.shape[0], -1)
