"""Relaxations of layers with several operands: sums, concatenations, products."""

from __future__ import annotations

from collections.abc import Callable

import torch

from boundcert.layers.base import UNIT
from boundcert.layers.lines import pulled
from boundcert.layers.relaxation import Box, Loss, Relaxation, down, largest
from boundcert.layers.rows import Rows, planes
from boundcert.layers.spectral import gamma

#: Sums rows over the copies that broadcasting operand k made: (k, (R, *out)) → (R, *in).
Narrow = Callable[[int, torch.Tensor], torch.Tensor]
#: Broadcasts an operand to the output: (B, *in) → (B, *out).
Wide = Callable[[torch.Tensor], torch.Tensor]


class _Narrowed:
    """Rows of a broadcast operand from rows of the output: γ per copy, which acts on |δ|."""

    def __init__(self, k: int, box: Box, out: tuple[int, ...], narrow: Narrow) -> None:
        self.k, self.narrow = k, narrow
        self.shape, self.out = tuple(box.low.shape[1:]), out
        copies = torch.Size(out).numel() // max(box.low[0].numel(), 1)
        self.loss = Loss.of(box.reach * gamma(copies + 8), box.deviation)

    def __call__(self, rows: Rows) -> tuple[Rows, torch.Tensor]:
        if self.shape == self.out:
            return rows, torch.zeros_like(rows.mass)
        summed = self.narrow(self.k, rows.flat(self.out))
        return Rows.of(summed, rows.owner, self.shape, rows.mass), self.loss.rest(rows)


class Sum(Relaxation):
    """Σ ±z_k: exact, but for the rounding of the value and of summing over broadcast copies."""

    def __init__(
        self, boxes: tuple[Box, ...], value: torch.Tensor, wide: Wide, narrow: Narrow, minus: bool
    ) -> None:
        super().__init__(tuple(value.shape[1:]))
        self.parts = [_Narrowed(k, box, self.shape, narrow) for k, box in enumerate(boxes)]
        self.minus = minus
        size = torch.stack([largest(box.point.abs()) for box in boxes]).sum(dim=0)
        zero = torch.zeros_like(value[:, :0])
        self.loss = Loss.of(size * (len(boxes) * 2 * UNIT), zero)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        found, rest = [], self.loss.rest(rows)
        for k, part in enumerate(self.parts):
            out, loss = part(-rows if self.minus and k else rows)
            found.append(out)
            rest = rest + loss * (1 + 8 * UNIT)
        return tuple(found), rest * (1 + 8 * UNIT)

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return (None,) * len(self.parts)


class Joined(Relaxation):
    """A concatenation: exact."""

    def __init__(
        self, shapes: tuple[tuple[int, ...], ...], out: tuple[int, ...], axis: int
    ) -> None:
        super().__init__(out)
        self.shapes, self.axis = shapes, axis

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        sizes = [shape[self.axis - 1] for shape in self.shapes]
        rest = torch.zeros_like(rows.mass)
        if len(self.shape) == 4 and self.shape[0] == 1 and self.axis == 2:
            parts = rows.values.split(sizes, dim=1)
            return tuple(rows.with_values(p.contiguous(), rows.mass) for p in parts), rest
        split = rows.flat(self.shape).split(sizes, dim=self.axis)
        pairs = zip(split, self.shapes)
        return tuple(Rows.of(p.contiguous(), rows.owner, s, rows.mass) for p, s in pairs), rest

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return (None,) * len(self.shapes)


class Bilinear(Relaxation):
    """u⊙v over boxes m ± r: |uv − (m_v u + m_u v − m_u m_v)| ≤ r_u r_v.

    uv = m_u m_v + m_v(u − m_u) + m_u(v − m_v) + (u − m_u)(v − m_v); this is the mean of
    McCormick's two planes on each side. In deviations from the computed p_u, p_v and value:
    m_v δ_u + m_u δ_v + (m_v p_u + m_u p_v − m_u m_v − value).
    """

    def __init__(
        self, boxes: tuple[Box, ...], value: torch.Tensor, wide: Wide, narrow: Narrow
    ) -> None:
        super().__init__(tuple(value.shape[1:]))
        (a, b), (p, q) = ([wide(box.centre) for box in boxes], [wide(box.point) for box in boxes])
        deviation = [wide(box.deviation) for box in boxes]
        self.slopes = (b, a)
        offset = b * p + a * q - a * b - value
        size = (b * p).abs() + (a * q).abs() + (a * b).abs() + value.abs()
        terms = offset[0].numel() + 32
        rounding = size * (8 * UNIT) + offset.abs() * gamma(terms)
        rounding = rounding + (b.abs() * deviation[0] + a.abs() * deviation[1]) * (2 * UNIT)
        gap = wide(boxes[0].radius) * wide(boxes[1].radius) * (1 + 8 * UNIT)
        half = (gap + rounding) * (1 + 2 * gamma(terms)) + 1e-300
        one = torch.ones_like(offset)
        # as lines of slope one, so that the sign of a coefficient picks the plane
        self.arguments = tuple(planes(t) for t in (one, offset - half, one, offset + half))
        self.parts = [_Narrowed(k, box, self.shape, narrow) for k, box in enumerate(boxes)]
        first, second = (Loss.of(box.reach, d).dust for box, d in zip(boxes, deviation))
        self.dust = first + second
        self.radius = tuple(box.radius for box in boxes)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        rows, rest = pulled(rows, self.arguments)
        rest, found = rest - self.dust[rows.owner], []
        for slope, part in zip(self.slopes, self.parts):
            out, loss = part(rows.scaled(slope))
            found.append(out)
            rest = down(rest, loss)
        return tuple(found), rest

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return tuple(~(radius <= 0) for radius in self.radius)
