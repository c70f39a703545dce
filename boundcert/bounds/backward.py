"""Rows of a node's value carried back to the input: one traversal for every relaxation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeVar

import torch

from boundcert.bounds.boxes import ByNode
from boundcert.bounds.deployed import Errors
from boundcert.bounds.kept import Begun
from boundcert.kernels import backend
from boundcert.layers.base import UNDERFLOW, UNIT, numel
from boundcert.layers.relaxation import NOTHING, Box, Choice, Loss, Relaxation, down
from boundcert.layers.rows import Rows, array, plane_of, planes, up
from boundcert.layers.spectral import gamma
from boundcert.network.graph import Network
from boundcert.norms import Norm, flat

#: Bytes that the coefficients of one block of rows may take at one node.
BLOCK_BYTES, FIRST_BLOCK = 12 * 2**20, 32


@dataclass(frozen=True)
class Linear:
    """Lower bounds base − ε·slope on R functionals over the ball of radius ε about the samples.

    They hold for every ε up to the one whose boxes the relaxations were built for.
    """

    base: torch.Tensor
    slope: torch.Tensor

    def at(self, eps: torch.Tensor) -> torch.Tensor:
        """The bounds at radii ``eps``, rounded down; nan where there is none."""
        move = eps * self.slope
        return self.base - move - (self.base.abs() + move) * (4 * UNIT)

    def reach(self) -> torch.Tensor:
        """Where the bound vanishes, base/slope, rounded down: up to there it is positive."""
        return self.base / self.slope - (self.base / self.slope).abs() * (4 * UNIT)

    def better(self, other: Linear, eps: torch.Tensor) -> Linear:
        """Row by row the one that is greater at radii eps; nan is the least."""
        there, here = other.at(eps), self.at(eps)
        take = (there > here) | here.isnan()
        return Linear(
            torch.where(take, other.base, self.base), torch.where(take, other.slope, self.slope)
        )


class Carried(NamedTuple):
    """Rows of the input, or of what stands for it, and their rest (R,).

    Attributes
    ----------
    shape : of the value that the rows are functionals of.
    widest : the most coefficients that a row had on the way.
    """

    rows: Rows
    rest: torch.Tensor
    shape: tuple[int, ...]
    widest: int


class Choices:
    """What rows choose, by node, made when first asked for.

    Parameters
    ----------
    begun : what some of them chose before.
    """

    def __init__(self, begun: Begun | None = None) -> None:
        self.nodes: dict[int, Choice] = {}
        self.begun = begun

    def pull(
        self, node: int, relaxation: Relaxation, rows: Rows
    ) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """The relaxation's operands' rows and rest, with what was chosen at this node."""
        if not relaxation.free:
            return relaxation.by_lines(rows)
        if node not in self.nodes:
            plain = rows.with_values(rows.values.detach(), rows.mass)
            start = relaxation.start(plain)
            self.nodes[node] = _taped(self.begun.at(node, start) if self.begun else start)
        return relaxation.mixed(rows, self.nodes[node])


def _taped(choice: Choice) -> Choice:
    """The same numbers on a tape, mixes in float32."""
    mix, level = choice.mix, choice.level
    return replace(
        choice,
        mix=None if mix is None else mix.detach().to(torch.float32).requires_grad_(),
        level=None if level is None else level.detach().requires_grad_(),
    )


def _below(node: int, relaxation: Relaxation, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
    return relaxation.below(rows)


def carry(
    network: Network,
    relaxations: Sequence[Relaxation | None],
    boxes: ByNode,
    start: dict[int, Rows],
    rest: torch.Tensor,
    choices: Choices | None = None,
    shortcuts: Mapping[int, Relaxation] | None = None,
    met: Mapping[int, list[Rows]] | None = None,
    errors: Errors | None = None,
) -> Carried:
    """Rows of the input, and the rest, that bound the sum of the rows in ``start`` from below.

    ``shortcuts`` take rows of a node straight to the input, where no other rows are left; ``met``
    gathers the rows of some nodes on the way. A relaxation may leave its operands without rows.

    By induction backward over the nodes: Σ_k c_k·δ_k + rest only decreases when a layer's row is
    replaced by its relaxation. Where two branches meet, the sum of their coefficients is rounded
    once, at most 2⁻⁵³|c|·|δ|. Where a value may have an error e of its own besides what the layer
    makes of its operands, c·e ≥ −|c|·|e|.
    """
    pending, widest = dict(start), 1
    owner = next(iter(start.values())).owner
    for k in range(max(pending), 0, -1):
        rows = pending.pop(k, None)
        if rows is None:
            continue
        widest = max(widest, rows.size)
        if met and k in met:
            met[k].append(rows)
        if shortcuts and k in shortcuts and not pending:
            if errors and k in errors.points:
                rest = down(rest, _paid(rows, errors.points[k].deviation))
            (rows,), loss = shortcuts[k].below(rows)
            widest = max(widest, rows.size)
            return Carried(rows, down(rest, loss), rows.values.shape[1:], widest)
        if errors and k in errors.own:
            rest = down(rest, _paid(rows, errors.own[k]))
        relaxation = relaxations[k]
        assert relaxation is not None
        parts, loss = (choices.pull if choices else _below)(k, relaxation, rows)
        rest = down(rest, loss)
        for i, part in zip(network.nodes[k].inputs, parts):
            if i in pending:
                part, loss = joined(pending[i], part, network.nodes[i].shape, boxes[i])
                rest = down(rest, loss)
            pending[i] = part
    if 0 not in pending:
        nothing = Rows.of(rest.new_zeros(len(rest), 1), owner, (1,))
        return Carried(nothing, rest, (1,), widest)
    widest = max(widest, pending[0].size)
    return Carried(pending[0], rest, network.input_shape, widest)


def first_rows(
    network: Network,
    relaxations: Sequence[Relaxation | None],
    boxes: ByNode,
    node: int,
    entries: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    errors: Errors | None = None,
) -> tuple[dict[int, Rows], torch.Tensor]:
    """Rows of a node's operands, and the rest, for single entries of its value.

    Parameters
    ----------
    entries : flat index, owner and sign (R,) each.
    """
    relaxation = relaxations[node]
    assert relaxation is not None
    parts, rest = relaxation.single(*entries)
    if rest is NOTHING:
        rest = torch.zeros(len(entries[0]), dtype=torch.float64)
    if errors and node in errors.own:
        index, owner, _ = entries
        rest = down(rest, -flat(errors.own[node])[owner, index])
    start: dict[int, Rows] = {}
    for i, part in zip(network.nodes[node].inputs, parts):
        if i in start:
            part, loss = joined(start[i], part, network.nodes[i].shape, boxes[i])
            rest = down(rest, loss)
        start[i] = part
    return start, rest


def _paid(rows: Rows, error: torch.Tensor) -> torch.Tensor:
    """−|c|·|e| (R,), rounded down, for errors of up to ``error`` (B, *shape)."""
    if rows.values.requires_grad:
        return torch.zeros(len(rows), dtype=torch.float64)  # nothing is proved there
    size = backend().weigh(array(rows.values), *rows.place(), planes(error))
    if not rows.proves:
        return -torch.from_numpy(size)
    return -(up(torch.from_numpy(size)) + UNDERFLOW)


def joined(one: Rows, other: Rows, shape: tuple[int, ...], box: Box) -> tuple[Rows, torch.Tensor]:
    """The sum of rows of the same value, and what rounding it costs."""
    rows = one.plus(other, shape)
    return rows, Loss.of(box.reach * (2 * UNIT), box.deviation).rest(rows)


def concretise(rows: Rows, base: torch.Tensor, shape: tuple[int, ...], norm: Norm) -> Linear:
    """min over ‖q‖_p ≤ ε of base + c·q = base − ε‖c‖_q (Hölder, attained)."""
    size = backend().dual_norm(
        array(rows.values), rows.origin.numpy(), plane_of(shape)[1:], norm.dual.p
    )
    inflation = 1 + 2 * gamma(numel(shape) + 32)
    return Linear(base, torch.from_numpy(size) * inflation + 1e-290)


class _Wide(Protocol):
    @property
    def widest(self) -> int: ...


W = TypeVar("W", bound=_Wide)


def blocks(
    count: int, carried: Callable[[slice], W], widest: int | None = None, size: int = 8
) -> Iterator[tuple[slice, W]]:
    """Carry ``count`` rows back a block at a time, so that a block fits :data:`BLOCK_BYTES`.

    How wide rows get, from patch to patch, shows only on the way: unless somebody has seen how
    wide the ``widest`` gets, the first block is small. A coefficient takes ``size`` bytes.
    """
    start, step = 0, FIRST_BLOCK if widest is None else _fitting(widest, size)
    while start < count:
        cut = slice(start, min(start + step, count))
        found = carried(cut)
        yield cut, found
        start, step = cut.stop, _fitting(found.widest, size)


def _fitting(widest: int, size: int) -> int:
    return max(FIRST_BLOCK, BLOCK_BYTES // (size * widest))
