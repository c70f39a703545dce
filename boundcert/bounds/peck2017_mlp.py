"""The MLP of the 2017 dissertation's chapter 4 in a network, and Theorem 4.2 for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from boundcert.bounds.peck2017_formulas import IDENTITY, TABLE_4_1, second_order_bound, taylor
from boundcert.bounds.propagate import Evaluation
from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine, unchanged
from boundcert.layers.base import numel
from boundcert.layers.dense import Dense
from boundcert.network.graph import Network

#: Memory that the Jacobians handled at once may take, in bytes.
JACOBIAN_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Hidden:
    """One hidden layer g(V·+b).

    Attributes
    ----------
    affine : the nodes that make up V and b; one dense node, maybe with constants and reshapes.
    activation : the node of g, None for the identity.
    """

    affine: tuple[int, ...]
    activation: int | None


class Mlp:
    """The hidden layers h_L of a run of nodes, and the affine nodes behind the last of them.

    Parameters
    ----------
    network : the network.
    nodes : positions of dense, constant, reshaping and :data:`TABLE_4_1` activation nodes.
    last : whether the run ends the network. The affine nodes behind the last activation are
        then the classifier; otherwise they are one more hidden layer, without an activation.
    """

    def __init__(self, network: Network, nodes: Sequence[int], last: bool) -> None:
        hidden: list[Hidden] = []
        affine: list[int] = []
        for k in nodes:
            layer = network.nodes[k].layer
            if isinstance(layer, Elementwise):
                hidden.append(Hidden(tuple(affine), k))
                affine = []
                continue
            # a second dense layer in a row is a layer of its own, as Algorithm 4.1 counts them
            if isinstance(layer, Dense) and any(_is_dense(network, i) for i in affine):
                hidden.append(Hidden(tuple(affine), None))
                affine = []
            affine.append(k)
        if not last and affine:
            hidden.append(Hidden(tuple(affine), None))
            affine = []
        self.network = network
        self.entry = nodes[0] - 1
        self.hidden = tuple(hidden)
        self.classifier = tuple(affine)
        self.units = numel(network.nodes[_exit(hidden[-1])].shape) if hidden else 0
        self.m = second_order_bound(
            [row_sum(network, h.affine) for h in hidden],
            [_derivative_bounds(network, h) for h in hidden],
        )

    def __call__(self, evaluation: Evaluation, kappa: torch.Tensor) -> torch.Tensor:
        """Theorem 4.2 (equation 4.8): the bound in front of h_L, given the one behind it."""
        if not self.hidden:
            return kappa
        return taylor(kappa, self.jacobian_norms(evaluation), self.m, self.units)

    def jacobian_norms(self, evaluation: Evaluation) -> torch.Tensor:
        """‖J_{h_L}(x)‖₂ of each sample, (B,), a few samples at a time."""
        nodes = range(self.entry, _exit(self.hidden[-1]) + 1)
        widest = max(numel(self.network.nodes[k].shape) for k in nodes)
        step = max(JACOBIAN_BYTES // (8 * self.units * widest), 1)
        starts = range(0, evaluation.samples, step)
        parts = [spectral_norm(self.jacobians(evaluation, slice(a, a + step))) for a in starts]
        return torch.cat(parts) if parts else evaluation.values[0].new_zeros(0)

    def jacobians(self, evaluation: Evaluation, samples: slice) -> torch.Tensor:
        """Jacobians of h_L, (B, rows, d), without the rows that are zero for all the samples."""
        values = evaluation.values
        last = self.hidden[-1]
        slopes = _slopes(evaluation, last, samples)
        alive = (slopes != 0).any(dim=0)
        shape = self.network.nodes[_exit(last)].shape
        rows = torch.eye(self.units, dtype=torch.float64, device=values[0].device)[alive]
        # the rows of V_L serve every sample; g'_L scales them at the end
        pulled = pull(self.network, last.affine, rows.reshape(-1, *shape))[None]
        for layer in reversed(self.hidden[:-1]):
            steep = _slopes(evaluation, layer, samples).reshape(-1, 1, *pulled.shape[2:])
            scaled = pulled * steep
            flat = pull(self.network, layer.affine, scaled.flatten(0, 1))
            pulled = flat.reshape(*scaled.shape[:2], *flat.shape[1:])
        return pulled.flatten(2) * slopes[:, alive, None]


def pull(network: Network, nodes: Iterable[int], rows: torch.Tensor) -> torch.Tensor:
    """Rows of a matrix behind affine nodes as rows in front of them."""
    for k in reversed(tuple(nodes)):
        layer = network.nodes[k].layer
        assert isinstance(layer, Affine)
        rows = layer.transpose(rows, unchanged)
    return rows


def row_sum(network: Network, nodes: Sequence[int]) -> float:
    """s = max_j Σ_k |v_jk| of the matrix V that affine nodes make up (1 if there are none)."""
    if not nodes:
        return 1.0
    first = network.nodes[nodes[0]].layer
    assert isinstance(first, Affine)
    ones = torch.ones(1, *first.in_shape, dtype=torch.float64)
    for k in nodes:
        layer = network.nodes[k].layer
        assert isinstance(layer, Affine)
        # |A||B|·1 is |AB|·1 here: all but one of the nodes have one entry a row or a column
        ones = layer.to("cpu", torch.float64).apply(ones, torch.abs)
    return float(ones.max())


def row_distances(rows: torch.Tensor) -> torch.Tensor:
    """‖w_c − w_c'‖₂ of all pairs of rows, (C, C)."""
    # the matrix-product form of cdist cancels
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def spectral_norm(matrices: torch.Tensor) -> torch.Tensor:
    """Largest singular value of each matrix, (B, m, n) → (B,)."""
    if matrices.numel() == 0:
        return matrices.new_zeros(matrices.shape[0])
    scale = matrices.abs().amax(dim=(1, 2))
    usable = torch.isfinite(scale) & (scale > 0)
    unit = matrices / torch.where(usable, scale, torch.ones_like(scale))[:, None, None]
    unit = torch.where(usable[:, None, None], unit, torch.zeros_like(unit))
    if unit.shape[1] > unit.shape[2]:
        unit = unit.transpose(1, 2)
    # the largest eigenvalue of the Gram matrix is as exact as an SVD's, and much sooner there
    top = torch.linalg.eigvalsh(unit @ unit.transpose(1, 2))[:, -1]
    norm = top.clamp(min=0).sqrt() * scale
    return torch.where(torch.isfinite(scale), norm, torch.full_like(norm, math.nan))


def _is_dense(network: Network, k: int) -> bool:
    return isinstance(network.nodes[k].layer, Dense)


def _exit(hidden: Hidden) -> int:
    return hidden.affine[-1] if hidden.activation is None else hidden.activation


def _derivative_bounds(network: Network, hidden: Hidden) -> tuple[float, float]:
    if hidden.activation is None:
        return IDENTITY
    return TABLE_4_1[network.nodes[hidden.activation].op]


def _slopes(evaluation: Evaluation, hidden: Hidden, samples: slice) -> torch.Tensor:
    """g'(z) of a hidden layer, (B, units); at a kink 0, as the dissertation says of ReLU."""
    if hidden.activation is None:
        value = evaluation.values[_exit(hidden)][samples].flatten(1)
        return torch.ones_like(value)
    before = evaluation.values[hidden.activation - 1][samples]
    with torch.enable_grad():
        z = before.detach().requires_grad_()
        out = evaluation.layer(hidden.activation).forward(z)
        (slope,) = torch.autograd.grad(out.sum(), z)
    return slope.flatten(1)
