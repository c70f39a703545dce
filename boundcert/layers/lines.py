"""Elementwise relaxations: a line below and a line above every entry."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from boundcert.kernels import backend
from boundcert.layers.relaxation import Box, Choice, Relaxation, dust, largest
from boundcert.layers.rows import Rows, array, plane_of, planes, up
from boundcert.layers.tape import Pencilled

#: Entries whose lines lie this much closer together than the worst of their sample count as
#: exact: tighter bounds on them could not be felt.
NEGLIGIBLE = 1e-7


class Lines(Relaxation):
    """below(z) ≤ g(z) ≤ above(z) over the box, entry by entry.

    With z = p + δ and g(z) = v + δ_out the line s·z + t becomes s·δ + (s·p + t − v).

    Parameters
    ----------
    box : the operand's box, (B, *shape).
    value : v (B, *shape), the value computed at the sample.
    lines : of deviations, and what else the kernel ``deviation_lines`` says of them.
    pencil : makes further lines to choose from, (B, 12, *shape), and the mix (B, *shape) of
        ``lines``; see the kernels ``activation_pencil`` and ``pull_pencil``.
    kink : where two straight pieces of the function meet, if that is all there is to it.
    """

    def __init__(
        self,
        box: Box,
        value: torch.Tensor,
        lines: tuple[np.ndarray, ...],
        pencil: Callable[[], tuple[torch.Tensor, torch.Tensor]] | None = None,
        kink: float | None = None,
    ) -> None:
        super().__init__(tuple(box.low.shape[1:]))
        self.box, self.value, self.pencil, self.kink = box, value, pencil, kink
        plane = (len(value), *plane_of(self.shape))
        self.arguments = tuple(part.reshape(plane) for part in lines[:4])
        self.gap, self.far = (torch.from_numpy(part).reshape(value.shape) for part in lines[4:])

    @cached_property
    def dust(self) -> torch.Tensor:
        """(B,) what underflow costs a row."""
        return dust(self.far)

    @cached_property
    def bent(self) -> torch.Tensor:
        """Entries (B, *shape) whose lines below and above differ in slope."""
        differ = torch.from_numpy(self.arguments[0] != self.arguments[2])
        return differ.reshape(self.value.shape)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        out, rest = pulled(rows, self.arguments)
        return (out,), rest - self.dust[rows.owner] if rows.proves else rest

    @property
    def free(self) -> bool:
        return self.pencil is not None

    @cached_property
    def _pencil(self) -> tuple[np.ndarray, torch.Tensor]:
        """The pencil as the kernel takes it, of deviations; the mix to start from."""
        assert self.pencil is not None
        table, start = self.pencil()
        parts = []
        for k in range(0, 12, 2):
            outward = -1.0 if k < 6 else 1.0
            slope, constant = table[:, k], table[:, k + 1]
            moved = shifted(slope, constant, self.box.point, self.value, self.far, outward)
            parts += [planes(slope), planes(moved)]
        return np.ascontiguousarray(np.stack(parts, axis=1)), start

    def start(self, rows: Rows) -> Choice:
        return Choice(rows.patches(self._pencil[1]))

    def mixed(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        assert choice.mix is not None
        out, rest = mixed(rows, choice.mix, self._pencil[0])
        return (out,), rest - self.dust[rows.owner]

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        worst = largest(self.gap).reshape(-1, *([1] * (self.gap.dim() - 1)))
        return (~(self.gap <= NEGLIGIBLE * worst),)

    def telling(self) -> tuple[torch.Tensor | None, ...]:
        if self.kink is None:
            return (None,)
        return (torch.where(self.box.point >= self.kink, 1, -1),)


def pulled(rows: Rows, lines: tuple[np.ndarray, ...]) -> tuple[Rows, torch.Tensor]:
    """Rows through lines below and above, as the kernel ``pull_lines`` takes them; the rest."""
    if rows.values.requires_grad:
        table = np.stack([*lines[:2] * 3, *lines[2:] * 3], axis=1)
        mix = torch.zeros_like(rows.values)
        out, rest = Pencilled.apply(rows.values, mix, *rows.place(), np.ascontiguousarray(table))
        return rows.with_values(out, rows.mass), rest
    out, rest, mass = (
        torch.from_numpy(part)
        for part in backend().pull_lines(array(rows.values), *rows.place(), *lines)
    )
    return rows.with_values(out, up(mass)), rest


def mixed(rows: Rows, mix: torch.Tensor, table: np.ndarray) -> tuple[Rows, torch.Tensor]:
    """Rows through the lines of a pencil that a mix says, as ``pull_pencil`` does; the rest."""
    if mix.requires_grad:
        out, rest = Pencilled.apply(rows.values, mix, *rows.place(), table)
        return rows.with_values(out, rows.mass), rest
    found = backend().pull_pencil(array(rows.values), *rows.place(), array(mix), table)
    out, rest, mass = (torch.from_numpy(part) for part in found)
    return rows.with_values(out, up(mass)), rest


def shifted(
    slope: torch.Tensor,
    constant: torch.Tensor,
    point: torch.Tensor,
    value: torch.Tensor,
    deviation: torch.Tensor,
    outward: float,
) -> torch.Tensor:
    """s·p + t − v, (B, *shape), moved outward by what rounding costs; see ``shift_lines``."""
    arrays = (flat(part) for part in (slope, constant, point, value, deviation))
    return torch.from_numpy(backend().shift_lines(*arrays, outward)).reshape(slope.shape)


def flat(x: torch.Tensor) -> np.ndarray:
    """(B, n) array of a per-sample tensor."""
    return array(x.reshape(x.shape[0], -1).to(torch.float64))
