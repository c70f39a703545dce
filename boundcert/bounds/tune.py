"""Lines chosen by gradient ascent, each row for itself.

Whatever lines a row takes, its bound holds: the ascent decides how tight it is, not whether it is
true. So it runs in float32, and what it finds is carried back once more off the tape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from boundcert.bounds.backward import Choices
from boundcert.bounds.region import Region
from boundcert.layers.rows import Rows

#: First step in a mix, and what is left of it after each.
RATE, DECAY = 1.5, 0.9
#: Decay of the running means of gradients and of their squares (Adam, arXiv 1412.6980).
MEAN, SQUARE = 0.8, 0.9

#: Rows of the input and their rest with given choices.
Pull = Callable[[Choices], tuple[Rows, torch.Tensor]]


def tune(
    pull: Pull, eps: torch.Tensor, shape: tuple[int, ...], region: Region, steps: int
) -> Choices | None:
    """The best choices met in so many steps for the bound at radii eps (R,); None: no choice.

    Parameters
    ----------
    pull : carries the rows back, on a tape.
    shape : of the input.
    """
    choices, best, kept = Choices(), None, {}
    means: dict[int, torch.Tensor] = {}
    squares: dict[int, torch.Tensor] = {}
    for step in range(steps + 1):
        with torch.enable_grad():
            rows, rest = pull(choices)
            mixes = list(choices.mixes.values())
            value = rest - region.drop(rows, eps, shape)
            if not mixes or not value.requires_grad:
                return None
            grads = torch.autograd.grad(value.sum(), mixes, allow_unused=True)
        now = value.detach().nan_to_num(-torch.inf)
        better = torch.ones_like(now, dtype=torch.bool) if best is None else now > best
        best = now if best is None else torch.where(better, now, best)
        for (node, mix), grad in zip(choices.mixes.items(), grads):
            if node not in kept:
                kept[node] = mix.detach().clone()
                means[node], squares[node] = torch.zeros_like(mix), torch.zeros_like(mix)
            kept[node][better] = mix.detach()[better]
            if grad is None or step == steps:
                continue
            grad = grad.nan_to_num(0.0, 0.0, 0.0)
            mean = means[node].mul_(MEAN).add_(grad, alpha=1 - MEAN)
            square = squares[node].mul_(SQUARE).addcmul_(grad, grad, value=1 - SQUARE)
            scale = (
                RATE * DECAY**step * (1 - SQUARE ** (step + 1)) ** 0.5 / (1 - MEAN ** (step + 1))
            )
            moved = mix.detach() + scale * mean / (square.sqrt() + 1e-30)
            choices.mixes[node] = moved.clamp_(0.0, 2.0).requires_grad_()
    found = Choices()
    found.mixes = kept
    return found
