"""Window maxima between weighted means of their entries: what boxes alone do not see.

Neighbouring entries move together, so that z_j − z̄ of a window's entry and a mean z̄ = Σ_k w_k·z_k
of all may vary far less than either. Whatever the weights,

    max_j z_j ≤ z̄ + max_j sup(z_j − z̄),

and whatever the weights h ≥ 0 with sum 1, max_j z_j ≥ Σ_k h_k·z_k. The suprema are bounds on rows,
as any others; the weights say how tight this is, not whether it holds. Planes known to us relax a
maximum over the box of its entries alone (MaxLin, arXiv 2305.13991; Ti-Lin, arXiv 2208.09872).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from boundcert.layers.base import UNIT, numel
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows, array, plane_of, up
from boundcert.layers.spectral import gamma
from boundcert.layers.tape import gather
from boundcert.layers.windows import Windows

#: Weights above go as this power of how far an entry may rise above what some other surely is.
STEEP = 3
#: Entries this share of the window's radius below its largest at the sample count below as well.
TIES = 0.02
#: How much of the radii that a bound moves its rows pay, besides what it lies off at the sample.
FLATNESS = 0.1


@dataclass(frozen=True)
class Windowed:
    """What boxes say of the entries of windows over planes.

    Attributes
    ----------
    windows : over the planes; ``table`` as :meth:`Windows.table` has it.
    shape : of the value that they are windows of.
    low, high, point : (B, C, W, K) entries; padding is −∞ at both ends and 0 at the sample. A
        window with an end that is infinite or no number has no means: they come out as none.
    """

    windows: Windows
    table: torch.Tensor
    shape: tuple[int, ...]
    low: torch.Tensor
    high: torch.Tensor
    point: torch.Tensor

    @classmethod
    def of(cls, box: Box, windows: Windows, table: torch.Tensor) -> Windowed:
        """The entries of a box (B, *shape)."""
        shape, real = tuple(box.low.shape[1:]), table >= 0
        size = numel(windows.size)

        def entries(x: torch.Tensor, fill: float) -> torch.Tensor:
            flat = x.reshape(len(x), -1, size)[:, :, table.clamp(min=0)]
            return torch.where(real, flat, fill)

        low, high = (entries(end, -torch.inf) for end in (box.low, box.high))
        return cls(windows, table, shape, low, high, entries(box.point, 0.0))

    @property
    def magnitude(self) -> torch.Tensor:
        """(B, C, W) at least |z| of every entry, and |p|."""
        size = torch.maximum(torch.maximum(self.low.abs(), self.high.abs()), self.point.abs())
        return torch.where(self.table >= 0, size, 0.0).amax(dim=-1)

    @property
    def radius(self) -> torch.Tensor:
        """(B, C, W, K) about half as far as an entry may move."""
        return torch.where(self.table >= 0, (self.high - self.low) / 2, 0.0)

    @property
    def highest(self) -> torch.Tensor:
        """(B, C, W, K) weights of those entries that are about the largest at the sample."""
        real, widest = self.table >= 0, self.radius.amax(dim=-1, keepdim=True)
        behind = self.point - torch.where(real, self.point, -torch.inf).amax(dim=-1, keepdim=True)
        share = torch.where(real, torch.clamp(behind + TIES * widest, min=0), 0.0)
        return share / share.sum(dim=-1, keepdim=True)


@dataclass(frozen=True)
class Contrasts:
    """Functionals z̄ − z_j: how far the entries of windows exceed a mean, but for the sign.

    Bounds on those that are asked for are bounds on all entries of a window: one that is left out
    never exceeds the lower end of one that is asked for.

    Attributes
    ----------
    weight : (B, C, W, K) of the means.
    asked : (B, C, W, K) bool.
    """

    within: Windowed
    weight: torch.Tensor
    asked: torch.Tensor

    @classmethod
    def of(cls, within: Windowed, exact: torch.Tensor) -> Contrasts | None:
        """Those of windows that are not ``exact`` (B, C, W) anyway; None: there are none."""
        low, high = within.low, within.high
        most = low.amax(dim=-1, keepdim=True)
        above = torch.clamp(high - most, min=0)
        share = (above / above.amax(dim=-1, keepdim=True)) ** STEEP
        weight = share / share.sum(dim=-1, keepdim=True)
        asked = (high >= most) & (within.table >= 0)
        known = weight.isfinite().all(dim=-1) & (asked.sum(dim=-1) > 1) & ~exact
        asked = asked & known[..., None]
        if not bool(asked.any()):
            return None
        return cls(within, torch.where(known[..., None], weight, 0.0), asked)

    def at_sample(self) -> torch.Tensor:
        """Their values at the samples (R,), rounded down, in the order of ``asked``.

        A mean of K products and the difference are K + 1 roundings of what they add up, and the
        coefficient w_j − 1 that rows have is one more.
        """
        point, weight = self.within.point, self.weight
        mean, size = (x.sum(dim=-1, keepdim=True) for x in (weight * point, weight * point.abs()))
        loss = (size + point.abs()) * ((point.shape[-1] + 8) * UNIT) + 1e-300
        return (mean - point - loss)[self.asked]

    def rows(self, place: torch.Tensor, precision: torch.dtype) -> Rows:
        """The functionals at ``place`` (R, 4) sample, channel, window, entry: on windows."""
        sample, channel, window, entry = place.unbind(1)
        windows, shape = self.within.windows, self.within.shape
        weight = self.weight[sample, channel, window]
        weight[torch.arange(len(place)), entry] -= 1.0
        mass = up(weight.abs().sum(dim=1))
        patched = plane_of(shape)[1:] == windows.size
        one = (1,) * len(windows.size)
        size = windows.reach(one) if patched else windows.size
        channels = numel(shape) // numel(windows.size)
        values = torch.zeros(len(place), channels, numel(size), dtype=precision)
        if not patched:
            # padding has weight 0, wherever it goes
            table = self.within.table.clamp(min=0)[window]
            mine = torch.zeros(len(place), numel(size), dtype=torch.float64)
            values[torch.arange(len(place)), channel] = mine.scatter_add(1, table, weight).to(
                precision
            )
            return Rows.of(values.reshape(len(place), *shape), sample, shape, mass)
        table = torch.from_numpy(windows.over(one).table()[0])
        values[torch.arange(len(place))[:, None], channel[:, None], table] = weight.to(precision)
        step, before = torch.tensor(windows.stride), torch.tensor(windows.before)
        across = windows.out[1]
        origin = torch.stack((window // across, window % across), dim=1) * step - before
        return Rows(values.unflatten(2, size), mass, sample, origin, False)


@dataclass(frozen=True)
class Means:
    """Means below and above window maxima, in deviations from the samples.

    Attributes
    ----------
    weights : (B, 2, K, C, H, W), below and above.
    constants : (B, 2, C, H, W); ∓∞ where there is no mean.
    able, chosen : (B, 2, *shape) bool: where there is one; where it seems better than a line.
    """

    weights: np.ndarray
    constants: np.ndarray
    able: torch.Tensor
    chosen: torch.Tensor

    @classmethod
    def of(
        cls,
        within: Windowed,
        value: torch.Tensor,
        lines: tuple[torch.Tensor, torch.Tensor],
        weight: torch.Tensor,
        excess: torch.Tensor,
    ) -> Means:
        """Those with weights and excesses sup(z_j − z̄) ≤ ``excess`` (B, C, W) above.

        With v the maximum at the sample, z = p + δ and δ_out = max z − v: above,
        δ_out ≤ Σw_kδ_k + (Σw_kp_k + excess − v); below, as Σh_kz_k ≤ H·max z with H = Σh_k,
        δ_out ≥ Σh_kδ_k + (Σh_kp_k − v) − |H − 1|·|max z|. K products, their sum and H are K + 2
        roundings each, of numbers no larger than ``size``; the coefficient w_j − 1 of a row that
        bounded an excess is off by one rounding more, of |z_j|. Constants are widened by what
        adding up their products with a row's coefficients may lose.

        Parameters
        ----------
        value : (B, *out shape).
        lines : slope and constant of the lines above that there are, (B, C, W) each.
        """
        point, count = within.point, within.point.shape[-1]
        top = value.reshape(point.shape[:-1])
        below, none = within.highest, torch.zeros_like(excess)
        size, summed = within.magnitude + top.abs(), 2 * gamma(value[0].numel() + 32)
        found = []
        for mean, extra, outward in ((below, none, -1.0), (weight, excess, 1.0)):
            at = (mean * point).sum(dim=-1) + extra - top
            slack = (size + extra.abs()) * ((4 * count + 32) * UNIT) + 1e-300
            found.append(at + outward * (slack + (at.abs() + slack) * summed))
        constants, weights = torch.stack(found, dim=1), torch.stack((below, weight), dim=1)
        able = constants.isfinite() & weights.isfinite().all(dim=-1)
        able[:, 1] &= (weight > 0).any(dim=-1)
        chosen = able.clone()
        chosen[:, 1] &= _better(within, (weight, constants[:, 1]), lines)
        unbounded = torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)
        constants = torch.where(able, constants, unbounded.reshape(1, 2, 1, 1))
        entries = torch.where(able[..., None], weights, 0.0).movedim(-1, 2)
        shape, plane = (len(value), 2, *value.shape[1:]), plane_of(tuple(value.shape[1:]))
        return cls(
            array(entries.reshape(*shape[:2], count, *plane)),
            array(constants.reshape(*shape[:2], *plane)),
            able.reshape(shape),
            chosen.reshape(shape),
        )

    def share(self, rows: Rows, which: torch.Tensor) -> torch.Tensor:
        """Of ``which`` (B, 2, *shape) what rows see, by the signs of their coefficients."""
        below, above = (rows.patches(which[:, side].to(rows.values.dtype)) for side in range(2))
        return torch.where(rows.values.detach() > 0, below, above)

    def taped(
        self, rows: Rows, table: torch.Tensor, size: int, channels: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the kernel ``pull_means`` finds, on a tape: out (R, channels, size) and rest."""
        weights, constants = (torch.from_numpy(x) for x in (self.weights, self.constants))
        positive, (entries, planes) = rows.values > 0, weights.shape[2:4]
        # where there is no mean coefficients are 0, and must not meet an infinity
        constants = constants.nan_to_num(0.0, 0.0, 0.0)
        sides = zip(weights.flatten(2, 3).unbind(1), constants.unbind(1))
        (low, low_at), (high, high_at) = ([_seen(rows, x) for x in side] for side in sides)
        shape = (len(rows), entries, planes, *rows.patch)
        weight = torch.where(positive.unsqueeze(1), low.reshape(shape), high.reshape(shape))
        moved = rows.values.unsqueeze(1) * weight
        rest = (rows.values * torch.where(positive, low_at, high_at)).flatten(1)
        index = table.clamp(min=0)  # padding has weight 0
        total = rows.values.new_zeros(len(rows), channels, size)
        for k in range(entries):
            part = moved[:, k].reshape(len(rows), channels, len(table))
            total = total.index_add(2, index[:, k], part)
        return total, rest.sum(dim=1, dtype=torch.float64)


def _seen(rows: Rows, planes: torch.Tensor) -> torch.Tensor:
    """What rows see of planes (B, n, H, W), as numbers of their own precision."""
    planes = planes.to(rows.values.dtype)
    if rows.whole:
        return planes[rows.owner]
    return gather(planes, rows.owner, rows.origin, rows.patch)


def _better(
    within: Windowed,
    mean: tuple[torch.Tensor, torch.Tensor],
    line: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Where a mean above (weights, constant) seems better than a line (slope, constant).

    Little is to lie between it and the maximum at the sample, and it is to be flat.
    """
    (weight, above), (slope, at) = mean, line
    radius = within.radius
    # the line is in the entry that may be the greatest
    highest = within.high.argmax(dim=-1, keepdim=True)
    flat = slope * radius.gather(-1, highest)[..., 0]
    return above + FLATNESS * (weight * radius).sum(dim=-1) < at + FLATNESS * flat
