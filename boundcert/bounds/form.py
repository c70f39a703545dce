"""Bounds of a node's entries that are linear in ε."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from boundcert.bounds.backward import Linear


@dataclass
class Form:
    """Bounds on both ends of a node's entries: (B, *shape) each, −∞ where unknown.

    ``high`` bounds the negative of the entries from below.
    """

    low: Linear
    high: Linear

    @classmethod
    def unknown(cls, shape: torch.Size) -> Form:
        """Nothing is known."""
        base = torch.full(shape, -torch.inf, dtype=torch.float64)
        zero = torch.zeros(shape, dtype=torch.float64)
        return cls(Linear(base, zero), Linear(base.clone(), zero.clone()))

    @property
    def known(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, *shape) which low ends are bounded, and which high ones."""
        return self.low.base.isfinite(), self.high.base.isfinite()

    def keep(self, found: torch.Tensor, linear: Linear) -> None:
        """Store bounds on ends ``found`` (R, 3): sample, flat index, 0 for low or 1 for high."""
        for side, form in enumerate((self.low, self.high)):
            mine = found[:, 2] == side
            place = (found[mine, 0], found[mine, 1])
            form.base.view(len(form.base), -1)[place] = linear.base[mine]
            form.slope.view(len(form.base), -1)[place] = linear.slope[mine]

    def take(self, samples: torch.Tensor) -> Form:
        """The bounds of some samples."""
        return Form(*(Linear(b.base[samples], b.slope[samples]) for b in (self.low, self.high)))

    def ends(self, eps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The bounds at radii eps (B,)."""
        wide = eps.reshape(-1, *([1] * (self.low.base.dim() - 1)))
        return self.low.at(wide), -self.high.at(wide)
