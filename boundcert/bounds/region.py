"""Where perturbed inputs may be: balls about the samples, cut with the range of the data if given.

Without a range everything here is Hölder's inequality, and nothing depends on a radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from boundcert.bounds.backward import Linear, concretise
from boundcert.clip import Clip
from boundcert.kernels import backend
from boundcert.layers.base import UNIT, numel
from boundcert.layers.relaxation import Box, down
from boundcert.layers.rows import Rows, array, planes
from boundcert.layers.spectral import gamma
from boundcert.norms import Norm, flat

#: Rounds of the search for where a bound vanishes, and the relative gain that ends it.
ROUNDS, GAIN = 12, 1e-5
#: Share of a bound that is given away over the whole box, so that no slope is 0: a bound that
#: never vanishes then still vanishes somewhere, far outside the box, and not at infinity.
FLAT = 2.0**-40


@dataclass(frozen=True)
class Rooms:
    """How far the entries of samples may move before they leave the box.

    Attributes
    ----------
    below, above : (B, *input shape) x − low and high − x, rounded up.
    farthest : (B,) how far the farthest point of the box is. A ball that large holds the box.
    """

    clip: Clip
    below: torch.Tensor
    above: torch.Tensor
    farthest: torch.Tensor

    @classmethod
    def of(cls, clip: Clip, x: torch.Tensor, norm: Norm) -> Rooms:
        """The rooms of samples x (B, *input shape)."""
        below, above = (
            torch.clamp(room, min=0.0) * (1 + 4 * UNIT) for room in (x - clip.low, clip.high - x)
        )
        return cls(clip, below, above, norm.of_rows(torch.maximum(below, above)))

    def take(self, samples: torch.Tensor) -> Rooms:
        """The rooms of some of the samples."""
        parts = (self.below[samples], self.above[samples], self.farthest[samples])
        return Rooms(self.clip, *parts)


@dataclass(frozen=True)
class Region:
    """The inputs x + q with ‖q‖_p ≤ ε, in the box if there is one, whatever ε."""

    norm: Norm
    rooms: Rooms | None = None

    @classmethod
    def of(cls, norm: Norm, x: torch.Tensor, clip: Clip | None = None) -> Region:
        """The region about samples x (B, *input shape), which lie in the box."""
        return cls(norm, None if clip is None else Rooms.of(clip, x, norm))

    def take(self, samples: torch.Tensor) -> Region:
        """The region about some of the samples."""
        return self if self.rooms is None else Region(self.norm, self.rooms.take(samples))

    def box(self, x: torch.Tensor, eps: torch.Tensor) -> Box:
        """The smallest box about the region: x ± ε, which holds the ball of every norm, cut.

        Rounded outward; the ends of the range are what they are.
        """
        wide = eps.reshape(-1, *([1] * (x.dim() - 1)))
        loss = (x.abs() + wide) * (2 * UNIT)
        box = Box(x - wide - loss, x + wide + loss, x)
        if self.rooms is None:
            return box
        clip = self.rooms.clip
        return Box(torch.clamp(box.low, min=clip.low), torch.clamp(box.high, max=clip.high), x)

    def within(
        self, radius: torch.Tensor, samples: torch.Tensor | slice = slice(None)
    ) -> torch.Tensor:
        """Radii (B,) of ``samples``, none beyond the farthest point of the box."""
        if self.rooms is None:
            return radius
        return torch.minimum(radius, self.rooms.farthest[samples])

    def concretise(
        self, rows: Rows, base: torch.Tensor, shape: tuple[int, ...], eps: torch.Tensor
    ) -> Linear:
        """Lower bounds on base + c·q over the region of any radius; the best ones at ``eps`` (R,).

        With the split |c| = u + v of the kernel ``clipped_norm`` (the proof is there) and the
        rooms r, base + c·q ≥ base − Σ u·r − s‖v‖_q in the box and the ball of every radius s.
        Computed, u is rounded once, a product once more, and n terms are summed in whatever order:
        both sums are short of the true ones by at most γ of n + 2 operations. Products that
        underflow are in the constants. What is no number proves nothing.
        """
        if self.rooms is None:
            return concretise(rows, base, shape, self.norm)
        loss, slope, _ = self._split(rows, eps)
        inflation = 1 + 2 * gamma(numel(shape) + 32)
        base = down(base, -(loss * inflation + 1e-290))
        slack = base.abs() / self.rooms.farthest[rows.owner] * FLAT
        return Linear(base, slope * inflation + slack.nan_to_num(0.0, 0.0, 0.0) + 1e-290)

    def vanishing(
        self, rows: Rows, base: torch.Tensor, shape: tuple[int, ...], eps: torch.Tensor
    ) -> Linear:
        """:meth:`concretise` at the radii where the bounds vanish, instead of at ``eps``.

        The best bound is convex in the radius, and a split's line touches it from below where
        the split is the best one. So the lines' zeros climb (Newton's method from the left) to
        where the best bound vanishes: a bound that is positive up to there.
        """
        best = self.concretise(rows, base, shape, torch.zeros_like(eps))
        if self.rooms is None:
            return best
        for _ in range(ROUNDS):
            reach = best.reach()
            start = self.within(reach.nan_to_num(0.0), rows.owner).clamp(min=0.0)
            other = self.concretise(rows, base, shape, start)
            further = other.reach()
            take = further > reach
            best = Linear(
                torch.where(take, other.base, best.base), torch.where(take, other.slope, best.slope)
            )
            near = further <= torch.clamp(reach, min=0.0) * (1 + GAIN)
            if not bool((take & ~near & (reach < self.rooms.farthest[rows.owner])).any()):
                break
        return best

    def drop(self, rows: Rows, eps: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        """max of −c·q over the region (R,), plainly, on a tape: its gradient is the maximiser."""
        if self.rooms is None:
            return eps * _length(rows, shape, self.norm)
        values = rows.values.double()
        size = values.detach().abs()
        below, above = (rows.patches(room) for room in (self.rooms.below, self.rooms.above))
        room = torch.where(values > 0, below, above)
        level, radius = (
            x.reshape(-1, *([1] * (values.dim() - 1))) for x in (self._split(rows, eps)[2], eps)
        )
        if self.norm is Norm.L2:
            moves = torch.minimum(size / level, room).nan_to_num(0.0)
        elif self.norm is Norm.LINF:
            moves = torch.minimum(room, radius)
        else:
            moves = torch.where(size > level, room, 0.0)
            last = (size == level) & (room > 0)
            left = radius.flatten() - flat(moves).sum(dim=1)
            share = left.clamp(min=0.0) / flat(last).sum(dim=1).clamp(min=1)
            moves = torch.where(last, share.reshape(radius.shape), moves)
        return flat(values.abs() * moves).sum(dim=1)

    def _split(
        self, rows: Rows, eps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Loss, slope and level (R,) of rows; see the kernel."""
        assert self.rooms is not None
        rooms = planes(self.rooms.below), planes(self.rooms.above)
        found = backend().clipped_norm(
            array(rows.values), *rows.place(), *rooms, array(eps), self.norm.p
        )
        loss, slope, level = (torch.from_numpy(part) for part in found)
        return loss, slope, level


def _length(rows: Rows, shape: tuple[int, ...], norm: Norm) -> torch.Tensor:
    """‖c‖_q of every row (R,) on the plane."""
    values = rows.values
    if not rows.whole:
        values = values * rows.patches(values.new_ones(1, *shape))
    return torch.linalg.vector_norm(flat(values).double(), norm.dual.p, dim=1)
