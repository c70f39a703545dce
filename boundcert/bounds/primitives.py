"""A network rewritten in primitive layers: what the relaxation knows how to bound.

Affine layers, activations, sums, concatenations and products of two operands are primitive. Every
other kind says what it is made of (:meth:`Layer.parts`), exactly: the two networks are one
function of real numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from boundcert.bounds.deployed import Fusion, Rounded, fusions, placed
from boundcert.layers.activation import Elementwise
from boundcert.layers.base import Layer
from boundcert.layers.conv import Conv
from boundcert.layers.dense import Dense
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.max_pool import MaxPool
from boundcert.network.graph import Network, Node


@dataclass(frozen=True)
class Primitive:
    """A network of primitive layers.

    Attributes
    ----------
    network : node 0 is the input, the last one the logits.
    origin : for each node of the old network its position here, −1 where it has none.
    rounded : the nodes here that a runtime computes (not those that the old ones are made of, in
        exact arithmetic), and how it does so.
    """

    network: Network
    origin: tuple[int, ...]
    rounded: Mapping[int, Rounded]


def primitives(network: Network, pool_first: bool = True) -> Primitive:
    """The same function in primitive layers.

    With ``pool_first`` the pool of an activation that rises is the activation of the pool, which
    has fewer entries to relax; in L∞, without multipliers, the boxes of the other order are better.

    Raises
    ------
    Unsupported
        Some layer is not made of such.
    """
    absorbed = {
        k: i for k in range(1, len(network.nodes)) if (i := _absorbs(network, k, pool_first)) > 0
    }
    builder = _Builder(network.nodes[0])
    origin, rounded, fused, instead = [0], {}, fusions(network), placed(network)
    biases = {i: network.nodes[k].layer for k, i in absorbed.items()}
    for k, node in enumerate(network.nodes[1:], start=1):
        if k in absorbed.values():
            origin.append(-1)
            continue
        before = network.nodes[absorbed[k]] if k in absorbed else None
        inputs = node.inputs if before is None else before.inputs
        operands = tuple(origin[i] for i in inputs)
        builder.node = node
        origin.append(builder.place(before, *operands))
        fusion = fused[absorbed.get(k, k)]
        fusion = _placed(fusion, origin, biases)
        here = tuple(
            replace(p, root=None if p.root is None else origin[p.root]) for p in instead[k]
        )
        one = _rounded(node, before, builder.nodes[-1], operands, fusion)
        rounded[origin[-1]] = replace(one, instead=here)
    return Primitive(replace(network, nodes=tuple(builder.nodes)), tuple(origin), rounded)


def _placed(fusion: Fusion, origin: Sequence[int], absorbers: Mapping[int, Layer | None]) -> Fusion:
    """A fusion with positions in the new network. What a bias was joined to has none there: its
    value is no larger than with the bias, and the bias, together."""
    lost = [absorbers[i] for i in fusion.ahead if origin[i] < 0]
    sizes = [float(layer.shift.abs().max()) for layer in lost if isinstance(layer, Diagonal)]
    ahead = tuple(origin[i] for i in fusion.ahead if origin[i] >= 0)
    return replace(fusion, ahead=ahead, offset=sum(sizes))


def _rounded(
    node: Node, before: Node | None, new: Node, operands: tuple[int, ...], fusion: Fusion
) -> Rounded:
    """How a runtime computes a node, made one with the node ``before`` it if there is one."""
    if before is not None and isinstance(node.layer, MaxPool):
        assert before.layer is not None
        return Rounded(before.layer, operands, fusion, node.layer)
    # a bias joined to its layer: a layer with bias allows for as many roundings
    layer = node.layer if before is None else new.layer
    assert layer is not None
    return Rounded(layer, operands, fusion)


class _Builder:
    """The new network so far; ``node`` is the old node that is being taken apart."""

    def __init__(self, first: Node) -> None:
        self.nodes, self.node = [first], first

    def __call__(
        self, layer: Layer, shape: tuple[int, ...] | None, *operands: int, op: str = ""
    ) -> int:
        old = self.node
        whole = layer is old.layer
        name = f"{old.name}/{len(self.nodes)}"
        op = old.op if whole else op or _op(layer)
        self.nodes.append(Node(name, op, layer, operands, old.shape if shape is None else shape))
        return len(self.nodes) - 1

    def shape(self, position: int) -> tuple[int, ...]:
        return self.nodes[position].shape

    def place(self, before: Node | None, *operands: int) -> int:
        """Append the old node's parts, ``before`` absorbed if there is one; the result's place."""
        start, layer = len(self.nodes), self.node.layer
        assert layer is not None
        if before is None:
            position = layer.parts(self, *operands)
        else:
            position = self._joined(before.layer, layer, *operands)
        last = self.nodes[position]
        assert position == len(self.nodes) - 1 >= start and last.shape == self.node.shape
        self.nodes[position] = replace(last, name=self.node.name, tensor=self.node.tensor)
        return position

    def _joined(self, before: Layer | None, layer: Layer, *operands: int) -> int:
        if isinstance(before, Elementwise):
            # max σ(z) = σ(max z)
            pooled = layer.parts(self, *operands)
            shape = self.shape(pooled)
            return self(replace(before, shape=shape, cache={}), shape, pooled)
        assert isinstance(before, Dense | Conv) and isinstance(layer, Diagonal)
        return self(replace(before, bias=layer.shift, cache={}), None, *operands)


def _op(layer: Layer) -> str:
    """What to call a node of a layer that was put in."""
    for field in ("op", "name"):
        if isinstance(value := getattr(layer, field, None), str):
            return value
    return type(layer).__name__


def _absorbs(network: Network, k: int, pool_first: bool) -> int:
    """The operand that node k is made one with, 0 for none: nobody else may read it."""
    node = network.nodes[k]
    if len(node.inputs) != 1 or node.inputs[0] == 0:
        return 0
    operand = node.inputs[0]
    if sum(n.inputs.count(operand) for n in network.nodes) != 1:
        return 0
    if any(network.nodes[operand].tensor in (s.tensor, s.root) for s in network.substitutes):
        return 0  # its own value matters to what a runtime may do
    before, layer = network.nodes[operand].layer, node.layer
    pools = pool_first and isinstance(layer, MaxPool)
    pools = pools and isinstance(before, Elementwise) and before.rises
    return operand if pools or _is_bias(before, layer) else 0


def _is_bias(before: Layer | None, layer: Layer | None) -> bool:
    """Whether ``layer`` adds a constant that ``before`` can carry as it stands."""
    if not isinstance(before, Dense | Conv) or before.bias is not None:
        return False
    if type(layer) is not Diagonal or layer.in_shape != layer.out_shape:
        return False
    # a shift that was computed is less certain than the bias of a layer
    given = bool((layer.weight == 1).all()) and _equal(layer.shift_size, layer.shift.abs())
    if isinstance(before, Dense):
        return given
    per_channel = all(n == 1 for i, n in enumerate(layer.shift.shape) if i != 2)
    return given and per_channel


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


__all__: Sequence[str] = ("Primitive", "primitives")
