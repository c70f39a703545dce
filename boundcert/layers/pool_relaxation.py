"""Max-pooling relaxed window by window: one entry below, one line in one entry above."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import backend
from boundcert.layers.base import UNIT, numel
from boundcert.layers.lines import pulled, shifted
from boundcert.layers.relaxation import NUDGE, Box, Loss, Relaxation
from boundcert.layers.rows import Rows, array, plane_of, planes, up
from boundcert.layers.spectral import gamma
from boundcert.layers.windows import Windows


class WindowMaximum(Relaxation):
    """max_j z_j over windows of boxes [l_j, u_j].

    Below: z_j itself, j the entry with the greatest l_j. Above, with i the entry with the greatest
    u_i and U ≥ u_j for all the others: max_j z_j ≤ max(z_i, U), a convex function of z_i, so at
    most its chord over [l_i, u_i]: U' + (u_i − U')/(u_i − l_i)·(z_i − l_i), U' = max(U, l_i).
    Where l_i ≥ U that is z_i. Never above the constant u_i that is usual, and never above the
    window maximum of the boxes. Where the operand's 2-norm is bounded, too, windows may take the
    dual bound of the kernel ``pull_maximum`` instead.

    Parameters
    ----------
    windows : over the planes of the operand.
    table : (windows, entries) flat indices on a plane, −1 for padding.
    """

    def __init__(
        self, box: Box, value: torch.Tensor, windows: Windows, table: torch.Tensor
    ) -> None:
        super().__init__(tuple(value.shape[1:]))
        self.shape_in = tuple(box.low.shape[1:])
        count = len(table)
        self.size = box.low[0].numel() // (value[0].numel() // count)
        self.box, self.value, self.windows, self.table = box, value, windows, table
        self.square: np.ndarray | None = None
        if box.spread is not None:
            # an entry counts as often as it sits in windows
            square = box.spread * box.spread * (windows.multiplicity() * (1 + 8 * UNIT)) + 1e-290
            self.square = array(torch.where(square.isfinite(), square, torch.inf))
        low, high = self._entries(box.low, -torch.inf), self._entries(box.high, -torch.inf)
        # an entry without a bound still comes before padding
        real = (table >= 0).expand(low.shape)
        least, most = (_rank(ends, real).argmax(dim=-1) for ends in (low, high))
        top = high.gather(-1, most[..., None])[..., 0]
        bottom = low.gather(-1, most[..., None])[..., 0]
        others = high.scatter(-1, most[..., None], -torch.inf).amax(dim=-1)
        level = torch.maximum(others, bottom)
        slope = torch.where(top > bottom, (top - level) / (top - bottom), 1.0)
        slope = slope.clamp(0.0, 1.0).nan_to_num(0.0)
        # for any slope in [0, 1]: the greater of the chord's errors at both ends
        at = torch.maximum(level - slope * bottom, top - slope * top)
        at = at + (level.abs() + bottom.abs() + top.abs()) * (8 * UNIT)
        at = torch.where(bottom >= others, 0.0, at)
        slope = torch.where(bottom >= others, 1.0, slope)
        below = self._moved(least, torch.ones_like(slope), torch.zeros_like(at), -1.0)
        self.arguments = (*below, *self._moved(most, slope, at, 1.0))
        copies = int(torch.bincount(table[table >= 0]).max())
        self.loss = Loss.of(box.reach * gamma(copies + 8), box.deviation)
        self.least, self.most = (tap.reshape(value.shape) for tap in (least, most))
        exact = (least == most) & (bottom >= others)
        # an entry that never exceeds another's lower end is neither line's, whatever its bounds
        beaten = high <= low.amax(dim=-1, keepdim=True)
        self.tied = self._marked(~exact[..., None] & ~beaten)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if self.square is None:
            return self.by_lines(rows)
        taps, windows = self._ball
        arrays = (array(rows.values), *rows.place(), taps, self._lines, windows, self.square)
        tap, out, rest, mass = (torch.from_numpy(x) for x in backend().pull_maximum(*arrays))
        return self._scattered(tap, rows.with_values(out, up(mass)), rest)

    def by_lines(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        out, rest = pulled(rows, self.arguments)
        return self._scattered(self._taps(rows), out, rest)

    def _taps(self, rows: Rows) -> torch.Tensor:
        """Which entry of its window the line of each coefficient is in."""
        least, most = (rows.patches(tap) for tap in (self.least, self.most))
        return torch.where(rows.values > 0, least, most)

    def _moved(
        self, tap: torch.Tensor, slope: torch.Tensor, constant: torch.Tensor, outward: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """A line in one entry of each window, (B, C, windows), in deviations, as planes."""
        box, value = self.box, self.value
        point, deviation = (
            self._entries(x, 0.0).gather(-1, tap[..., None])[..., 0]
            for x in (box.point, box.deviation)
        )
        known = constant.nan_to_num(torch.inf) if outward > 0 else constant
        moved = shifted(slope, known, point, value.reshape(tap.shape), deviation, outward)
        parts = (slope, moved.nan_to_num(outward * torch.inf))
        first, second = (planes(part.reshape(value.shape)) for part in parts)
        return first, second

    def _scattered(
        self, tap: torch.Tensor, out: Rows, rest: torch.Tensor
    ) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """Coefficients at the entries that taps say, added up where windows overlap."""
        found = self._placed(tap, out)
        return (found,), rest + self.loss.rest(found)

    def _placed(self, tap: torch.Tensor, out: Rows) -> Rows:
        w = self.windows
        if out.whole:
            channels = numel(self.shape_in) // self.size
            tap = tap.reshape(len(out), channels, -1)
            index = self.table[torch.arange(len(self.table)), tap]
            values = out.values.reshape(tap.shape)
            total = values.new_zeros(len(out), channels, self.size).scatter_add(2, index, values)
            return Rows.of(total, out.owner, self.shape_in, out.mass)
        # on a patch the entries of a window keep their places, wherever the patch starts
        (high, wide), (down, across), (tall, broad) = out.patch, w.stride, w.extent
        size = ((high - 1) * down + tall, (wide - 1) * across + broad)
        row = torch.arange(high)[:, None] * down + tap // w.kernel[1] * w.dilation[0]
        column = torch.arange(wide) * across + tap % w.kernel[1] * w.dilation[1]
        index, values = (row * size[1] + column).flatten(2), out.values.flatten(2)
        total = values.new_zeros(*values.shape[:2], size[0] * size[1]).scatter_add(2, index, values)
        first = out.origin * torch.tensor(w.stride) - torch.tensor(w.before)
        return Rows(total.unflatten(2, size), out.mass, out.owner, first, False)

    @cached_property
    def _lines(self) -> np.ndarray:
        """Constant below, slope and constant above, as the kernel ``pull_maximum`` takes them."""
        return np.stack(self.arguments[1:], axis=1)

    @cached_property
    def _ball(self) -> tuple[np.ndarray, np.ndarray]:
        """Taps and windows as the kernel ``pull_maximum`` takes them."""
        point, value = self._entries(self.box.point, -torch.inf), self.value
        peak = _rank(point, (self.table >= 0).expand(point.shape)).argmax(dim=-1)
        gap = value.reshape(*peak.shape, 1) - point
        apart = [self._entries(end - self.box.point, 0.0) for end in (self.box.low, self.box.high)]
        ends = [end + sign * end.abs() * NUDGE for end, sign in zip(apart, (-1, 1))]
        plane = plane_of(self.shape)
        taps = [tap.reshape(len(value), *plane) for tap in (self.least, self.most, peak)]
        windows = torch.stack((gap, *ends), dim=-1).reshape(len(value), *plane, -1, 3)
        return array(torch.stack(taps, dim=1)), array(windows)

    def _entries(self, x: torch.Tensor, fill: float) -> torch.Tensor:
        """(B, C, windows, K) the entries of every window."""
        flat = F.pad(x.reshape(len(x), -1, self.size), (0, 1), value=fill)
        return flat[:, :, self.table]

    def _marked(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, *shape in) the entries that are marked in some window, (B, C, windows, K)."""
        marks = torch.zeros(*windows.shape[:2], self.size + 1, dtype=torch.int32)
        index = torch.where(self.table >= 0, self.table, self.size).reshape(-1)
        counts = marks.index_add(2, index, windows.flatten(2).to(torch.int32))
        return (counts[..., : self.size] > 0).reshape(len(windows), *self.shape_in)

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return (self.tied,)

    def telling(self) -> tuple[torch.Tensor | None, ...]:
        """Of the greatest entry at the sample the lower end, of the others the upper."""
        point = self._entries(self.box.point, -torch.inf)
        real = (self.table >= 0).expand(point.shape)
        peak = F.one_hot(_rank(point, real).argmax(dim=-1), point.shape[-1]) > 0
        return (self._marked(peak).int() - self._marked(~peak).int(),)


def _rank(ends: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Ends to choose by: padding last, and before it entries whose end is −∞ or nan."""
    known = ends.nan_to_num(nan=-1e308, neginf=-1e308).clamp(min=-1e308)
    return torch.where(real, known, -torch.inf)
