"""FC-Taylor, corrected: second-order bounds on the margins over smooth dense blocks.

003, Theorem 4.2 bounds the remainder of h by a bound on single second derivatives, which
misses a factor of the dimension (erratum 1). What holds (theory §4): with Λ a Lipschitz constant
of the Jacobian of h on the ball, ‖h(u+r) − h(u) − J r‖ ≤ ½Λ‖r‖². Here it is used on the margins
m_j = g_j·h + const themselves, which is never worse than on ‖h‖ and needs one backward pass a
rival instead of a Jacobian:

    m_j(u+r) ≥ m_j(u) − ‖∇m_j‖_q‖r‖_p − ½‖g_j‖₂Λ·c²‖r‖_p²,   ‖r‖₂ ≤ c‖r‖_p

(c = 1 for p ≤ 2, √n for p = ∞). Λ and the Lipschitz constants come from the recursion
Λ⁺ = B‖V‖_{2→∞}‖V‖₂L² + A‖V‖₂Λ, L⁺ = A‖V‖₂L, with A and B the suprema of |g'| and |g″| over what
each layer's neurons can reach within the radius (:func:`kernels.taylor_recursion`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from boundcert.bounds.head import Head
from boundcert.bounds.propagate import Evaluation, backward_expansion, forward_moves
from boundcert.bounds.search import in_range, widen
from boundcert.bounds.segments import cut_points
from boundcert.bounds.tail import PASSES, Rivals, amplification
from boundcert.kernels import backend
from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Deviation, Reach, norms_of, numel
from boundcert.network.graph import Network
from boundcert.norms import Norm


@dataclass(frozen=True)
class SmoothLayer:
    """Affine nodes followed by one smooth activation.

    Attributes
    ----------
    entry : node whose value the layer takes.
    affine : its affine nodes, in order.
    activation : its activation node.
    spectral, row : upper bounds on ‖V‖₂ and ‖V‖_{2→∞} of the composed affine part.
    unit : (n,) row 2-norms of V.
    """

    entry: int
    affine: tuple[int, ...]
    activation: int
    spectral: float
    row: float
    unit: torch.Tensor


def smooth_stack(network: Network, head: Head) -> Stack | None:
    """The layers [affine…, smooth activation] in front of the head, as many as there are.

    ``head`` must have been composed for the 2-norm.
    """
    cuts = set(cut_points(network))
    layers: list[SmoothLayer] = []
    top = head.start
    while top > 0:
        activation = network.nodes[top].layer
        if not isinstance(activation, Elementwise) or not activation.rule.smooth:
            break
        k = top - 1
        while k > 0 and k in cuts and isinstance(network.nodes[k].layer, Affine):
            k -= 1
        if k == top - 1 or any(i not in cuts for i in range(k, top + 1)):
            break
        layers.append(_layer(network, k, tuple(range(k + 1, top)), top))
        top = k
    if not layers:
        return None
    return Stack(tuple(reversed(layers)), torch.from_numpy(head.norms))


def _layer(network: Network, entry: int, affine: tuple[int, ...], activation: int) -> SmoothLayer:
    parts = [network.nodes[k].layer for k in affine]
    maps = [p for p in parts if isinstance(p, Affine)]
    before = math.prod(m.gain(Norm.L2) for m in maps[:-1]) * (1 + 1e-14)
    unit = maps[-1].row_norms(Norm.L2) * before
    spectral = maps[-1].gain(Norm.L2) * before * (1 + 1e-14)
    return SmoothLayer(entry, affine, activation, spectral, float(unit.max()), unit)


@dataclass(frozen=True)
class Stack:
    """Smooth dense layers in front of the head, and the head's row differences in the 2-norm.

    Attributes
    ----------
    layers : in order; the last one's activation is the head's input.
    differences : (C, C) upper bounds on ‖w_i − w_j‖₂.
    """

    layers: tuple[SmoothLayer, ...]
    differences: torch.Tensor

    @property
    def entry(self) -> int:
        """Node whose value the stack takes."""
        return self.layers[0].entry

    def behind(self, entry: int) -> Stack | None:
        """The part of the stack that starts at node ``entry``, if one of its layers does."""
        starts = [layer.entry for layer in self.layers]
        if entry not in starts:
            return None
        return Stack(self.layers[starts.index(entry) :], self.differences)


def taylor_radius(
    evaluation: Evaluation, stack: Stack, rivals: Rivals, known: torch.Tensor, norm: Norm
) -> torch.Tensor:
    """Radius (B,) at the stack's entry within which the nearest rivals stay behind.

    ``known`` is a radius to look above.
    """
    last = len(evaluation.values) - 1
    n = numel(evaluation.network.nodes[stack.entry].shape)
    stretch = math.sqrt(n) * (1 + 1e-15) if norm is Norm.LINF else 1.0
    nodes = range(stack.entry + 1, last + 1)

    amplified = amplification(evaluation, nodes, Norm.L2)

    def prove(rows: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        here, near = evaluation.take(rows, stack.entry), rivals.take(rows)
        still = Deviation(torch.zeros_like(rho))
        error = 2 * forward_moves(here, nodes, stack.entry, still, Norm.LINF)[last].size
        rounding = forward_moves(here, nodes, stack.entry, still, Norm.L2)
        smoothness, grown = _constants(here, stack, rounding, rho * stretch)
        gradient, rest = _gradient(here, stack, rounding, near.cotangent, grown)
        slope = norms_of(norm.dual, gradient) * (1 + 4e-16 * (n + 8))
        size = stack.differences.to(rho.device)[near.label[None], near.index]
        bend = size * smoothness * (stretch * stretch) * (1 + 1e-14)
        left = (near.gap - rest - error) * (1 - 1e-15)
        root = 2 * left / (slope + torch.sqrt(slope * slope + 2 * bend * left)) * (1 - 1e-14)
        root = torch.where(left > 0, root, torch.zeros_like(root)).amin(dim=0)
        return in_range(root, rho, near.gap, amplified)

    return widen(prove, known, PASSES)


def _constants(
    evaluation: Evaluation, stack: Stack, rounding: dict[int, Deviation], rho: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Λ on the 2-ball of radius ρ, and how far the input of each layer (and the exit) moves."""
    steep, curved, grown = [], [], [rho]
    for layer in stack.layers:
        activation, z = _activation(evaluation, layer)
        reach = Reach(layer.unit, grown[-1], rounding[layer.affine[-1]].size)
        steep.append(_widest(activation.slopes(z, reach, 1)).to(rho.device))
        curved.append(_widest(activation.slopes(z, reach, 2)).to(rho.device))
        grown.append(grown[-1] * steep[-1] * layer.spectral * (1 + 1e-14))
    pack = [np.ascontiguousarray(torch.stack(v, dim=1).cpu().numpy()) for v in (steep, curved)]
    spectral = np.array([layer.spectral for layer in stack.layers])
    row = np.array([layer.row for layer in stack.layers])
    _, smoothness = backend().taylor_recursion(*pack, spectral, row)
    return torch.from_numpy(smoothness).to(rho.device), grown


def _activation(evaluation: Evaluation, layer: SmoothLayer) -> tuple[Elementwise, torch.Tensor]:
    activation = evaluation.layer(layer.activation)
    assert isinstance(activation, Elementwise)
    return activation, evaluation.values[layer.affine[-1]]


def _widest(ends: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    low, high = (torch.from_numpy(np.abs(e)).amax(dim=1) for e in ends)
    return torch.maximum(low, high)


def _gradient(
    evaluation: Evaluation,
    stack: Stack,
    rounding: dict[int, Deviation],
    cotangent: torch.Tensor,
    grown: list[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """∇m_j at the entry as computed, and a bound on |(exact − computed)·r| over the radius.

    Each exact slope lies in a tiny interval, as its pre-activation is rounded. The midpoint is
    used; the half width, times how far the pre-activation moves along the exact linearisation
    (at most ‖V‖₂ times the Lipschitz bound of its input), goes into the rest.
    """
    last = len(evaluation.values) - 1
    exit_ = stack.layers[-1].activation
    rows = cotangent.reshape(-1, *evaluation.values[last].shape)
    head = range(exit_ + 1, last + 1)
    rows, rest = _pull(evaluation, head, exit_, rows, grown[-1])
    for layer, start in zip(reversed(stack.layers), reversed(grown[:-1])):
        activation, z = _activation(evaluation, layer)
        off = rounding[layer.affine[-1]].size
        low, high = activation.slopes(z, Reach(layer.unit, torch.zeros_like(off), off))
        linear, loss = backend().slope_remainder(
            np.ascontiguousarray(rows.cpu().flatten(2).numpy()),
            low,
            high,
            *(
                np.ascontiguousarray(t.cpu().numpy())
                for t in (layer.unit, start, torch.zeros_like(off), start * layer.spectral)
            ),
            2.0,
        )
        rows = torch.from_numpy(linear).to(rows.device).reshape(rows.shape)
        rest = rest + torch.from_numpy(loss).to(rows.device)
        rows, lost = _pull(evaluation, layer.affine, layer.entry, rows, start)
        rest = rest + lost
    return rows, rest * (1 + 1e-12)


def _pull(
    evaluation: Evaluation,
    nodes: Sequence[int],
    entry: int,
    rows: torch.Tensor,
    size: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cotangents through affine nodes whose input moves by at most ``size`` in the 2-norm."""
    if not nodes:
        return rows, rows.new_zeros(rows.shape[:2])
    moves = forward_moves(evaluation, nodes, entry, Deviation(size), Norm.L2)
    pulled = backward_expansion(evaluation, nodes, entry, rows, moves, Norm.L2)
    assert pulled is not None
    return pulled
