"""Lines, slopes and multipliers chosen by gradient ascent, each row for itself.

Whatever a row takes, its bound holds: the ascent decides how tight it is, not whether it is
true. So it runs in float32, and what it finds is carried back once more off the tape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from boundcert.bounds.backward import Carried, Choices
from boundcert.bounds.kept import Begun
from boundcert.bounds.region import Region

#: First step in the mix of lines, of slopes beside a multiplier, and in a multiplier's logarithm;
#: what is left of a step after each.
RATE, RATE_DUAL, RATE_LEVEL, DECAY = 1.5, 0.5, 0.5, 0.92
#: Rows that begin where an ascent ended take steps of this share.
BEGUN = 0.4
#: Decay of the running means of gradients and of their squares (Adam, arXiv 1412.6980).
MEAN, SQUARE = 0.8, 0.9

#: Rows of the input and their rest with given choices.
Pull = Callable[[Choices], Carried]


def tune(
    pull: Pull, eps: torch.Tensor, region: Region, steps: int, begun: Begun | None = None
) -> Choices | None:
    """The best choices met in so many steps for the bound at radii eps (R,); None: no choice.

    Parameters
    ----------
    pull : carries the rows back, on a tape.
    begun : what some of the rows chose before.
    """
    choices, best = Choices(begun), None
    ways: list[_Way] = []
    for step in range(steps + 1):
        with torch.enable_grad():
            found = pull(choices)
            ways = ways or [way for node in choices.nodes for way in _ways(choices, node)]
            value = found.rest - region.drop(found.rows, eps, found.shape)
            if not ways or not value.requires_grad:
                return None
            places = [way.place(choices) for way in ways]
            grads = torch.autograd.grad(value.sum(), places, allow_unused=True)
        now = value.detach().nan_to_num(-torch.inf)
        better = torch.ones_like(now, dtype=torch.bool) if best is None else now > best
        best = now if best is None else torch.where(better, now, best)
        for way, place, grad in zip(ways, places, grads):
            way.best[better] = place.detach()[better]
            if grad is not None and step < steps:
                way.step(choices, grad.nan_to_num(0.0, 0.0, 0.0), step)
    for way in ways:
        way.set(choices, way.best)
    return choices


class _Way:
    """One kind of numbers that rows choose at a node, and where the ascent of them is.

    Attributes
    ----------
    kind : ``mix`` or ``level`` of :class:`Choice`.
    rate : first step, for all or for each row.
    ends : between which numbers may lie.
    best : the best numbers met, row by row.
    """

    def __init__(
        self,
        choices: Choices,
        node: int,
        kind: str,
        rate: torch.Tensor | float,
        ends: tuple[float, float],
    ) -> None:
        self.node, self.kind, self.rate, self.ends = node, kind, rate, ends
        self.best = self.place(choices).detach().clone()
        self.mean, self.square = torch.zeros_like(self.best), torch.zeros_like(self.best)

    def place(self, choices: Choices) -> torch.Tensor:
        """The numbers that are chosen now."""
        found: torch.Tensor = getattr(choices.nodes[self.node], self.kind)
        return found

    def set(self, choices: Choices, place: torch.Tensor) -> None:
        """Choose other numbers."""
        choices.nodes[self.node] = replace(choices.nodes[self.node], **{self.kind: place})

    def step(self, choices: Choices, grad: torch.Tensor, step: int) -> None:
        """One step of Adam upward."""
        mean = self.mean.mul_(MEAN).add_(grad, alpha=1 - MEAN)
        square = self.square.mul_(SQUARE).addcmul_(grad, grad, value=1 - SQUARE)
        scale = DECAY**step * (1 - SQUARE ** (step + 1)) ** 0.5 / (1 - MEAN ** (step + 1))
        moved = self.place(choices).detach() + self.rate * scale * mean / (square.sqrt() + 1e-30)
        self.set(choices, moved.clamp_(*self.ends).requires_grad_())


def _ways(choices: Choices, node: int) -> Iterator[_Way]:
    """The ways that an ascent may go at a node."""
    choice = choices.nodes[node]
    if choice.mix is not None:
        rate: torch.Tensor | float = RATE
        wide = (-1, *([1] * (choice.mix.dim() - 1)))
        if choice.dual is not None:
            rate = torch.where(choice.dual.reshape(wide), RATE_DUAL, RATE)
        if choices.begun is not None:
            rate = rate * torch.where(choices.begun.found.reshape(wide), BEGUN, 1.0)
        yield _Way(choices, node, "mix", rate, (0.0, 2.0))
    if choice.level is not None:
        yield _Way(choices, node, "level", RATE_LEVEL, (-torch.inf, torch.inf))
