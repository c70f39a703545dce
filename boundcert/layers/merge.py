"""Layers with several computed operands, and the linear ones: Add, Sub, Sum, Concat.

Operands broadcast against each other as in NumPy. Repeating an operand ``c`` times multiplies
its p-norm by c^{1/p}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import (
    UNDERFLOW,
    UNIT,
    Deviation,
    Ends,
    Layer,
    NodeSpec,
    Site,
    Unsupported,
    align,
    axis_of,
    norms_of,
    numel,
)
from boundcert.layers.merge_relaxation import Joined, Sum
from boundcert.layers.relaxation import Box, Relaxation
from boundcert.layers.runtime_bounds import settled
from boundcert.norms import Norm

#: Rounds a sum or product of a few bounds up.
UP = 1 + 1e-14


def operand_shapes(spec: NodeSpec) -> tuple[tuple[int, ...], ...]:
    """Those of the operands, all of which are computed."""
    shapes = tuple(s for s in spec.operands if isinstance(s, tuple))
    if len(shapes) != len([s for s in spec.operands if s is not None]):
        raise Unsupported("mixes several computed operands with a constant; split it in two nodes")
    return shapes


def root(count: float, norm: Norm) -> float:
    """count^{1/p}, rounded up."""
    return 1.0 if norm is Norm.LINF else count if norm is Norm.L1 else count**0.5 * UP


@dataclass(frozen=True)
class Merge(Layer):
    """A layer whose operands are broadcast to its output."""

    in_shapes: tuple[tuple[int, ...], ...]
    out_shape: tuple[int, ...]
    op: str

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        return cls(in_shapes=operand_shapes(spec), out_shape=spec.shape, op=spec.op)

    def wide(self, x: torch.Tensor) -> torch.Tensor:
        """An operand broadcast to the output."""
        return align(x, len(self.out_shape)).expand(x.shape[0], *self.out_shape)

    def wide_size(self, k: int, size: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Norm bound of operand k once broadcast."""
        return size * root(numel(self.out_shape) // max(numel(self.in_shapes[k]), 1), norm)

    def narrow(self, k: int, y: torch.Tensor) -> torch.Tensor:
        """Adjoint of broadcasting operand k: sum over its copies ((…, *out) → (…, *in))."""
        shape = self.in_shapes[k]
        extra = len(self.out_shape) - len(shape)
        lead = y.dim() - len(self.out_shape)
        y = y.sum(dim=tuple(range(lead, lead + extra))) if extra else y
        axes = [i + lead for i, n in enumerate(shape) if n == 1 and y.shape[i + lead] != 1]
        return y.sum(dim=axes, keepdim=True) if axes else y

    def narrow_error(
        self, k: int, site: Site, cotangent: torch.Tensor, move: Deviation
    ) -> torch.Tensor:
        """Rounding of :meth:`narrow` over the move (K, B), by Hölder; 0 without broadcasting."""
        copies = numel(self.out_shape) // max(numel(self.in_shapes[k]), 1)
        size = norms_of(site.norm.dual, cotangent) * move.size
        return size * (copies * (copies - 1) * 4 * UNIT)


@dataclass(frozen=True)
class Add(Merge):
    """Sums and differences: φ₁ + φ₂ (triangle inequality)."""

    ops: ClassVar[tuple[str, ...]] = ("Add", "Sub", "Sum")

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        total = self.wide(x[0])
        for item in x[1:]:
            total = total - self.wide(item) if self.op == "Sub" else total + self.wide(item)
        return total

    def interval(self, *boxes: Box) -> Ends:
        low, high = (self.wide(end) for end in (boxes[0].low, boxes[0].high))
        for box in boxes[1:]:
            least, most = self.wide(box.low), self.wide(box.high)
            low, high = (
                (low - most, high - least) if self.op == "Sub" else (low + least, high + most)
            )
        size = torch.stack([self.wide(box.magnitude) for box in boxes]).sum(dim=0)
        loss = size * (4 * len(boxes) * UNIT) + UNDERFLOW
        return low - loss, high + loss

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        return Sum(boxes, value, self.wide, self.narrow, self.op == "Sub")

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        sizes = [self.wide_size(k, m.size, site.norm) for k, m in enumerate(moves)]
        return Deviation(torch.stack(sizes).sum(dim=0) * UP)

    def rounding(self, site: Site) -> torch.Tensor:
        sizes = [
            self.wide_size(k, site.norm.of_rows(x), site.norm) for k, x in enumerate(site.inputs)
        ]
        return torch.stack(sizes).sum(dim=0) * (len(sizes) * 2 * UNIT)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """γ_{k+F} of the sum of magnitudes, any order; tiny for each operand and each sum."""
        total = torch.stack([self.wide(box.magnitude) for box in boxes]).sum(dim=0)
        terms = len(boxes) + arithmetic.fused
        lost = 4 * terms * arithmetic.tiny
        return settled(arithmetic, arithmetic.gamma(terms) * total + lost, total)

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        pulled, rest = [], cotangent.new_zeros(cotangent.shape[:2])
        for k, move in enumerate(moves):
            sign = -1.0 if self.op == "Sub" and k else 1.0
            pulled.append(self.narrow(k, cotangent) * sign)
            rest = rest + self.narrow_error(k, site, cotangent, move)
        return tuple(pulled), rest


def joined(sizes: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Norm of a concatenation from the norms (B, k) of its parts."""
    return norm.of_rows(sizes) * UP


@dataclass(frozen=True)
class Concat(Layer):
    """Concatenation: (Σφ_k^p)^{1/p}, exact."""

    ops: ClassVar[tuple[str, ...]] = ("Concat",)
    axis: int
    sizes: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shapes = operand_shapes(spec)
        axis = axis_of(int(spec.attr("axis", 1)), len(spec.shape))
        return cls(axis=axis, sizes=tuple(s[axis - 1] for s in shapes))

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return torch.cat(x, dim=self.axis)

    def interval(self, *boxes: Box) -> Ends:
        low, high = ([getattr(box, end) for box in boxes] for end in ("low", "high"))
        return self.forward(*low), self.forward(*high)

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        shapes = tuple(tuple(box.low.shape[1:]) for box in boxes)
        return Joined(shapes, tuple(value.shape[1:]), self.axis)

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        return Deviation(joined(torch.stack([m.size for m in moves], dim=1), site.norm))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        return None

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        rest = cotangent.new_zeros(cotangent.shape[:2])
        return tuple(cotangent.split(self.sizes, dim=self.axis + 1)), rest
