"""The affine part of a network in front of every nonlinear layer: bounds once and for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from boundcert.bounds.backward import Carried, blocks, carry, concretise, first_rows
from boundcert.bounds.shortcut import Shortcut, worthwhile
from boundcert.layers.base import UNIT
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import Box, Relaxation
from boundcert.layers.spectral import gamma
from boundcert.network.graph import Network
from boundcert.norms import Norm, flat


@dataclass(frozen=True)
class Prefix:
    """Nodes that are affine in the input.

    Attributes
    ----------
    norms : node → (1, *shape) upper bounds on ‖row i of its matrix‖_q, for every affine node that
        a nonlinear layer reads, and for the input.
    nodes : all affine nodes, in order.
    columns : for balls of norm 1: node → an upper bound on the 2-norm of its matrix' columns.
    shortcuts : node → its matrix, where one product is no more work than the layers before it.
    """

    network: Network
    norms: dict[int, torch.Tensor]
    nodes: tuple[int, ...]
    columns: dict[int, float]
    shortcuts: dict[int, Shortcut]

    def points(self, values: Sequence[torch.Tensor]) -> dict[int, Box]:
        """Boxes of the exact values at the samples: intervals of a point."""
        boxes = {0: Box(values[0], values[0], values[0])}
        for k in self.nodes[1:]:
            node = self.network.nodes[k]
            assert node.layer is not None
            ends = node.layer.interval(*(boxes[i] for i in node.inputs))
            boxes[k] = Box(*ends, values[k])
        return {k: boxes[k] for k in self.norms}

    def ends(self, k: int, point: Box, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Node k over balls of radii eps: the point ± ε‖row‖_q (Hölder), rounded outward."""
        move = eps.reshape(-1, *([1] * (point.low.dim() - 1))) * self.norms[k]
        loss = (point.magnitude + move) * (4 * UNIT)
        return point.low - move - loss, point.high + move + loss

    def spread(self, k: int, point: Box, eps: torch.Tensor) -> torch.Tensor | None:
        """(B,) bounds on the 2-norm of node k's deviation over balls of norm 1; None: not known.

        The ball is the convex hull of ±ε·e_j, where the deviation is a column times ε. This is to
        norm 1 what the spectral norm is to norm 2, and never more than that.
        """
        if k not in self.columns:
            return None
        error = torch.linalg.vector_norm(flat(point.deviation), dim=1)
        inflation = 1 + 2 * gamma(point.low[0].numel() + 32)
        # squares that underflow are in the last summand
        return (eps * self.columns[k] + error * inflation + 1e-140) * (1 + 8 * UNIT)


def prefix(network: Network, norm: Norm) -> Prefix:
    """The prefix of a network of primitive layers."""
    affine: list[int] = [0]
    for k, node in enumerate(network.nodes[1:], start=1):
        if isinstance(node.layer, LINEAR) and all(i in affine for i in node.inputs):
            affine.append(k)
    read = {
        i
        for node in network.nodes[1:]
        if not isinstance(node.layer, LINEAR)
        for i in node.inputs
        if i in affine
    }
    norms = {0: torch.ones(1, *network.input_shape, dtype=torch.float64)}
    rows, columns, shortcuts = _matrices(network, affine, sorted(read - {0}), norm)
    return Prefix(network, norms | rows, tuple(affine), columns, shortcuts)


def _matrices(
    network: Network, affine: list[int], wanted: list[int], norm: Norm
) -> tuple[dict[int, torch.Tensor], dict[int, float], dict[int, Shortcut]]:
    """‖row‖_q of the affine nodes' matrices; for balls of norm 1 the greatest ‖column‖₂, too.

    And the matrices themselves, where they are of use.

    Carrying a row c·δ back over the box [−1, 1]ⁿ about 0 gives computed coefficients c̃ and a
    rest with c·δ + β ≥ c̃·δ + rest₊ there, β the error of the value computed at 0; and its
    negative at δ = 0 gives −β ≥ rest₋. So (c̃ − c)·δ ≤ −rest₊ − rest₋ on the whole box, which is
    symmetric: ‖c̃ − c‖_q ≤ ‖c̃ − c‖_1 ≤ −rest₊ − rest₋. No entry of a column is off by more.
    """
    zero = torch.zeros(1, *network.input_shape, dtype=torch.float64)
    values = {0: zero}
    boxes: dict[int, Box] = {0: Box(zero - 1, zero + 1, zero)}
    relaxations: list[Relaxation | None] = [None] * len(network.nodes)
    for k in affine[1:]:
        node = network.nodes[k]
        assert node.layer is not None
        operands = tuple(boxes[i] for i in node.inputs)
        values[k] = node.layer.forward(*(values[i] for i in node.inputs))
        relaxations[k] = node.layer.relax(operands, values[k])
        boxes[k] = Box(*node.layer.interval(*operands), values[k])
    places = [boxes.get(k, boxes[0]) for k in range(len(network.nodes))]
    result, columns, shortcuts = {}, {}, {}
    for k in wanted:
        size = boxes[k].low.numel()
        norms, losses = torch.empty(2, size, dtype=torch.float64)
        squares, matrix = zero.clone(), None
        if worthwhile(network, affine, k, norm):
            matrix = torch.empty(size, zero.numel(), dtype=torch.float64)

        def carried(cut: slice, node: int = k, sign: float = 1.0) -> Carried:
            index = torch.arange(cut.start, cut.stop)
            signs = torch.full((len(index),), sign, dtype=torch.float64)
            first = first_rows(network, relaxations, places, node, (index, 0 * index, signs))
            return carry(network, relaxations, places, *first)

        for cut, plus in blocks(size, carried):
            loss = -(plus.rest + carried(cut, sign=-1.0).rest)
            slope = concretise(plus.rows, plus.rest, network.input_shape, norm).slope
            norms[cut] = slope + loss * (1 + 1e-9) + 1e-290
            losses[cut] = loss
            if norm is Norm.L1:
                squares += plus.rows.flat(network.input_shape).square().sum(dim=0)
            if matrix is not None:
                matrix[cut] = flat(plus.rows.flat(network.input_shape))
        result[k] = norms.reshape(1, *network.nodes[k].shape)
        if norm is Norm.L1:
            # squares that underflow are in the last summand
            most = float(squares.max().sqrt()) + float(losses.square().sum().sqrt())
            columns[k] = most * (1 + 4 * gamma(size + 32)) + 1e-140
        if matrix is not None:
            shortcuts[k] = Shortcut.of(matrix, losses, norm)
    return result, columns, shortcuts
