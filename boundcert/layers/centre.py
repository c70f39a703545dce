"""Activations as a linear part and what is left of them: δ_out = C·δ + e."""

from __future__ import annotations

import torch

from boundcert.layers.base import UNIT
from boundcert.layers.relaxation import Box, Loss, Relaxation, largest
from boundcert.layers.rows import Rows

#: A half range of slopes up to this, or up to this share of their middle, counts as rounding.
STRAIGHT = 1e-14


class Centre(Relaxation):
    """The linear part of an activation: rows lose what ``e`` says, and nothing else but rounding.

    For an entry that moves from p to z, g(z) − g(p) = s·(z − p) with a slope s between the least
    and the greatest of all chords from p over the box, C ± H. So δ_out = C·δ + e + r with
    |e_i| ≤ H_i|δ_i| and r = g(p) − v, the error of the value computed at the sample, ‖r‖_∞ ≤
    ``error``. For every row |c·δ_out − (cC)·δ − c·e| ≤ −rest: the computed cC is off by at most
    2⁻⁵³|cC|, which acts on |δ|. Where H is hardly more than rounding it is part of the rest, too.

    Parameters
    ----------
    box : of the operand.
    centre, half : C and H (B, *shape).
    error : (B,).

    Attributes
    ----------
    half : H, and 0 where the rest has it.
    """

    def __init__(
        self, box: Box, centre: torch.Tensor, half: torch.Tensor, error: torch.Tensor
    ) -> None:
        super().__init__(tuple(centre.shape[1:]))
        straight = half <= STRAIGHT * centre.abs().clamp(min=1.0)
        self.centre, self.half = centre, torch.where(straight, 0.0, half)
        most = centre.abs() * (2 * UNIT) + torch.where(straight, half, 0.0)
        share = largest(most * box.deviation) + error
        self.loss = Loss.of(share * (1 + 8 * UNIT), box.deviation)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        return (rows.scaled(self.centre),), self.loss.rest(rows)


class End(Relaxation):
    """A layer that rows do not pass: all of its deviation is left."""

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        return (), torch.zeros_like(rows.mass)
