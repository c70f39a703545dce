"""Elementwise relaxation over a box and a ball at once.

A box forgets that the entries of δ cannot all be far out together: ‖δ‖₂ ≤ ρ over those that are
bent, which have lines of different slopes below and above. For any slopes g and multiplier λ ≥ 0
(weak duality; SDP-CROWN, arXiv 2506.06665, is the case without the box and of all entries)

    c·δ_out ≥ g·δ + Σ_i min_{δ_i in box} (½λδ_i² + c_i·δ_out,i − g_iδ_i) − ½λρ²,

since ½λ(‖δ‖² − ρ²) ≤ 0. Straight entries take a line. The box is cut in two, at the kink or at
the sample, with lines below and above on each part; the inner minimum is then that of two
parabolas.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from boundcert.kernels import backend
from boundcert.kernels.ball_reference import ABOVE, BELOW
from boundcert.layers.base import UNIT
from boundcert.layers.lines import Lines, shifted
from boundcert.layers.relaxation import NUDGE, Box, Choice, shared_out
from boundcert.layers.rows import Rows, array, planes, up
from boundcert.layers.tape import Dual

#: Lines below and above over a box: slope and constant, slope and constant.
LinesOf = tuple[torch.Tensor, ...]


class Ball(Lines):
    """Lines on the box where no multiplier does better, else the dual bound above.

    An ascent moves slopes and multipliers of the rows for which some multiplier does, and chooses
    lines for the others.

    Parameters
    ----------
    box : with the spread ρ (B,) of the operand, over its bent entries at least.
    value : as for :class:`Lines`.
    lines : over the whole box, as for :class:`Lines`.
    cut : where the box is cut in two (B, *shape), inside the box.
    left, right : lines over the two parts.
    pencil, kink : as for :class:`Lines`.
    """

    def __init__(
        self,
        box: Box,
        value: torch.Tensor,
        lines: tuple[np.ndarray, ...],
        cut: torch.Tensor,
        left: LinesOf,
        right: LinesOf,
        pencil: Callable[[], tuple[torch.Tensor, torch.Tensor]] | None = None,
        kink: float | None = None,
    ) -> None:
        super().__init__(box, value, lines, pencil, kink)
        self.cut, self.left, self.right = cut, left, right

    @cached_property
    def table(self) -> np.ndarray:
        """As the kernel ``pull_ball`` takes it."""
        box, cut, left, right = self.box, self.cut, self.left, self.right
        # a cut that was rounded lets one part's lines be used a hair beyond it
        steep = torch.stack([part[k].abs() for part in (left, right) for k in (0, 2)]).amax(dim=0)
        hair = steep * (cut.abs() + box.point.abs()) * (4 * UNIT)
        halves = []
        for side, outward in ((0, -1.0), (2, 1.0)):
            for part in (left, right):
                at = shifted(part[side], part[side + 1], box.point, self.value, self.far, outward)
                halves += [part[side], at + outward * hair]
        low, high = box.low - box.point, box.high - box.point
        ends = (low - low.abs() * NUDGE, high + high.abs() * NUDGE, cut - box.point)
        stacked = [*(planes(end) for end in ends), *(planes(h) for h in halves), *self.arguments]
        return np.ascontiguousarray(np.stack(stacked, axis=1))

    @cached_property
    def square(self) -> np.ndarray:
        """(B,) bounds on the sum of squares of the bent entries' deviations."""
        box = self.box
        assert box.spread is not None
        square = box.spread * box.spread * (1 + 8 * UNIT) + 1e-290
        return array(torch.where(square.isfinite(), square, torch.inf))

    def within(self, spread: torch.Tensor) -> Ball:
        assert self.box.spread is not None
        other = copy.copy(self)
        other.box = replace(self.box, spread=torch.fmin(self.box.spread, spread))
        other.__dict__.pop("square", None)
        return other

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        out, rest, mass, _ = self._searched(rows)
        found = rows.with_values(out, up(mass))
        return (found,), rest - self.dust[rows.owner]

    def _searched(self, rows: Rows) -> tuple[torch.Tensor, ...]:
        arrays = (array(rows.values), *rows.place(), self.table, self.square)
        return tuple(torch.from_numpy(part) for part in backend().pull_ball(*arrays))

    def start(self, rows: Rows) -> Choice:
        lines = super().start(rows)
        out, _, _, multiplier = self._searched(rows)
        dual = multiplier > 0
        if not bool(dual.any()):
            return lines
        slope = (out / rows.values).double()
        left, right = (self._side(rows, column) for column in (0, 2))
        mix = 2 * (slope - torch.minimum(left, right)) / (right - left).abs()
        # entries without coefficients or without a choice of slopes may be anywhere
        mix = mix.nan_to_num(1.0, 2.0, 0.0).clamp(0.0, 2.0)
        wide = dual[:, None, None, None]
        level = torch.where(dual, multiplier, 1.0).log2() / 2
        assert lines.mix is not None
        return Choice(torch.where(wide, mix, lines.mix), level, dual)

    def _side(self, rows: Rows, column: int) -> torch.Tensor:
        """(R, C, h, w) a column of the lines below where coefficients are positive, else above."""
        below, above = (
            rows.patches(torch.from_numpy(self.table[:, None, side + column]))
            for side in (BELOW, ABOVE)
        )
        return torch.where(rows.values > 0, below, above)

    def mixed(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        return shared_out(rows, choice, super().mixed, self._dual)

    def _dual(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """The dual bound with the slopes and multipliers chosen."""
        assert choice.mix is not None
        multiplier = choice.multiplier
        if choice.mix.requires_grad:
            out, rest = Dual.apply(
                rows.values, choice.mix, multiplier, *rows.place(), self.table, self.square
            )
            return (rows.with_values(out, rows.mass),), rest - self.dust[rows.owner]
        arrays = (array(rows.values), *rows.place(), array(choice.mix), array(multiplier))
        found = backend().pull_dual(*arrays, self.table, self.square)
        out, rest, mass = (torch.from_numpy(part) for part in found)
        return (rows.with_values(out, up(mass)),), rest - self.dust[rows.owner]
