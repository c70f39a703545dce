"""Highway gates: t⊙h + (1 − t)⊙x as one layer of three operands, of one shape.

Written out as two products it forgets that what one gate lets in the other keeps out. As
x + t⊙(h − x) it is one product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import (
    UNIT,
    Deviation,
    Emit,
    Layer,
    NodeSpec,
    Site,
    Unsupported,
    norms_of,
    numel,
)
from boundcert.layers.merge import UP, Add
from boundcert.layers.product import Product
from boundcert.layers.relaxation import Box
from boundcert.layers.runtime_bounds import settled
from boundcert.norms import Norm


@dataclass(frozen=True)
class Blend(Layer):
    """t⊙h + (1 − t)⊙x of operands t, h, x.

    With y = x + t(h − x), y(t + δt, h + δh, x + δx) − y = δt(h − x) + (t + δt)δh + (1 − t − δt)δx.
    """

    ops: ClassVar[tuple[str, ...]] = ()
    shape: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        raise Unsupported("is written out as two products in ONNX")

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        gate, inner, kept = x
        return gate * inner + (1 - gate) * kept

    def parts(self, emit: Emit, *operands: int) -> int:
        gate, inner, kept = operands
        shapes = (self.shape, self.shape)
        apart = emit(Add(shapes, self.shape, "Sub"), self.shape, inner, kept)
        moved = emit(Product(shapes, self.shape, "Mul"), self.shape, gate, apart)
        return emit(Add(shapes, self.shape, "Add"), self.shape, kept, moved)

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        """‖h − x‖_∞φ_t + (‖t‖_∞ + φ_t)φ_h + (‖1 − t‖_∞ + φ_t)φ_x, as ‖δt‖_∞ ≤ φ_t."""
        gate, inner, kept = (x.flatten(1) for x in site.inputs)
        by_gate, by_inner, by_kept = (move.size for move in moves)
        apart = (inner - kept).abs().amax(dim=1) + inner.abs().amax(dim=1) * UNIT
        first = (apart + kept.abs().amax(dim=1) * UNIT) * by_gate
        second = (gate.abs().amax(dim=1) + by_gate) * by_inner
        shut = (1 - gate).abs().amax(dim=1) + UNIT + by_gate
        return Deviation((first + second + shut * by_kept) * UP)

    def rounding(self, site: Site) -> torch.Tensor:
        """Each of the products off by 3 roundings, their sum by one more."""
        gate, inner, kept = site.inputs
        size = (gate * inner).abs() + ((1 - gate).abs() + UNIT) * kept.abs()
        return site.norm.of_rows(size) * (8 * UNIT) + 1e-290

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """γ of three roundings and what may be fused, of |t||h| + |1 − t||x|; tiny of each product.

        The operands of products, rounded 1 − t among them, may be flushed, too.
        """
        gate, inner, kept = boxes
        shut = torch.maximum((1 - gate.low).abs(), (1 - gate.high).abs()) * (1 + 4 * UNIT)
        total = gate.magnitude * inner.magnitude + shut * kept.magnitude
        sizes = (gate.magnitude + 1, inner.magnitude, kept.magnitude)
        lost = 8 * arithmetic.tiny * (1 + sum(sizes[1:], sizes[0]))
        return settled(
            arithmetic, arithmetic.gamma(arithmetic.fused + 4) * total + lost, *sizes, total
        )

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """|c·(δt⊙(δh − δx))| ≤ ‖c‖_∞‖δt‖_1‖δh − δx‖_∞, and ‖δt‖_2‖δh − δx‖_2 for p = 2."""
        gate, inner, kept = site.inputs
        pulled = (cotangent * (inner - kept), cotangent * gate, cotangent * (1 - gate))
        by_gate, by_inner, by_kept = (move.size for move in moves)
        top = cotangent.abs().flatten(2).amax(dim=2)
        rest = top * by_gate * (by_inner + by_kept)
        rest = rest * (numel(self.shape) if site.norm is Norm.LINF else 1.0)
        # each pulled cotangent has two roundings, of sizes that may have cancelled
        sizes = (cotangent * (inner.abs() + kept.abs()), pulled[1], cotangent * (1 + gate.abs()))
        dual = site.norm.dual
        error = [norms_of(dual, s) * move.size for s, move in zip(sizes, moves)]
        return pulled, rest * UP + (error[0] + error[1] + error[2]) * (4 * UNIT)
