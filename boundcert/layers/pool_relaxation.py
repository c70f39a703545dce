"""Max-pooling relaxed window by window: one entry below, one line in one entry above."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from boundcert.layers.base import UNIT
from boundcert.layers.lines import pulled, shifted
from boundcert.layers.relaxation import Box, Loss, Relaxation
from boundcert.layers.rows import Rows, planes
from boundcert.layers.spectral import gamma
from boundcert.layers.windows import Windows


class WindowMaximum(Relaxation):
    """max_j z_j over windows of boxes [l_j, u_j].

    Below: z_j itself, j the entry with the greatest l_j. Above, with i the entry with the greatest
    u_i and U ≥ u_j for all the others: max_j z_j ≤ max(z_i, U), a convex function of z_i, so at
    most its chord over [l_i, u_i]: U' + (u_i − U')/(u_i − l_i)·(z_i − l_i), U' = max(U, l_i).
    Where l_i ≥ U that is z_i. Never above the constant u_i that is usual, and never above the
    window maximum of the boxes.

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

        def entries(x: torch.Tensor, fill: float) -> torch.Tensor:
            flat = F.pad(x.reshape(len(x), -1, self.size), (0, 1), value=fill)
            return flat[:, :, table]

        low, high = entries(box.low, -torch.inf), entries(box.high, -torch.inf)
        # an entry without a bound still comes before padding
        real = (table >= 0).expand(low.shape)
        self.least = _rank(low, real).argmax(dim=-1)
        self.most = _rank(high, real).argmax(dim=-1)
        places = table.expand(*low.shape[:2], *table.shape)
        self.windows = windows
        self.place_low = places.gather(-1, self.least[..., None])[..., 0]
        self.place_high = places.gather(-1, self.most[..., None])[..., 0]
        top = high.gather(-1, self.most[..., None])[..., 0]
        bottom = low.gather(-1, self.most[..., None])[..., 0]
        others = high.scatter(-1, self.most[..., None], -torch.inf).amax(dim=-1)
        level = torch.maximum(others, bottom)
        slope = torch.where(top > bottom, (top - level) / (top - bottom), 1.0)
        slope = slope.clamp(0.0, 1.0).nan_to_num(0.0)
        # for any slope in [0, 1]: the greater of the chord's errors at both ends
        at = torch.maximum(level - slope * bottom, top - slope * top)
        at = at + (level.abs() + bottom.abs() + top.abs()) * (8 * UNIT)
        at = torch.where(bottom >= others, 0.0, at)
        slope = torch.where(bottom >= others, 1.0, slope)
        points, deviations = entries(box.point, 0.0), entries(box.deviation, 0.0)
        result = value.reshape(level.shape)
        parts = []
        for index, steep, constant, outward in (
            (self.least, torch.ones_like(slope), torch.zeros_like(at), -1.0),
            (self.most, slope, at, 1.0),
        ):
            point = points.gather(-1, index[..., None])[..., 0]
            deviation = deviations.gather(-1, index[..., None])[..., 0]
            known = constant.nan_to_num(torch.inf) if outward > 0 else constant
            moved = shifted(steep, known, point, result, deviation, outward)
            parts += [steep, moved.nan_to_num(outward * torch.inf)]
        self.arguments = tuple(planes(part.reshape(value.shape)) for part in parts)
        copies = int(torch.bincount(table[table >= 0]).max())
        self.loss = Loss.of(box.reach * gamma(copies + 8), box.deviation)
        exact = (self.place_low == self.place_high) & (bottom >= others)
        self.tied = _spread(~exact, table, self.size).reshape(len(value), *self.shape_in)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if not rows.whole:
            return self._below_patches(rows)
        whole = rows.spread((rows.values.shape[1], *self.arguments[0].shape[2:]))
        out, rest = pulled(whole, self.arguments)
        channels = self.place_low.shape[1]
        values = out.values.reshape(len(rows), channels, -1)
        signs = whole.values.reshape(values.shape)
        index = torch.where(signs > 0, self.place_low[rows.owner], self.place_high[rows.owner])
        total = values.new_zeros(len(rows), channels, self.size).scatter_add(2, index, values)
        found = Rows.of(total, rows.owner, self.shape_in, out.mass)
        return (found,), rest + self.loss.rest(found)

    def _below_patches(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """:meth:`below` on patches: a window's entries keep their places in its patch."""
        w = self.windows
        out, rest = pulled(rows, self.arguments)
        taps = (rows.patches(tap.unflatten(2, w.out)) for tap in (self.least, self.most))
        tap = torch.where(rows.values > 0, *taps)
        high, wide = rows.patch
        (down, across), (tall, broad) = w.stride, w.extent
        size = ((high - 1) * down + tall, (wide - 1) * across + broad)
        row = torch.arange(high)[:, None] * down + tap // w.kernel[1] * w.dilation[0]
        column = torch.arange(wide) * across + tap % w.kernel[1] * w.dilation[1]
        index = (row * size[1] + column).flatten(2)
        values = out.values.flatten(2)
        total = values.new_zeros(*values.shape[:2], size[0] * size[1]).scatter_add(2, index, values)
        first = rows.origin * torch.tensor(w.stride) - torch.tensor(w.before)
        patch = total.reshape(*values.shape[:2], *size)
        found = Rows(patch, out.mass, rows.owner, first, False)
        return (found,), rest + self.loss.rest(found)

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return (self.tied,)


def _rank(ends: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Ends to choose by: padding last, and before it entries whose end is −∞ or nan."""
    known = ends.nan_to_num(nan=-1e308, neginf=-1e308).clamp(min=-1e308)
    return torch.where(real, known, -torch.inf)


def _spread(windows: torch.Tensor, table: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, size) the entries of marked windows (B, C, windows)."""
    marks = torch.zeros(*windows.shape[:2], size + 1, dtype=torch.bool)
    index = torch.where(table >= 0, table, size).reshape(-1)
    marked = windows[..., None].expand(*windows.shape, table.shape[1]).flatten(2)
    counts = marks.to(torch.int32).index_add(2, index, marked.to(torch.int32))
    return counts[..., :size] > 0
