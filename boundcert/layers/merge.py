"""Layers with several computed operands: Add, Sub, Sum, Concat, Mul, Div, Max, Min.

Operands broadcast against each other as in NumPy. Repeating an operand ``c`` times multiplies
its p-norm by c^{1/p}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.layers.activation import elementwise
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
    align,
    axis_of,
    elementary_rounding,
    norms_of,
    numel,
)
from boundcert.layers.merge_relaxation import Bilinear, Joined, Sum
from boundcert.layers.relaxation import NUDGE, Box, Relaxation
from boundcert.layers.structure import Reshape
from boundcert.norms import Norm

_UP = 1 + 1e-14


def _shapes(spec: NodeSpec) -> tuple[tuple[int, ...], ...]:
    shapes = tuple(s for s in spec.operands if isinstance(s, tuple))
    if len(shapes) != len([s for s in spec.operands if s is not None]):
        raise Unsupported("mixes several computed operands with a constant; split it in two nodes")
    return shapes


def root(count: float, norm: Norm) -> float:
    """count^{1/p}, rounded up."""
    return 1.0 if norm is Norm.LINF else count if norm is Norm.L1 else count**0.5 * _UP


@dataclass(frozen=True)
class _Merge(Layer):
    in_shapes: tuple[tuple[int, ...], ...]
    out_shape: tuple[int, ...]
    op: str

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        return cls(in_shapes=_shapes(spec), out_shape=spec.shape, op=spec.op)

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
class Add(_Merge):
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
        return Deviation(torch.stack(sizes).sum(dim=0) * _UP)

    def rounding(self, site: Site) -> torch.Tensor:
        sizes = [
            self.wide_size(k, site.norm.of_rows(x), site.norm) for k, x in enumerate(site.inputs)
        ]
        return torch.stack(sizes).sum(dim=0) * (len(sizes) * 2 * UNIT)

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        pulled, rest = [], cotangent.new_zeros(cotangent.shape[:2])
        for k, move in enumerate(moves):
            sign = -1.0 if self.op == "Sub" and k else 1.0
            pulled.append(self.narrow(k, cotangent) * sign)
            rest = rest + self.narrow_error(k, site, cotangent, move)
        return tuple(pulled), rest


@dataclass(frozen=True)
class Extremum(_Merge):
    """Entrywise max or min of operands: |Δ| ≤ max_k|q_k| entry by entry, so (Σφ_k^p)^{1/p}."""

    ops: ClassVar[tuple[str, ...]] = ("Max", "Min")

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        pick = torch.maximum if self.op == "Max" else torch.minimum
        total = self.wide(x[0])
        for item in x[1:]:
            total = pick(total, self.wide(item))
        return total

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        sizes = [self.wide_size(k, m.size, site.norm) for k, m in enumerate(moves)]
        return Deviation(_join(torch.stack(sizes, dim=1), site.norm))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])

    def parts(self, emit: Emit, *operands: int) -> int:
        """One operand after the other; one that came before changes nothing."""
        first, *rest = dict.fromkeys(operands)
        if not rest:
            return emit(Reshape(emit.shape(first), self.out_shape), self.out_shape, first)
        join = maximum if self.op == "Max" else _minimum
        for other in rest:
            first = join(emit, first, other)
        return first


def _gap(emit: Emit, first: int, second: int) -> tuple[int, tuple[int, ...]]:
    """relu(a − b) over the common shape of a and b."""
    shapes = emit.shape(first), emit.shape(second)
    shape = tuple(torch.broadcast_shapes(*shapes))
    gap = emit(Add(shapes, shape, "Sub"), shape, first, second)
    return emit(elementwise("Relu", shape), shape, gap), shape


def maximum(emit: Emit, first: int, second: int) -> int:
    """max(a, b) = b + relu(a − b)."""
    above, shape = _gap(emit, first, second)
    return emit(Add((emit.shape(second), shape), shape, "Add"), shape, second, above)


def _minimum(emit: Emit, first: int, second: int) -> int:
    """min(a, b) = a − relu(a − b)."""
    above, shape = _gap(emit, first, second)
    return emit(Add((emit.shape(first), shape), shape, "Sub"), shape, first, above)


def _join(sizes: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Norm of a concatenation from the norms (B, k) of its parts."""
    return norm.of_rows(sizes) * _UP


@dataclass(frozen=True)
class Concat(Layer):
    """Concatenation: (Σφ_k^p)^{1/p}, exact."""

    ops: ClassVar[tuple[str, ...]] = ("Concat",)
    axis: int
    sizes: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shapes = _shapes(spec)
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
        return Deviation(_join(torch.stack([m.size for m in moves], dim=1), site.norm))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        rest = cotangent.new_zeros(cotangent.shape[:2])
        return tuple(cotangent.split(self.sizes, dim=self.axis + 1)), rest


@dataclass(frozen=True)
class Product(_Merge):
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
        shapes = _shapes(spec)
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
        return Deviation((first + second + cross) * _UP)

    def rounding(self, site: Site) -> torch.Tensor:
        return site.norm.of_rows(site.output) * (4 * UNIT)

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
        return (self.narrow(0, left), self.narrow(1, right)), rest * _UP + error


@dataclass(frozen=True)
class Quotient(_Merge):
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
        return Deviation((steep * du + other * dv) * _UP)

    def rounding(self, site: Site) -> torch.Tensor:
        return elementary_rounding(site, 4.0)

    def parts(self, emit: Emit, *operands: int) -> int:
        """u·(1/v)."""
        below = self.in_shapes[1]
        inverse = emit(elementwise("Reciprocal", below), below, operands[1])
        product = Product(self.in_shapes, self.out_shape, "Mul")
        return emit(product, self.out_shape, operands[0], inverse)
