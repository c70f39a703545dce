"""Relaxations of layers with several operands: sums, concatenations, products."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
#: Tilts that planes of a product are tried with, and the p of :func:`_tilt`. Of 1 to 2, 1.1 to 1.3
#: did best on highway networks, gated linear units, tanh·sigmoid, bilinear layers and LRN together.
TILTS, TOGETHER = (-1.0, -0.5, 0.0, 0.5, 1.0), 1.2


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


class _Operand(NamedTuple):
    """An operand's box, broadcast to the output: middle m, radius r, p − m, and |δ| at most."""

    middle: torch.Tensor
    radius: torch.Tensor
    point: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(cls, box: Box, wide: Wide) -> _Operand:
        return cls(*(wide(x) for x in (box.centre, box.radius, box.point, box.deviation)))


def _plane(
    u: _Operand, v: _Operand, value: torch.Tensor, side: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slopes in δ_u and δ_v and the constant of a plane below (``side`` 1) or above (−1) δ_out.

    A slope g of u gives g(u − m_u) = gδ_u + g(p_u − m_u). It is computed with two roundings, which
    act on |u − m_u| ≤ r_u, and its product with a coefficient with one more, on |δ_u|; the constant
    is of magnitudes that are all in ``size``.
    """
    tilt = _tilt(u, v, side)
    steep = (v.middle + tilt * v.radius, u.middle + side * tilt * u.radius)
    apart = (u.point - u.middle, v.point - v.middle)
    centre, gap = u.middle * v.middle, u.radius * v.radius
    offset = steep[0] * apart[0] + steep[1] * apart[1] + centre - value
    size = centre.abs() + value.abs() + gap
    for slope, one, other in zip(steep, (u, v), (v, u)):
        reach = one.point.abs() + one.middle.abs() + one.radius + one.deviation
        size = size + (slope.abs() + other.middle.abs() + other.radius) * reach
    terms = value[0].numel() + 32
    slack = gap + size * (16 * UNIT) + offset.abs() * gamma(terms)
    return *steep, offset - side * (slack * (1 + 2 * gamma(terms)) + 1e-300)


def _tilt(u: _Operand, v: _Operand, side: float) -> torch.Tensor:
    """The s or t of a plane that is close at the sample and, above all, flat.

    What a row loses at the input grows with g_u r_u and g_v r_v, by less than their sum as they
    are of one perturbation: their p-norm, less the plane's height at the sample, is to be small.
    """

    def cost(tilt: float) -> torch.Tensor:
        first, second = v.middle + tilt * v.radius, u.middle + side * tilt * u.radius
        lost = (first * u.radius).abs() ** TOGETHER + (second * v.radius).abs() ** TOGETHER
        lean = v.radius * (u.point - u.middle) + side * u.radius * (v.point - v.middle)
        return lost ** (1 / TOGETHER) - side * tilt * lean

    costs = torch.stack([cost(tilt) for tilt in TILTS])
    best = costs.nan_to_num(torch.inf).argmin(dim=0)
    return torch.tensor(TILTS, dtype=torch.float64)[best]


class Bilinear(Relaxation):
    """u⊙v over boxes m ± r: planes that McCormick's two on each side are mixed to.

    With a = u − m_u, b = v − m_v and any s, t in [−1, 1]

        ab ≥ s(r_v a + r_u b) − r_u r_v,    ab ≤ t(r_v a − r_u b) + r_u r_v,

    as (r_u ± a)(r_v ± b) ≥ 0 at the ends of s, (r_u ± a)(r_v ∓ b) ≥ 0 at those of t. So uv, which
    is m_u m_v + m_v a + m_u b + ab, lies above a plane of slopes m_v + s r_v and m_u + s r_u, and
    below one of slopes m_v + t r_v and m_u − t r_u. Any s and t will do; see :func:`_tilt`.
    """

    def __init__(
        self, boxes: tuple[Box, ...], value: torch.Tensor, wide: Wide, narrow: Narrow
    ) -> None:
        super().__init__(tuple(value.shape[1:]))
        u, v = operands = [_Operand.of(box, wide) for box in boxes]
        below, above = (_plane(u, v, value, side) for side in (1.0, -1.0))
        zero = torch.zeros_like(value)
        # the constants go with the first operand's lines
        self.lines = [
            tuple(planes(x) for x in lines)
            for lines in (
                (below[0], below[2], above[0], above[2]),
                (below[1], zero, above[1], zero),
            )
        ]
        self.parts = [_Narrowed(k, box, self.shape, narrow) for k, box in enumerate(boxes)]
        first, second = (Loss.of(box.reach, o.deviation).dust for box, o in zip(boxes, operands))
        self.dust = first + second
        self.radius = tuple(box.radius for box in boxes)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        rest, found = -self.dust[rows.owner], []
        for lines, part in zip(self.lines, self.parts):
            through, gained = pulled(rows, lines)
            out, loss = part(through)
            found.append(out)
            rest = down(down(rest, gained), loss)
        return tuple(found), rest

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return tuple(~(radius <= 0) for radius in self.radius)
