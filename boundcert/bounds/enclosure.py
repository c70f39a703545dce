"""Where the root of R(ε) = ε lies: secants in log ε, log R, kept inside what is known."""

from __future__ import annotations

import torch

#: A step between frames is at most a factor.
STRIDE = 8.0


class Enclosure:
    """Where R(ε) = ε lies: log ε and log R/ε at the nearest frame on each side."""

    def __init__(self, like: torch.Tensor, beyond: float) -> None:
        self.beyond = beyond
        self.below = torch.full_like(like, -torch.inf)
        self.above = torch.full_like(like, torch.inf)
        self.rise, self.fall = torch.zeros_like(like), torch.zeros_like(like)
        self.last = torch.zeros_like(like)

    def next(self, rows: torch.Tensor, eps: torch.Tensor, root: torch.Tensor) -> torch.Tensor:
        """The next ε to try, after a frame at ``eps`` found ``root``."""
        here = eps.log()
        most = torch.full_like(eps, STRIDE).log()
        gap = (torch.clamp(root, min=1e-300).log() - here).clamp(-most, most)
        up = (gap >= 0) & (here > self.below[rows])
        down = (gap < 0) & (here < self.above[rows])
        # Illinois' rule: an end that stays where it is twice counts for half
        again = self.last[rows]
        self.fall[rows] = torch.where(up & (again > 0), self.fall[rows] * 0.5, self.fall[rows])
        self.rise[rows] = torch.where(down & (again < 0), self.rise[rows] * 0.5, self.rise[rows])
        self.last[rows] = up.to(eps.dtype) - down.to(eps.dtype)
        self.below[rows] = torch.where(up, here, self.below[rows])
        self.rise[rows] = torch.where(up, gap, self.rise[rows])
        self.above[rows] = torch.where(down, here, self.above[rows])
        self.fall[rows] = torch.where(down, gap, self.fall[rows])
        low, high = self.below[rows], self.above[rows]
        rise, fall = self.rise[rows], self.fall[rows]
        share = (rise / (rise - fall)).nan_to_num(0.5).clamp(0.02, 0.98)
        open_ = here + gap * self.beyond
        enclosed = low.isfinite() & high.isfinite()
        return torch.where(enclosed, low + share * (high - low), open_).exp()

    def halved(
        self, rows: torch.Tensor, eps: torch.Tensor, root: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A root not past the middle between the nearest frames; and how far they are apart."""
        low, high, here = self.below[rows], self.above[rows], root.log()
        middle = 0.5 * (low + high)
        past = (here - eps.log()).abs() > 0.5 * (high - low)
        return torch.where(past & middle.isfinite(), middle.exp(), root), high - low
