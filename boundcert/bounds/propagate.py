"""Compose moduli forward through a block, or linear expansions backward: the two traversals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from boundcert.layers.base import (
    UNDERFLOW,
    UNIT,
    Deviation,
    Layer,
    Remainder,
    Site,
    norms_of,
)
from boundcert.layers.spectral import gamma
from boundcert.network.graph import Network
from boundcert.norms import Norm


@dataclass
class Evaluation:
    """A network evaluated on a batch, with what every bound needs of it.

    Attributes
    ----------
    network : the network.
    values : the float64 value of every node, (B, *shape) each.
    errors : what a runtime's arithmetic may add to the value of a node that it computes of others,
        (B, *shape) each, for the perturbed inputs that bounds are about; None: nothing. Bounds are
        about the network in exact arithmetic where all are None.
    """

    network: Network
    values: list[torch.Tensor]
    errors: Mapping[int, torch.Tensor] = field(default_factory=dict)
    _rounding: dict[tuple[int, Norm], torch.Tensor] = field(default_factory=dict, repr=False)

    @property
    def samples(self) -> int:
        """Number of samples B."""
        return self.values[-1].shape[0]

    def take(self, rows: torch.Tensor, first: int, last: int | None = None) -> Evaluation:
        """The evaluation of some samples at the nodes ``first`` to ``last``; others stay whole."""
        if len(rows) == self.samples:
            return self  # rows come in order, so these are all
        top = len(self.values) - 1
        end = top if last is None else last
        values = [
            v[rows] if first <= k <= end or k == top else v for k, v in enumerate(self.values)
        ]
        known = {
            key: error[rows] for key, error in self._rounding.items() if first <= key[0] <= end
        }
        errors = {
            k: error[rows] if first <= k <= end or k == top else error
            for k, error in self.errors.items()
        }
        return Evaluation(self.network, values, errors, known)

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
        """(B,) bound on the evaluation error of node ``k``; nan where it cannot be bounded.

        That of the computed value, and that of a runtime, which computes others.
        """
        if (k, norm) not in self._rounding:
            error = self.layer(k).rounding(self.site(k, norm))
            if k in self.errors:
                error = (error + size_of(self.errors[k], norm)) * (1 + 4 * UNIT)
            self._rounding[k, norm] = error
        return self._rounding[k, norm]


def size_of(errors: torch.Tensor, norm: Norm) -> torch.Tensor:
    """(B,) norms of bounds on entries, rounded up."""
    return norm.of_rows(errors) * (1 + 2 * gamma(errors[0].numel() + 32)) + UNDERFLOW


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


#: (K, B) numbers, or a function of how far these nodes move.
Term = torch.Tensor | tuple[tuple[int, ...], Remainder]


@dataclass(frozen=True)
class Expansion:
    """A linear function of the exit as a function of the entry, or as much of it as is known.

    With c one of K cotangents at the exit and δ the exact minus the computed value of each node,
    |c·δ_exit − c_entry·δ_entry| ≤ remainder, by induction backward over the nodes: a layer adds
    its own remainder and ‖c_k‖_q times its rounding (Hölder).

    Attributes
    ----------
    cotangents : (K, B, *shape) of the nodes that are still to be passed, and of the entry.
    terms : what the remainder adds up.
    left : the nodes that are still to be passed, last first.
    """

    cotangents: dict[int, torch.Tensor]
    terms: tuple[Term, ...]
    left: tuple[int, ...] = ()

    def take(self, rows: torch.Tensor) -> Expansion:
        """That of some samples."""
        return Expansion(
            {k: c[:, rows] for k, c in self.cotangents.items()},
            tuple(
                t[:, rows] if isinstance(t, torch.Tensor) else (t[0], t[1].take(rows))
                for t in self.terms
            ),
            self.left,
        )

    def split(self, entry: int) -> tuple[torch.Tensor, Expansion]:
        """The linear part at the entry, and the expansion without it, where no node is left."""
        return self.cotangents[entry], Expansion({}, self.terms)

    def remainder(self, moves: Mapping[int, Deviation]) -> torch.Tensor:
        """(K, B) for operands within ``moves``, where no node is left."""
        parts = [
            t if isinstance(t, torch.Tensor) else t[1](*(moves[i] for i in t[0]))
            for t in self.terms
        ]
        return sum(parts[1:], parts[0]) * (1 + 1e-13)


def begin_expansion(
    evaluation: Evaluation, nodes: Sequence[int], cotangent: torch.Tensor, norm: Norm
) -> Expansion:
    """The expansion as far back as linear parts do not depend on how far operands move.

    ``cotangent`` is (K, B, *shape) at the exit, the last of ``nodes``.
    """
    cotangents, left = {nodes[-1]: cotangent}, tuple(reversed(nodes))
    terms: tuple[Term, ...] = ()
    for place, k in enumerate(left):
        if k not in cotangents:
            continue
        part = evaluation.layer(k).pull_back(evaluation.site(k, norm), cotangents[k])
        if part is None:
            return Expansion(cotangents, terms, left[place:])
        inputs = evaluation.network.nodes[k].inputs
        terms += (_rounded(evaluation, k, cotangents[k], norm), (inputs, part[1]))
        cotangents = _passed(cotangents, k, inputs, part[0])
    return Expansion(cotangents, terms)


def end_expansion(
    evaluation: Evaluation, begun: Expansion, moves: Mapping[int, Deviation], norm: Norm
) -> Expansion | None:
    """The expansion back to the entry, for these moves; None where some layer has none."""
    cotangents, terms = begun.cotangents, begun.terms
    for k in begun.left:
        if k not in cotangents:
            continue
        inputs = evaluation.network.nodes[k].inputs
        part = evaluation.layer(k).linearise(
            evaluation.site(k, norm), cotangents[k], *(moves[i] for i in inputs)
        )
        if part is None:
            return None
        terms += (_rounded(evaluation, k, cotangents[k], norm), part[1])
        cotangents = _passed(cotangents, k, inputs, part[0])
    return Expansion(cotangents, terms)


def _rounded(evaluation: Evaluation, k: int, cotangent: torch.Tensor, norm: Norm) -> torch.Tensor:
    return norms_of(norm.dual, cotangent) * evaluation.rounding(k, norm)


def _passed(
    cotangents: dict[int, torch.Tensor],
    k: int,
    inputs: tuple[int, ...],
    pulled: tuple[torch.Tensor, ...],
) -> dict[int, torch.Tensor]:
    """The cotangents behind node ``k``: without its own, with what it hands to its operands."""
    out = {i: c for i, c in cotangents.items() if i != k}
    for i, c in zip(inputs, pulled):
        out[i] = out[i] + c if i in out else c
    return out
