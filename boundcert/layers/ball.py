"""Elementwise relaxation over a box and a ball at once.

A box forgets that the entries of δ cannot all be far out together: ‖δ‖₂ ≤ ρ. For any slopes g and
multiplier λ ≥ 0 (weak duality; SDP-CROWN, arXiv 2506.06665, is the case without the box)

    c·δ_out ≥ g·δ + Σ_i min_{δ_i in box} (½λδ_i² + c_i·δ_out,i − g_iδ_i) − ½λρ²,

since ½λ(‖δ‖² − ρ²) ≤ 0. The box is cut in two, at the kink or at the sample, with lines below and
above on each part; the inner minimum is then that of two parabolas.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from boundcert.kernels import backend
from boundcert.layers.base import UNIT
from boundcert.layers.lines import Lines, shifted
from boundcert.layers.relaxation import NUDGE, Box
from boundcert.layers.rows import Rows, array, planes, up

#: Lines below and above over a box: slope and constant, slope and constant.
LinesOf = tuple[torch.Tensor, ...]


class Ball(Lines):
    """Lines on the box where no multiplier does better, else the dual bound above.

    Parameters
    ----------
    box : with the operand's spread ρ (B,).
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
        assert box.spread is not None
        # a cut that was rounded lets one part's lines be used a hair beyond it
        steep = torch.stack([part[k].abs() for part in (left, right) for k in (0, 2)]).amax(dim=0)
        hair = steep * (cut.abs() + box.point.abs()) * (4 * UNIT)
        halves = []
        for side, outward in ((0, -1.0), (2, 1.0)):
            for part in (left, right):
                at = shifted(part[side], part[side + 1], box.point, value, self.far, outward)
                halves += [part[side], at + outward * hair]
        low, high = box.low - box.point, box.high - box.point
        ends = (low - low.abs() * NUDGE, high + high.abs() * NUDGE, cut - box.point)
        stacked = [*(planes(end) for end in ends), *(planes(h) for h in halves), *self.arguments]
        self.table = np.ascontiguousarray(np.stack(stacked, axis=1))
        square = box.spread * box.spread * (1 + 8 * UNIT) + 1e-290
        self.square = array(torch.where(square.isfinite(), square, torch.inf))

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        out, rest, mass = (
            torch.from_numpy(part)
            for part in backend().pull_ball(
                array(rows.values), *rows.place(), self.table, self.square
            )
        )
        found = rows.with_values(out, up(mass))
        return (found,), rest - self.dust[rows.owner]
