"""2-norms of deviations over entries of a node: what multipliers make use of.

Layer moduli, multiplied up, bound the 2-norm of a deviation by the product of the layers' norms:
far too much, for no input moves all layers the most. Here the layers are seen together. With
every activation taken apart into a linear part and what is left of it (:mod:`centre`), the
deviation of some entries of a node is exactly

    δ = Σ_j M_j·e_j + r,    ‖e_j‖₂ ≤ η_j,

a sum over *sources*: the input, what is left of each activation on the way, and layers that have
no linear part at all. The M_j are rows carried back as for any bound, and the norm of the sum is
bounded by :mod:`joint`. Everything is proportional to the radius, but for rounding and for what
layers without a linear part leave.

Rows carried through layers of :data:`LINEAR`, and to the input, lose nothing but rounding, which
no more knows a sign than their coefficients do: with −c for c both coefficients and rest are the
same but for the sign, so that −rest bounds what is lost either way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from boundcert.bounds.backward import blocks, carry, first_rows
from boundcert.bounds.joint import Part, joint_norms
from boundcert.layers.activation import Elementwise
from boundcert.layers.base import UNIT
from boundcert.layers.centre import Centre, End
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import Relaxation
from boundcert.layers.rows import Rows
from boundcert.norms import Norm, flat

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame

#: Most products of numbers that the norm of one sample's matrix may take.
MOST_PRODUCTS = 10**10


@dataclass(frozen=True)
class Spread:
    """‖δ over ``entries``‖₂ ≤ gain·s + rest on balls of radius s, where they hold.

    That is, up to ``radius``; below ``floor``, where that is not 0, as at ``floor``.

    Attributes
    ----------
    gain, rest, floor : (B,); inf where there is no bound.
    radius : (B,) that of the frame.
    entries : (B, *shape).
    """

    gain: torch.Tensor
    rest: torch.Tensor
    floor: torch.Tensor
    radius: torch.Tensor
    entries: torch.Tensor

    def at(self, eps: torch.Tensor) -> torch.Tensor:
        """(B,) at radii eps."""
        size = self.gain * torch.maximum(eps, self.floor)
        return ((size + self.rest) * (1 + 4 * UNIT)).nan_to_num(torch.inf, torch.inf)

    def over(self, entries: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """(B,) for other entries, at radii eps: no bound where they are not all among these.

        Beyond the radius, where nothing is proved, some more do not matter.
        """
        more = flat(entries & ~self.entries).any(dim=1) & (eps <= self.radius)
        return torch.where(more, torch.inf, self.at(eps))

    def take(self, samples: torch.Tensor) -> Spread:
        """That of some samples."""
        parts = (self.gain, self.rest, self.floor, self.radius, self.entries)
        return Spread(*(part[samples] for part in parts))


@dataclass(frozen=True)
class Source:
    """A node where rows leave something behind.

    Attributes
    ----------
    part : what rows pass on.
    left : bounds what they leave, and says over which entries that may differ from 0.
    """

    part: Relaxation
    left: Spread


def opaque(frame: Frame, node: int) -> Source:
    """A node that rows do not pass. How its bound grows with the radius is not known."""
    box = frame.boxes[node]
    assert box.spread is not None
    zero = torch.zeros_like(frame.eps)
    # a frame that proves nothing may well take it to be proportional
    floor = frame.eps if frame.precision is torch.float64 else zero
    everywhere = torch.ones_like(box.point, dtype=torch.bool)
    gain = box.spread / frame.eps * (1 + 4 * UNIT)
    left = Spread(gain, zero, floor, frame.eps, everywhere)
    return Source(End(tuple(box.point.shape[1:])), left)


def spread_of(frame: Frame, node: int, bent: torch.Tensor) -> tuple[Spread, Source | None] | None:
    """Of a node's one operand the spread over ``bent`` entries (B, *shape); the source it is.

    What an activation leaves is at most H times the deviation, entry by entry, so that both are
    norms of the same rows, weighted. None where their matrices are too large.
    """
    problem = frame.problem
    layer, (operand,) = problem.evaluation.layer(node), problem.network.nodes[node].inputs
    if not isinstance(layer, Elementwise):
        found = _spreads(frame, operand, bent.double()[None])
        return None if found is None else (found[0], None)
    box = frame.boxes[operand]
    part = Centre(box, *layer.chords(box), problem.evaluation.rounding(node, Norm.L2))
    found = _spreads(frame, operand, torch.stack((bent.double(), part.half)))
    return None if found is None else (found[0], Source(part, found[1]))


def _spreads(frame: Frame, operand: int, weights: torch.Tensor) -> list[Spread] | None:
    """Spreads of a node's entries times weights (K, B, *shape), over those that are not 0."""
    problem, entries = frame.problem, weights != 0
    wanted, columns = flat(entries.any(dim=0)), weights.unsqueeze(-1).flatten(2)
    counts, width = wanted.sum(dim=1), _width(frame, operand)
    most, fitting = int(counts.max()), problem.room // (8 * width)
    if most > fitting or most * most * width > MOST_PRODUCTS:
        return None
    found = torch.zeros(len(weights), 3, len(counts), dtype=torch.float64)
    for samples in _groups(counts, fitting):
        met = _Met.of(frame, operand, wanted, samples)
        for s in samples.tolist():
            found[:, :, s] = met.norms(s, columns[:, s, wanted[s]], problem.norm)
    return [
        Spread(gain, rest, floor, frame.eps, x) for (gain, rest, floor), x in zip(found, entries)
    ]


def _width(frame: Frame, operand: int) -> int:
    """Entries of all sources of a node together."""
    nodes = frame.problem.network.nodes
    return sum(torch.Size(nodes[j].shape).numel() for j in (0, *frame.sources) if j <= operand)


def _groups(counts: torch.Tensor, most: int) -> Iterator[torch.Tensor]:
    """Successive samples of no more than ``most`` rows together (one, if it alone has more)."""
    start, total = 0, 0
    for s, count in enumerate(counts.tolist()):
        if total and total + count > most:
            yield torch.arange(start, s)
            start, total = s, 0
        total += count
    yield torch.arange(start, len(counts))


class _Block(NamedTuple):
    """A block of rows: what rounding cost them, and their coefficients (R, n) by source."""

    rest: torch.Tensor
    parts: dict[int, torch.Tensor]
    widest: int


@dataclass(frozen=True)
class _Met:
    """Rows for entries of some samples, and where they met sources.

    Attributes
    ----------
    owner : (R,) in ascending order.
    rest : (R,) what rounding may cost either way.
    sources : coefficients (R, n) at a source, and what it leaves; ``None`` for the input.
    """

    owner: torch.Tensor
    rest: torch.Tensor
    sources: list[tuple[torch.Tensor, Spread | None]]

    @classmethod
    def of(cls, frame: Frame, node: int, wanted: torch.Tensor, samples: torch.Tensor) -> _Met:
        """Rows of the ``wanted`` entries (B, n) of a node, of some samples."""
        network, sources = frame.problem.network, frame.sources
        nodes = network.nodes
        ways = [sources[k].part if k in sources else way for k, way in enumerate(frame.relaxations)]
        mine = torch.zeros_like(wanted)
        mine[samples] = wanted[samples]
        owner, index = torch.nonzero(mine, as_tuple=True)

        def carried(cut: slice) -> _Block:
            sign = torch.ones(len(index[cut]), dtype=frame.precision)
            entries = (index[cut], owner[cut], sign)
            if isinstance(nodes[node].layer, LINEAR) and node not in frame.shortcuts:
                start, rest = first_rows(network, ways, frame.boxes, node, entries, frame.errors)
            else:
                start = {node: Rows.units(*entries, nodes[node].shape)}
                rest = torch.zeros(len(sign), dtype=torch.float64)
            met: dict[int, list[Rows]] = {k: [] for k in sources}
            places = (ways, frame.boxes, start, rest, None, frame.shortcuts, met, frame.errors)
            found = carry(network, *places)
            parts = {k: flat(rows[0].flat(nodes[k].shape)) for k, rows in met.items() if rows}
            parts[0] = flat(found.rows.flat(found.shape))
            return _Block(found.rest, parts, found.widest)

        found = [block for _, block in blocks(len(owner), carried)]
        if not found:
            return cls(owner, torch.zeros(0, dtype=torch.float64), [])
        coefficients = {k: torch.cat([block.parts[k] for block in found]) for k in found[0].parts}
        rest = -torch.cat([block.rest for block in found])
        left = [(matrix, sources[k].left if k else None) for k, matrix in coefficients.items()]
        return cls(owner, rest, left)

    def norms(self, sample: int, weights: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Gain, rest and floor (K, 3) of one sample's entries with weights (K, m)."""
        ends = torch.searchsorted(self.owner, torch.tensor([sample, sample + 1])).tolist()
        mine = slice(*ends)
        if not len(self.rest[mine]):
            return torch.zeros(len(weights), 3, dtype=torch.float64)
        parts = []
        for matrix, left in self.sources:
            rows = matrix[mine]
            if left is None:
                # ‖q‖₂ ≤ ‖q‖₁, and ‖q‖₂ ≤ √n‖q‖_∞
                size = math.sqrt(rows.shape[1]) if norm is Norm.LINF else 1.0
                parts.append(Part(rows, size * (1 + 4 * UNIT), 0.0, 0.0, first=True))
                continue
            gain, extra, floor = (float(x[sample]) for x in (left.gain, left.rest, left.floor))
            parts.append(Part(rows[:, left.entries[sample].flatten()], gain, extra, floor))
        return joint_norms(parts, weights, self.rest[mine], norm)
