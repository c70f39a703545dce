"""The network: an immutable graph of layers in topological order, and its evaluation in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from boundcert.errors import RefusedInput
from boundcert.layers.base import Layer, numel
from boundcert.layers.diagonal import diagonal
from boundcert.layers.structure import Reshape
from boundcert.network.substitutes import Substitute

#: How logits decide: the greatest or the least wins, or one output's sign.
DECISIONS = ("max", "min", "sign")


@dataclass(frozen=True)
class Node:
    """One layer at its place.

    Attributes
    ----------
    name, op : what the model calls the node, and its ONNX operator type.
    layer : the layer, or None for the network's input (node 0).
    inputs : positions of its operands in :attr:`Network.nodes`, all smaller than its own.
    shape : shape of its value for one sample (ONNX shape at batch size one).
    tensor : name of its value in the model, "" for nodes that boundcert put in.
    """

    name: str
    op: str
    layer: Layer | None
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    tensor: str = ""


@dataclass(frozen=True)
class Preprocess:
    """x ↦ (x − mean)/std in the units of the user's data, before the model's own input.

    Attributes
    ----------
    mean, std : float64 arrays that broadcast against the model's input shape.
    """

    mean: np.ndarray
    std: np.ndarray


@dataclass(frozen=True)
class Source:
    """Where a network came from, and what onnxruntime needs to run the same function.

    Attributes
    ----------
    path, sha256 : the file as given (or a description) and the hash of its bytes.
    model : serialised model as it was read, whose only output is the logits tensor.
    input, output : names of its input and of the logits tensor.
    dtype : NumPy name of the input's type.
    batch : fixed batch size of the model, or None if it is free.
    decision : one of :data:`DECISIONS`.
    preprocess : normalisation in front of the model, if any.
    file : the bytes of the file, which is what a runtime is asked about; b"" where there is none
        (then it is asked about ``model``).
    beside : the file's path where weights lie beside it, else None.
    answer : name of the file's own output.
    head : what it does to the logits, as far as it matters: see :mod:`boundcert.network.heads`.
    pick : "ArgMax", "ArgMin" or "Hardmax" where that output says which entry wins, else "".
    threshold : a single output is of class 1 above it.
    alone : why nothing is said of samples that go through the model together with others; "" where
        they do not see each other.
    """

    path: str
    sha256: str
    model: bytes
    input: str
    output: str
    dtype: str = "float32"
    batch: int | None = None
    decision: str = "max"
    preprocess: Preprocess | None = None
    file: bytes = field(default=b"", repr=False)
    beside: Path | None = None
    answer: str = ""
    head: str = ""
    pick: str = ""
    threshold: float = 0.0
    alone: str = ""


@dataclass(frozen=True)
class Network:
    """A classifier from data to logits.

    ``nodes[0]`` is the input and ``nodes[-1]`` the logits, a (1, C) value per sample. All
    arithmetic is float64 unless :meth:`to` says otherwise. ``substitutes`` say what a runtime may
    compute otherwise than written.
    """

    nodes: tuple[Node, ...]
    source: Source
    substitutes: tuple[Substitute, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the model takes it (batch size one included)."""
        return self.nodes[0].shape

    @property
    def classes(self) -> int:
        """Number of logits."""
        return numel(self.nodes[-1].shape)

    @property
    def parameters(self) -> int:
        """Number of stored constants that evaluation uses."""
        total = 0
        for node in self.nodes[1:]:
            for name in ("weight", "bias"):
                value = getattr(node.layer, name, None)
                total += value.numel() if isinstance(value, torch.Tensor) else 0
        return total

    def run(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The value of every node: (B, *input_shape) → list of (B, *shape)."""
        values = [x]
        for node in self.nodes[1:]:
            assert node.layer is not None
            values.append(node.layer.forward(*(values[i] for i in node.inputs)))
        return values

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(B, *input_shape) → (B, C), differentiable; frees values as soon as it can."""
        last = {i: k for k, node in enumerate(self.nodes) for i in node.inputs}
        values: dict[int, torch.Tensor] = {0: x}
        for k, node in enumerate(self.nodes[1:], start=1):
            assert node.layer is not None
            values[k] = node.layer.forward(*(values[i] for i in node.inputs))
            for i in set(node.inputs):
                if last[i] == k:
                    del values[i]
        return values[len(self.nodes) - 1].reshape(x.shape[0], -1)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float64) -> Network:
        """A copy with its constants on ``device`` as ``dtype``."""
        nodes = tuple(
            replace(n, layer=None if n.layer is None else n.layer.to(device, dtype))
            for n in self.nodes
        )
        return replace(self, nodes=nodes)

    def prepare(self, x: np.ndarray) -> torch.Tensor:
        """User data (N, …) as float64 samples (N, *input_shape).

        Accepts any shape that equals the input's up to axes of length one, or is one of the two
        flattened; a permuted layout is refused.

        Raises
        ------
        RefusedInput
            The shape does not fit, or a value is not finite.
        """
        x = np.asarray(x)
        if x.dtype.kind not in "biuf":
            raise RefusedInput(f"data of type {x.dtype} is not numeric; real numbers work")
        if x.ndim == 0:
            raise RefusedInput("the data is one number; an array of samples (N, ...) works")
        wanted = tuple(n for n in self.input_shape if n != 1)
        given = tuple(n for n in x.shape[1:] if n != 1)
        flat = numel(wanted) == numel(given) and (len(wanted) <= 1 or len(given) <= 1)
        if given != wanted and not flat:
            hint = "the data must have the shape of the model's input"
            if sorted(given) == sorted(wanted):
                hint = "the axes are in another order; transpose the data to the model's layout"
            raise RefusedInput(
                f"{self.source.path}: samples of shape {tuple(x.shape[1:])} do not fit the "
                f"model's input {self.nodes[0].tensor!r} of shape {self.input_shape}; {hint}"
            )
        values = np.ascontiguousarray(x, dtype=np.float64)
        if not np.isfinite(values).all():
            raise RefusedInput("the data holds NaN or infinite values; clean it first")
        return torch.from_numpy(values).reshape(x.shape[0], *self.input_shape)


def put_in_front(network: Network, preprocess: Preprocess) -> Network:
    """The same network behind (x − mean)/std, so that radii are in the data's own units."""
    shape = network.input_shape
    mean, std = preprocess.mean, preprocess.std
    layer = diagonal(shape, shape, 1.0 / std, -mean / std, np.abs(mean / std) * 2)
    first = Node("input", "Input", None, (), shape, network.nodes[0].tensor)
    # it too carries the input's name: its value is what the model itself is fed
    scaled = Node("normalise", "Normalise", layer, (0,), shape, network.nodes[0].tensor)
    rest = tuple(replace(n, inputs=tuple(i + 1 for i in n.inputs)) for n in network.nodes[1:])
    source = replace(network.source, preprocess=preprocess)
    return replace(network, nodes=(first, scaled, *rest), source=source)


def append(
    nodes: Sequence[Node], decision: str, behind: str = "", threshold: float = 0.0
) -> tuple[Node, ...]:
    """Flatten the logits to (1, C), the winner the greatest: negate or pair them if need be.

    ``behind`` names a copy of them, whose errors are those of what the model does to its logits;
    "" for none. A single logit, of decision "sign", is of class 1 above the threshold.
    """
    last = nodes[-1]
    count = numel(last.shape)
    out = list(nodes)

    def add(name: str, op: str, shape: tuple[int, ...], layer: Layer, tensor: str = "") -> None:
        out.append(Node(name, op, layer, (len(out) - 1,), shape, tensor))

    if last.shape != (1, count) or behind:
        add("logits", "Reshape", (1, count), Reshape(last.shape, (1, count)), behind)
    if decision == "min":
        add("least_wins", "Neg", (1, count), diagonal((1, count), (1, count), -1.0, 0.0))
    if decision == "sign":
        pair, shift = np.array([0.0, 1.0]), np.array([0.0, -threshold])
        add("sign", "Pair", (1, 2), diagonal((1, 1), (1, 2), pair, shift))
    return tuple(out)
