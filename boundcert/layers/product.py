"""Products and quotients of computed operands: Mul, Div."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.layers.activation import elementwise
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import (
    UNDERFLOW,
    UNIT,
    Deviation,
    Emit,
    Ends,
    Layer,
    NodeSpec,
    Site,
    Unsupported,
    elementary_rounding,
    norms_of,
    numel,
)
from boundcert.layers.merge import UP, Merge, operand_shapes
from boundcert.layers.merge_relaxation import Bilinear
from boundcert.layers.relaxation import NUDGE, Box, Relaxation
from boundcert.layers.runtime_bounds import least, quotient_error, settled
from boundcert.norms import Norm


@dataclass(frozen=True)
class Product(Merge):
    """Gates u⊙v: ‖δ(u⊙v)‖ ≤ N(v)·φ_u + N(u)·φ_v + φ_uφ_v (theory §2).

    δ(u⊙v) = δu⊙v + u⊙δv + δu⊙δv. Where u is broadcast, each of its entries multiplies a
    group of v: ‖δu⊙v‖_p ≤ max_group‖v_group‖_p·‖δu‖_p = N(v)·φ_u, which without broadcasting is
    ‖v‖_∞·φ_u. The last term: ‖δu⊙δv‖_p ≤ ‖δu‖_∞‖δv‖_p, or the other way about where both
    are broadcast (then with the broadcast norms).
    """

    ops: ClassVar[tuple[str, ...]] = ("Mul",)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        total = self.wide(x[0])
        for item in x[1:]:
            total = total * self.wide(item)
        return total

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shapes = operand_shapes(spec)
        if len(shapes) != 2:
            raise Unsupported("takes two operands")
        return cls(in_shapes=shapes, out_shape=spec.shape, op=spec.op)

    def interval(self, *boxes: Box) -> Ends:
        """The extreme products of the ends, rounded outward."""
        (a, b), (c, d) = ((self.wide(box.low), self.wide(box.high)) for box in boxes)
        ends = torch.stack((a * c, a * d, b * c, b * d))
        low, high = ends.amin(dim=0), ends.amax(dim=0)
        return low - low.abs() * NUDGE - UNDERFLOW, high + high.abs() * NUDGE + UNDERFLOW

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        return Bilinear(boxes, value, self.wide, self.narrow)

    def parts(self, emit: Emit, *operands: int) -> int:
        """A square where both operands are one."""
        if len(set(operands)) > 1:
            return super().parts(emit, *operands)
        return emit(elementwise("Pow", self.out_shape, 2.0), self.out_shape, operands[0])

    def grouped(self, k: int, other: torch.Tensor, norm: Norm) -> torch.Tensor:
        """(B,) largest p-norm of the entries of ``other`` that one of operand k's multiplies."""
        whole = self.wide(other).abs()
        if norm is Norm.LINF or numel(self.in_shapes[k]) == numel(self.out_shape):
            return whole.reshape(whole.shape[0], -1).amax(dim=1)
        power = whole if norm is Norm.L1 else whole * whole
        sums = self.narrow(k, power).reshape(whole.shape[0], -1).amax(dim=1)
        up = 1 + numel(self.out_shape) * 4 * UNIT
        return (sums if norm is Norm.L1 else sums.sqrt()) * up + 1e-150

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        u, v = site.inputs
        du, dv = moves[0].size, moves[1].size
        first = self.grouped(0, v, site.norm) * du
        second = self.grouped(1, u, site.norm) * dv
        cross = torch.minimum(
            du * self.wide_size(1, dv, site.norm), self.wide_size(0, du, site.norm) * dv
        )
        return Deviation((first + second + cross) * UP)

    def rounding(self, site: Site) -> torch.Tensor:
        return site.norm.of_rows(site.output) * (4 * UNIT)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """γ_F of |u||v|, a scaling fused into it included; tiny of u, of v and of the product."""
        u, v = (self.wide(box.magnitude) for box in boxes)
        lost = 4 * arithmetic.tiny * (1 + u + v)
        return settled(arithmetic, arithmetic.gamma(arithmetic.fused) * u * v + lost, u * v, u, v)

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """|c·(δu⊙δv)| ≤ ‖c‖_∞·‖δu⊙δv‖_1 ≤ ‖c‖_∞·‖δu‖_1‖δv‖_∞, and ‖δu‖_2‖δv‖_2 for p = 2."""
        u, v = site.inputs
        left, right = cotangent * self.wide(v), cotangent * self.wide(u)
        top = cotangent.abs().flatten(2).amax(dim=2)
        du = self.wide_size(0, moves[0].size, site.norm)
        dv = self.wide_size(1, moves[1].size, site.norm)
        rest = top * du * dv * (numel(self.out_shape) if site.norm is Norm.LINF else 1.0)
        dual = site.norm.dual
        error = (norms_of(dual, left) * du + norms_of(dual, right) * dv) * (2 * UNIT)
        error = error + self.narrow_error(0, site, left, moves[0])
        error = error + self.narrow_error(1, site, right, moves[1])
        return (self.narrow(0, left), self.narrow(1, right)), rest * UP + error


@dataclass(frozen=True)
class Quotient(Merge):
    """u / v where |v| stays away from 0 over the reach; no bound otherwise.

    (u+δu)/(v+δv) − u/v = δu/(v+δv) − u·δv/(v(v+δv)), and |v+δv| ≥ |v| − reach =: d > 0, so
    ‖·‖ ≤ max(1/d)·φ_u + max(|u|/(|v|d))·φ_v over the broadcast operands.
    """

    ops: ClassVar[tuple[str, ...]] = ("Div",)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.wide(x[0]) / self.wide(x[1])

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        u, v = self.wide(site.inputs[0]).abs(), self.wide(site.inputs[1]).abs()
        reach = moves[1].size.reshape(-1, *([1] * (v.dim() - 1)))
        rows = (v.shape[0], -1)
        d = (v * (1 - 1e-15) - reach * (1 + 1e-15)).reshape(rows)
        steep = torch.where(d > 0, 1 / d, torch.inf).amax(dim=1)
        other = torch.where(d > 0, (u / v).reshape(rows) / d, torch.inf).amax(dim=1)
        du = self.wide_size(0, moves[0].size, site.norm)
        dv = self.wide_size(1, moves[1].size, site.norm)
        return Deviation((steep * du + other * dv) * UP)

    def rounding(self, site: Site) -> torch.Tensor:
        return elementary_rounding(site, 4.0)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        above, below = self.wide(boxes[0].magnitude), self.wide(least(boxes[1]))
        error = quotient_error(arithmetic, above, below)
        return settled(arithmetic, error, above, self.wide(boxes[1].magnitude))

    def parts(self, emit: Emit, *operands: int) -> int:
        """u·(1/v)."""
        below = self.in_shapes[1]
        inverse = emit(elementwise("Reciprocal", below), below, operands[1])
        product = Product(self.in_shapes, self.out_shape, "Mul")
        return emit(product, self.out_shape, operands[0], inverse)
