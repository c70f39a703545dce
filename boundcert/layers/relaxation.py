"""Boxes, and linear relaxations of layers over them: what the tight tier knows of a layer.

Everything is said of deviations δ = exact value at the perturbed input − value computed at the
sample, so that constants cancel before they can be rounded. A relaxation turns a row c of a
layer's output into rows of its operands and a rest with

    c·δ_out ≥ Σ_k c_k·δ_k + rest   for all exact operands in the boxes it was built for,

all rounding included: c_k are the numbers computed, and the rest pays for what they lost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from boundcert.layers.base import UNDERFLOW, UNIT
from boundcert.layers.rows import Rows
from boundcert.norms import flat

if TYPE_CHECKING:
    from boundcert.layers.window_means import Contrasts

#: Logarithms of multipliers to the base 4 go no further than this either way.
FARTHEST = 400.0
#: What a relaxation loses that loses nothing, or need not say what.
NOTHING = torch.zeros((), dtype=torch.float64)
#: What numbers are rounded down towards.
BELOW = torch.tensor(-torch.inf, dtype=torch.float64)
#: Relative widening of a bound that a few float64 operations made.
NUDGE = 4e-16


@dataclass(frozen=True)
class Box:
    """Elementwise bounds on the exact value of a node: low ≤ value ≤ high, (B, *shape) each.

    ``point`` is the value computed at the sample; an infinite or nan end bounds nothing.
    ``spread`` (B,) bounds the 2-norm of the deviation from it, where that is of use.
    """

    low: torch.Tensor
    high: torch.Tensor
    point: torch.Tensor
    spread: torch.Tensor | None = None

    @cached_property
    def centre(self) -> torch.Tensor:
        """A point in (or next to) the box."""
        return self.low + 0.5 * (self.high - self.low)

    @cached_property
    def radius(self) -> torch.Tensor:
        """At least the distance of :attr:`centre` from either end."""
        return self._from(self.centre)

    @cached_property
    def deviation(self) -> torch.Tensor:
        """At least |δ|: the distance of the value at the sample from either end."""
        return self._from(self.point)

    def _from(self, point: torch.Tensor) -> torch.Tensor:
        apart = torch.maximum(self.high - point, point - self.low)
        return torch.clamp(apart, min=0) * (1 + NUDGE) + point.abs() * NUDGE

    @cached_property
    def reach(self) -> torch.Tensor:
        """(B,) the largest deviation."""
        return largest(self.deviation)

    @cached_property
    def magnitude(self) -> torch.Tensor:
        """Largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    def meet(self, low: torch.Tensor, high: torch.Tensor) -> Box:
        """The intersection with another enclosure; nan ends give way to the other's."""
        return replace(self, low=torch.fmax(self.low, low), high=torch.fmin(self.high, high))

    def stretched(self, factor: torch.Tensor) -> Box:
        """The same box where ``factor`` (B,) is 1, one ``factor`` times as wide elsewhere."""
        if bool((factor == 1).all()):
            return self
        wide = factor.reshape(-1, *([1] * (self.point.dim() - 1)))
        low = torch.where(wide == 1, self.low, self.point + (self.low - self.point) * wide)
        high = torch.where(wide == 1, self.high, self.point + (self.high - self.point) * wide)
        spread = None if self.spread is None else self.spread * factor
        return Box(low, high, self.point, spread)

    def take(self, samples: torch.Tensor) -> Box:
        """The boxes of some samples."""
        spread = None if self.spread is None else self.spread[samples]
        return Box(self.low[samples], self.high[samples], self.point[samples], spread)


def largest(x: torch.Tensor) -> torch.Tensor:
    """(B,) the largest entry of each sample; nan where one is."""
    return flat(x).amax(dim=1) if x[0].numel() else x.new_zeros(len(x))


@dataclass(frozen=True)
class Choice:
    """What rows choose at a node: numbers that an ascent may move as it likes.

    Attributes
    ----------
    mix : (R, C, h, w) in [0, 2]: which lines, or which slopes; None: there is no choice of them.
    level : (R,) logarithms of multipliers to the base 4; None: there are none.
    dual : (R,) which rows take their multiplier; this stays as it is.
    """

    mix: torch.Tensor | None = None
    level: torch.Tensor | None = None
    dual: torch.Tensor | None = None

    @property
    def multiplier(self) -> torch.Tensor:
        """(R,) the multipliers: normal numbers, and their halves, too."""
        assert self.level is not None
        return torch.exp2(2 * self.level.double().clamp(-FARTHEST, FARTHEST))

    def take(self, rows: torch.Tensor) -> Choice:
        """The choices of some of the rows."""
        parts = (self.mix, self.level, self.dual)
        return Choice(*(None if part is None else part[rows] for part in parts))


class Relaxation(ABC):
    """A layer relaxed over boxes of its operands."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    @abstractmethod
    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """Rows of the operands, and the rest (R,); −inf or nan where there is no bound."""

    def single(
        self, index: torch.Tensor, owner: torch.Tensor, sign: torch.Tensor
    ) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """:meth:`below` for the rows sign·e_index, (R,) flat indices of the layer's output."""
        return self.below(Rows.units(index, owner, sign, self.shape))

    def by_lines(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """:meth:`below` without multipliers, where it would make use of them."""
        return self.below(rows)

    @property
    def free(self) -> bool:
        """Whether :meth:`mixed` leaves a choice."""
        return False

    def start(self, rows: Rows) -> Choice:
        """The choice that makes :meth:`mixed` the same as :meth:`below`."""
        raise NotImplementedError

    def mixed(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """:meth:`below` with what was chosen for these rows."""
        raise NotImplementedError

    @property
    def bent(self) -> torch.Tensor | None:
        """Entries (B, *shape) of the operand of which :meth:`within` wants the 2-norm, if any."""
        return None

    def within(self, spread: torch.Tensor) -> Relaxation:
        """The same for bent entries whose 2-norm is at most ``spread`` (B,), too."""
        return self

    def contrasts(self, room: int) -> Contrasts | None:
        """Functionals of the operand whose bounds :meth:`beside` wants; None: none, or none that
        so many bytes have room for."""
        return None

    def beside(self, weight: torch.Tensor, excess: torch.Tensor) -> Relaxation:
        """The same where entries of windows exceed means by ``excess`` at most, too.

        See :class:`boundcert.layers.window_means.Means` for both.
        """
        return self

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        """For each operand the entries (B, *shape) whose tighter bounds would help; None: none."""
        return (None,)

    def telling(self) -> tuple[torch.Tensor | None, ...]:
        """For each operand which end (B, *shape) may tell alone that an entry is not loose.

        1 for the lower end, −1 for the upper one, 0 for both together; None: 0 everywhere.
        """
        return (None,) * len(self.loose())


#: Rows of the operands and rest of rows with choices.
Pull = Callable[[Rows, Choice], tuple[tuple[Rows, ...], torch.Tensor]]


def shared_out(
    rows: Rows, choice: Choice, lines: Pull, dual: Pull
) -> tuple[tuple[Rows, ...], torch.Tensor]:
    """Rows through ``lines`` or ``dual``, each as its choice says."""
    if choice.dual is None:
        return lines(rows, choice)
    ways = [torch.nonzero(mine).reshape(-1) for mine in (~choice.dual, choice.dual)]
    found = [
        pull(rows.take(way), choice.take(way)) for way, pull in zip(ways, (lines, dual)) if len(way)
    ]
    if len(found) == 1:
        return found[0]
    back = torch.cat(ways).argsort()
    one, other = (out for (out,), _ in found)
    out = one.beside(other).take(back)
    return (out,), torch.cat([rest for _, rest in found])[back]


def down(total: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """total + part, rounded down (on a tape, where nothing is proved, plainly)."""
    if part is NOTHING:
        return total
    added = total + part
    return added if added.requires_grad else torch.nextafter(added, BELOW)


def dust(deviation: torch.Tensor) -> torch.Tensor:
    """(B,) what underflow costs a row at a value of this deviation; see :class:`Loss`."""
    return flat(deviation).sum(dim=1) * 1e-300 + UNDERFLOW


@dataclass(frozen=True)
class Loss:
    """What rounding costs rows: ``share`` (B,) per unit of |c|, ``dust`` (B,) whatever they are.

    The dust covers products that underflow. Each loses 2^−1075 on its way to a coefficient, at
    most 10²³ of them, and the coefficient acts on the deviation of one entry.
    """

    share: torch.Tensor
    dust: torch.Tensor

    @classmethod
    def of(cls, share: torch.Tensor, deviation: torch.Tensor) -> Loss:
        """The loss at a value of this deviation (B, *shape)."""
        return cls(share, dust(deviation))

    def rest(self, rows: Rows) -> torch.Tensor:
        """−(mass·share + dust), rounded down (R,)."""
        return -(rows.mass * self.share[rows.owner] + self.dust[rows.owner]) * (1 + 8 * UNIT)
