"""Compose moduli forward through a block, or linear expansions backward: the two traversals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from boundcert.layers.base import Deviation, Layer, Site, norms_of
from boundcert.network.graph import Network
from boundcert.norms import Norm


@dataclass
class Evaluation:
    """A network evaluated on a batch, with what every bound needs of it.

    Attributes
    ----------
    network : the network.
    values : the float64 value of every node, (B, *shape) each.
    """

    network: Network
    values: list[torch.Tensor]
    _rounding: dict[tuple[int, Norm], torch.Tensor] = field(default_factory=dict, repr=False)

    @property
    def samples(self) -> int:
        """Number of samples B."""
        return self.values[-1].shape[0]

    def take(self, rows: torch.Tensor, first: int) -> Evaluation:
        """The evaluation of some samples, from node ``first`` on (earlier values stay whole)."""
        if len(rows) == self.samples:
            return self  # rows come in order, so these are all
        values = [v[rows] if k >= first else v for k, v in enumerate(self.values)]
        known = {key: error[rows] for key, error in self._rounding.items() if key[0] >= first}
        return Evaluation(self.network, values, known)

    def layer(self, k: int) -> Layer:
        """The layer of node ``k`` (not the input)."""
        layer = self.network.nodes[k].layer
        assert layer is not None
        return layer

    def site(self, k: int, norm: Norm) -> Site:
        """Node ``k``'s place in this evaluation."""
        inputs = tuple(self.values[i] for i in self.network.nodes[k].inputs)
        return Site(norm, inputs, self.values[k])

    def rounding(self, k: int, norm: Norm) -> torch.Tensor:
        """(B,) bound on the evaluation error of node ``k``; nan where it cannot be bounded."""
        if (k, norm) not in self._rounding:
            self._rounding[k, norm] = self.layer(k).rounding(self.site(k, norm))
        return self._rounding[k, norm]


def forward_moves(
    evaluation: Evaluation, nodes: Sequence[int], entry: int, start: Deviation, norm: Norm
) -> dict[int, Deviation]:
    """Deviation of every node's exact value from its computed one, given that of ``entry``.

    Induction over the nodes: with operands within their deviations, the exact output differs
    from g(computed operands) by at most the layer's modulus, and that from the computed output
    by at most its rounding.
    """
    moves = {entry: start}
    for k in nodes:
        operands = [moves[i] for i in evaluation.network.nodes[k].inputs]
        move = evaluation.layer(k).modulus(evaluation.site(k, norm), *operands)
        moves[k] = move.plus(evaluation.rounding(k, norm))
    return moves


def backward_expansion(
    evaluation: Evaluation,
    nodes: Sequence[int],
    entry: int,
    cotangent: torch.Tensor,
    moves: dict[int, Deviation],
    norm: Norm,
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Linear part and remainder of a linear function of the exit, as a function of the entry.

    With c one of the K cotangents (K, B, *shape) at the exit and δ the exact minus the computed
    value of each node, |c·δ_exit − c_entry·δ_entry| ≤ remainder, by induction backward over the
    nodes: a layer adds its own remainder and ‖c_k‖_q times its rounding (Hölder).

    Returns
    -------
    (c_entry (K, B, *shape), remainder (K, B)), or None where some layer has no expansion.
    """
    cotangents: dict[int, torch.Tensor] = {nodes[-1]: cotangent}
    remainder = cotangent.new_zeros(cotangent.shape[:2])
    for k in reversed(nodes):
        if k not in cotangents:
            continue
        inputs = evaluation.network.nodes[k].inputs
        here = cotangents.pop(k)
        remainder = remainder + norms_of(norm.dual, here) * evaluation.rounding(k, norm)
        part = evaluation.layer(k).linearise(
            evaluation.site(k, norm), here, *(moves[i] for i in inputs)
        )
        if part is None:
            return None
        pulled, rest = part
        remainder = remainder + rest
        for i, c in zip(inputs, pulled):
            cotangents[i] = cotangents[i] + c if i in cotangents else c
    return cotangents[entry], remainder * (1 + 1e-13)
