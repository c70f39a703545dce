"""A victim in a box: attacks that know nothing of it attack f(nearest point of the box)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from boundcert.attacks.base import Victim
from boundcert.clip import Clip


class _Projected(torch.autograd.Function):
    """The nearest point of a box; slopes that lead further out count as 0, others as they are.

    Attacks climb their gradients. At a side of the box, or beyond it, a step outward changes
    nothing, and one inward is to be found although the first part of it changes nothing either.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, clip: Clip) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.clip = clip
        return clip.project(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,), (grad,) = ctx.saved_tensors, grads
        out = ((x <= ctx.clip.low) & (grad < 0)) | ((x >= ctx.clip.high) & (grad > 0))
        return grad.masked_fill(out, 0.0), None


@dataclass(frozen=True)
class Clipped:
    """x ↦ f(x′), x′ the nearest point of the box.

    The box holds the samples, and moving a point into it moves no entry away from those of a
    sample: ‖x′ − sample‖ ≤ ‖x − sample‖ in every norm. So what fools this victim fools f itself
    at x′, no farther away.
    """

    victim: Victim
    clip: Clip

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the nearest points of the box; see :class:`Victim`."""
        return self.victim.logits(_Projected.apply(x, self.clip))
