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
from boundcert.bounds.propagate import Evaluation, Expansion, begin_expansion, forward_moves
from boundcert.bounds.search import Prove, above, in_range, widen
from boundcert.bounds.segments import cut_points
from boundcert.bounds.tail import PASSES, Rivals, amplification, promising, slopes
from boundcert.kernels import backend
from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Deviation, Reach, numel
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: More than rounding can raise a radius that is compared with what no pass can exceed.
NEARLY = 1 + 1e-9


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


@dataclass(frozen=True)
class Suprema:
    """Of |g'| and |g″| over what the neurons of each layer can reach.

    Attributes
    ----------
    steep, curved : (B, layers)
    """

    steep: np.ndarray
    curved: np.ndarray

    def take(self, rows: torch.Tensor, layers: int) -> Suprema:
        """Those of some samples and of the last layers."""
        places = rows.cpu().numpy()
        return Suprema(self.steep[places, -layers:], self.curved[places, -layers:])


def centre(evaluation: Evaluation, stack: Stack) -> Suprema:
    """The suprema at radius 0: no other radius has smaller ones."""
    still = torch.zeros(evaluation.samples, dtype=torch.float64)
    steep, curved = [], []
    for layer in stack.layers:
        activation, z = _activation(evaluation, layer)
        reach = Reach(layer.unit, still, still)
        steep.append(_widest(activation.slopes(z, reach, 1)))
        curved.append(_widest(activation.slopes(z, reach, 2)))
    return Suprema(np.stack(steep, axis=1), np.stack(curved, axis=1))


def taylor_radius(
    evaluation: Evaluation,
    stack: Stack,
    least: Suprema,
    rivals: Rivals,
    known: torch.Tensor,
    norm: Norm,
) -> torch.Tensor:
    """Radius (B,) at the stack's entry within which the nearest rivals stay behind.

    ``known`` is a radius to look above, ``least`` the :func:`centre` of the stack (or of more
    layers in front of it): samples whose curvature alone keeps them below ``known`` are left out.
    """
    best = torch.zeros_like(known)
    n = numel(evaluation.network.nodes[stack.entry].shape)
    stretch = math.sqrt(n) * (1 + 1e-15) if norm is Norm.LINF else 1.0
    size = stack.differences.to(known.device)[rivals.label[None], rivals.index]
    every = torch.arange(len(known), device=known.device)
    bend = _bend(stack, least.take(every, len(stack.layers)), size, stretch)
    open_ = above(promising(known, _root(rivals.gap, torch.zeros_like(bend), bend) * NEARLY))
    if len(open_):
        here, near = evaluation.take(open_, stack.entry), rivals.take(open_)
        fixed = _fixed(here, stack, near, size[:, open_], norm)
        ceiling = _root(near.gap, fixed.slope, bend[:, open_]) * NEARLY
        prove = _prover(here, stack, fixed, stretch)
        best[open_] = widen(prove, promising(known[open_], ceiling), PASSES)
    return best


def _bend(stack: Stack, constants: Suprema, size: torch.Tensor, stretch: float) -> torch.Tensor:
    """(K, B) twice the quadratic coefficient of the margins, from each layer's suprema."""
    spectral = np.array([layer.spectral for layer in stack.layers])
    row = np.array([layer.row for layer in stack.layers])
    steep, curved = (np.ascontiguousarray(c) for c in (constants.steep, constants.curved))
    _, smoothness = backend().taylor_recursion(steep, curved, spectral, row)
    return size * torch.from_numpy(smoothness).to(size.device) * (stretch * stretch) * (1 + 1e-14)


def _root(left: torch.Tensor, slope: torch.Tensor, bend: torch.Tensor) -> torch.Tensor:
    """(B,) where slope·ρ + ½bend·ρ² is ``left`` (K, B), of the nearest of the K."""
    root = 2 * left / (slope + torch.sqrt(slope * slope + 2 * bend * left)) * (1 - 1e-14)
    return torch.where(left > 0, root, torch.zeros_like(root)).amin(dim=0)


def _prover(evaluation: Evaluation, stack: Stack, fixed: Fixed, stretch: float) -> Prove:
    """How far the bound at radius ρ reaches, for some of the samples."""
    nodes = range(stack.entry + 1, len(evaluation.values))
    amplified = amplification(evaluation, nodes, Norm.L2)

    def prove(rows: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        here, known = evaluation.take(rows, stack.entry), fixed.take(rows)
        constants, grown = _constants(here, stack, known.roundings, rho * stretch)
        bend = _bend(stack, constants, known.size, stretch)
        rest = _rest(here, stack, known.gradient, grown)
        left = (known.gap - rest - known.error) * (1 - 1e-15)
        return in_range(_root(left, known.slope, bend), rho, known.gap, amplified)

    return prove


@dataclass(frozen=True)
class Gradient:
    """∇m_j on its way back from the logits as computed, which no radius changes.

    Each exact slope lies in a tiny interval, as its pre-activation is rounded; the midpoint is
    used.

    Attributes
    ----------
    head : remainder of the affine nodes behind the last layer; None where there are none.
    rows : (K, B, n) in front of each layer's activation, first layer first.
    slopes : ends of the intervals (B, n), for each layer.
    affine : remainders of each layer's affine nodes.
    """

    head: Expansion | None
    rows: tuple[np.ndarray, ...]
    slopes: tuple[tuple[np.ndarray, np.ndarray], ...]
    affine: tuple[Expansion, ...]

    def take(self, rows: torch.Tensor) -> Gradient:
        """Those of some samples."""
        places = rows.cpu().numpy()
        return Gradient(
            None if self.head is None else self.head.take(rows),
            tuple(np.ascontiguousarray(r[:, places]) for r in self.rows),
            tuple((low[places], high[places]) for low, high in self.slopes),
            tuple(part.take(rows) for part in self.affine),
        )


@dataclass(frozen=True)
class Fixed:
    """What all passes of a stack share.

    Attributes
    ----------
    gradient : of the margins.
    roundings : (B,) errors of each layer's pre-activation in the 2-norm, first layer first.
    error : (B,) error of a margin.
    slope, size, gap : (K, B) dual norms of the gradients at the entry, ‖g_j‖₂, and the margins.
    """

    gradient: Gradient
    roundings: tuple[torch.Tensor, ...]
    error: torch.Tensor
    slope: torch.Tensor
    size: torch.Tensor
    gap: torch.Tensor

    def take(self, rows: torch.Tensor) -> Fixed:
        """Those of some samples."""
        if len(rows) == len(self.error):
            return self  # rows come in order, so these are all
        return Fixed(
            self.gradient.take(rows),
            tuple(off[rows] for off in self.roundings),
            self.error[rows],
            *(part[:, rows] for part in (self.slope, self.size, self.gap)),
        )


def _fixed(
    evaluation: Evaluation, stack: Stack, rivals: Rivals, size: torch.Tensor, norm: Norm
) -> Fixed:
    last = len(evaluation.values) - 1
    nodes = range(stack.entry + 1, last + 1)
    still = Deviation(torch.zeros_like(rivals.rest))
    error = 2 * forward_moves(evaluation, nodes, stack.entry, still, Norm.LINF)[last].size
    moves = forward_moves(evaluation, nodes, stack.entry, still, Norm.L2)
    roundings = tuple(moves[layer.affine[-1]].size for layer in stack.layers)
    gradient, linear = _gradient(evaluation, stack, roundings, rivals.cotangent)
    return Fixed(gradient, roundings, error, slopes(linear, norm), size, rivals.gap)


def _constants(
    evaluation: Evaluation, stack: Stack, roundings: tuple[torch.Tensor, ...], rho: torch.Tensor
) -> tuple[Suprema, list[torch.Tensor]]:
    """Suprema on the 2-ball of radius ρ, and how far each layer's input (and the exit) moves."""
    steep, curved, grown = [], [], [rho]
    for layer, off in zip(stack.layers, roundings):
        activation, z = _activation(evaluation, layer)
        reach = Reach(layer.unit, grown[-1], off)
        steep.append(_widest(activation.slopes(z, reach, 1)))
        curved.append(_widest(activation.slopes(z, reach, 2)))
        grow = torch.from_numpy(steep[-1]).to(rho.device)
        grown.append(grown[-1] * grow * layer.spectral * (1 + 1e-14))
    return Suprema(np.stack(steep, axis=1), np.stack(curved, axis=1)), grown


def _activation(evaluation: Evaluation, layer: SmoothLayer) -> tuple[Elementwise, torch.Tensor]:
    activation = evaluation.layer(layer.activation)
    assert isinstance(activation, Elementwise)
    return activation, evaluation.values[layer.affine[-1]]


def _widest(ends: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(B,) the largest magnitude in the intervals of a sample."""
    low, high = ends
    widest: np.ndarray = np.maximum(high.max(axis=1), -low.min(axis=1))
    return widest


def _gradient(
    evaluation: Evaluation,
    stack: Stack,
    roundings: tuple[torch.Tensor, ...],
    cotangent: torch.Tensor,
) -> tuple[Gradient, torch.Tensor]:
    """The gradients back to the entry, and what they are there."""
    last, exit_ = len(evaluation.values) - 1, stack.layers[-1].activation
    here, head = cotangent.reshape(-1, *evaluation.values[last].shape), None
    if exit_ < last:
        head = begin_expansion(evaluation, range(exit_ + 1, last + 1), here, Norm.L2)
        here, head = head.split(exit_)
    rows, ends, affine = [], [], []
    for layer, off in zip(reversed(stack.layers), reversed(roundings)):
        activation, z = _activation(evaluation, layer)
        rows.append(np.ascontiguousarray(here.cpu().flatten(2).numpy()))
        ends.append(activation.slopes(z, Reach(layer.unit, torch.zeros_like(off), off)))
        linear, _ = _through(rows[-1], ends[-1], layer, off)
        back = torch.from_numpy(linear).to(here.device).reshape(here.shape)
        passed = begin_expansion(evaluation, layer.affine, back, Norm.L2)
        here, passed = passed.split(layer.entry)
        affine.append(passed)
    return Gradient(head, tuple(rows[::-1]), tuple(ends[::-1]), tuple(affine[::-1])), here


def _through(
    rows: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    layer: SmoothLayer,
    start: torch.Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows through an activation, and what that loses where the layer's input moves by ``start``.

    The half width of the slopes' intervals counts, times how far the pre-activation moves along
    the exact linearisation: at most ‖V‖₂ times the Lipschitz bound of its input.
    """
    parts = (layer.unit, start, torch.zeros_like(start), start * layer.spectral)
    unit, scale, offset, size = (np.ascontiguousarray(t.cpu().numpy()) for t in parts)
    return backend().slope_remainder(rows, *ends, unit, scale, offset, size, 2.0)


def _rest(
    evaluation: Evaluation, stack: Stack, gradient: Gradient, grown: list[torch.Tensor]
) -> torch.Tensor:
    """Bound (K, B) on |(exact − computed gradient)·r| over the radius."""
    rest = grown[0].new_zeros(())
    if gradient.head is not None:
        behind = range(stack.layers[-1].activation + 1, len(evaluation.values))
        rest = _lost(evaluation, gradient.head, behind, grown[-1])
    for k in range(len(stack.layers) - 1, -1, -1):
        layer, start = stack.layers[k], grown[k]
        _, loss = _through(gradient.rows[k], gradient.slopes[k], layer, start)
        rest = rest + torch.from_numpy(loss).to(start.device)
        rest = rest + _lost(evaluation, gradient.affine[k], layer.affine, start)
    return rest * (1 + 1e-12)


def _lost(
    evaluation: Evaluation, expansion: Expansion, nodes: Sequence[int], size: torch.Tensor
) -> torch.Tensor:
    """Remainder of a chain of affine nodes whose input moves by at most ``size`` in the 2-norm."""
    start = Deviation(size)
    return expansion.remainder(forward_moves(evaluation, nodes, nodes[0] - 1, start, Norm.L2))
