"""Affine layers: one linear map, given once, from which every bound follows.

A subclass says how to apply its linear part with its coefficients transformed entrywise
(``apply``). With |coefficients| that gives row and column sums, hence ‖A‖_∞ and ‖A‖_1 exactly
(borders included), the Schur bound ‖A‖₂ ≤ √(‖A‖_1‖A‖_∞), and the rounding error of evaluation;
with squared coefficients it gives the row 2-norms that bound single outputs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import (
    UNIT,
    Deviation,
    Ends,
    Layer,
    Proportional,
    Reach,
    Remainder,
    Site,
    norms_of,
    numel,
)
from boundcert.layers.relaxation import NOTHING, NUDGE, Box, Loss, Relaxation, largest
from boundcert.layers.rows import Rows
from boundcert.layers.runtime_bounds import Detour, settled
from boundcert.layers.spectral import gamma, spectral_norm_bound
from boundcert.layers.tape import Transposed
from boundcert.norms import Norm

Transform = Callable[[torch.Tensor], torch.Tensor]

#: Largest matrix (shorter side, entries) that is written out to bound its 2-norm.
DENSE_SIDE, DENSE_ENTRIES = 3200, 12_000_000


def unchanged(x: torch.Tensor) -> torch.Tensor:
    """The coefficients themselves."""
    return x


@dataclass(frozen=True)
class Affine(Layer):
    """x ↦ A x + b."""

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @abstractmethod
    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        """The linear part with each coefficient passed through ``coefficients``."""

    @property
    def gain_is_row_bound(self) -> bool:
        """Whether :meth:`modulus` hands on elementwise bounds worth having."""
        return True

    @property
    def moves_only(self) -> bool:
        """Whether entries are only moved about: nothing is added, multiplied or rounded."""
        return False

    def offset(self) -> torch.Tensor | None:
        """The constant b, broadcastable to the output."""
        return None

    def offset_size(self) -> torch.Tensor | None:
        """Bound on the magnitudes added up to make b (b itself unless it was computed)."""
        return self.offset()

    @property
    @abstractmethod
    def fan_in(self) -> int:
        """Most terms that one output sums."""

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        out = self.apply(x[0], unchanged)
        offset = self.offset()
        return out if offset is None else out + offset

    @property
    def work(self) -> float:
        """Multiply-adds of one application, in units of a matrix product's."""
        return float(numel(self.out_shape) * self.fan_in)

    def transpose(self, y: torch.Tensor, coefficients: Transform = unchanged) -> torch.Tensor:
        """Aᵀ y for (B, *out_shape) cotangents."""
        with torch.enable_grad():
            x = y.new_zeros((y.shape[0], *self.in_shape)).requires_grad_()
            out = self.apply(x, coefficients)
            (result,) = torch.autograd.grad(out, x, y)
        return result.detach()

    def sums(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Row and column sums of |A|, flattened."""

        def make() -> tuple[torch.Tensor, torch.Tensor]:
            ones = torch.ones(1, *self.in_shape, dtype=torch.float64)
            host = self.to("cpu", torch.float64)
            rows = host.apply(ones, torch.abs).reshape(-1)
            ones = torch.ones(1, *self.out_shape, dtype=torch.float64)
            columns = host.transpose(ones, torch.abs).reshape(-1)
            up = 1.0 + 2 * gamma(self.fan_in + self.fan_out + 8)
            return rows * up, columns * up

        return self.cached("sums", make)

    @property
    def fan_out(self) -> int:
        """Most outputs that one input takes part in (at most all of them)."""
        return numel(self.out_shape)

    def row_norms(self, norm: Norm) -> torch.Tensor:
        """‖row i‖_q for each output i, q dual to ``norm``: how far one output can move (n,)."""

        def make() -> torch.Tensor:
            host = self.to("cpu", torch.float64)
            ones = torch.ones(1, *self.in_shape, dtype=torch.float64)
            if norm is Norm.LINF:
                return self.sums()[0]
            if norm is Norm.L2:
                square = host.apply(ones, torch.square).reshape(-1)
                return square.sqrt() * (1.0 + 2 * gamma(self.fan_in + 8)) + 1e-150
            return self.largest_entries()

        return self.cached(("rows", norm), make)

    def largest_entries(self) -> torch.Tensor:
        """An upper bound on the largest |coefficient| of each row (n,): here the row 2-norm."""
        return self.row_norms(Norm.L2)

    def gain(self, norm: Norm) -> float:
        """Upper bound on ‖A‖_{p→p}."""

        def make() -> float:
            bound = self.absolute_gain(norm)
            return min(bound, self.spectral()) if norm is Norm.L2 else bound

        return self.cached(("gain", norm), make)

    def absolute_gain(self, norm: Norm) -> float:
        """Upper bound on ‖|A|‖_{p→p}: exact for p = 1, ∞, Schur's for p = 2."""

        def make() -> float:
            rows, columns = (float(s.max()) if s.numel() else 0.0 for s in self.sums())
            schur = math.sqrt(rows) * math.sqrt(columns) * (1.0 + 8 * UNIT)
            return {Norm.LINF: rows, Norm.L1: columns, Norm.L2: schur}[norm]

        return self.cached(("absolute", norm), make)

    def spectral(self) -> float:
        """An upper bound on ‖A‖₂, by writing A out where it is small."""
        n_in, n_out = numel(self.in_shape), numel(self.out_shape)
        if min(n_in, n_out) > DENSE_SIDE or n_in * n_out > DENSE_ENTRIES:
            return math.inf
        host = self.to("cpu", torch.float64)
        if n_in <= n_out:
            basis = torch.eye(n_in, dtype=torch.float64).reshape(n_in, *self.in_shape)
            matrix = host.apply(basis, unchanged).reshape(n_in, n_out)
        else:
            basis = torch.eye(n_out, dtype=torch.float64).reshape(n_out, *self.out_shape)
            matrix = host.transpose(basis).reshape(n_out, n_in)
        # entries may be sums of coefficients (a pooled border): their rounding is γ_fan relative
        return spectral_norm_bound(matrix.numpy()) * (1.0 + gamma(4 * self.fan_in + 8))

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        size = moves[0].size
        unit = self.row_norms(site.norm).to(size.device)
        return Deviation(size * self.gain(site.norm), Reach(unit, size, torch.zeros_like(size)))

    def rounding(self, site: Site) -> torch.Tensor:
        """γ_{n+8}(‖|A|‖_p‖a‖_p + ‖b‖_p), Higham (2002) §3.5, any order of summation."""
        absolute = self.absolute_gain(site.norm)
        size = site.norm.of_rows(site.inputs[0]) * absolute
        offset = self.offset_size()
        if offset is not None:
            whole = offset.abs().expand(1, *self.out_shape)
            size = size + site.norm.of_rows(whole)[0]
        return size * gamma(self.fan_in + 8)

    @property
    def detour(self) -> Detour:
        """What lies between the operand and the result: nothing, unless a kind says so."""
        return Detour()

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """γ_{n+F+2}(|A|·|x| + |b|) + 4F(n + 1)·carry·tiny·(1 + ‖A‖_∞ + ‖x‖_∞), F = ``fused``.

        Higham (2002) §3.5, any order: n products and sums, the bias, and F roundings of the
        coefficients. Below tiny, n coefficients and b lose 2F each on their way, x as much,
        products 1 and sums 3: with the growth 4/3 of all that, 8/3·F·n of ‖x‖, 8/3·F of ‖A‖, and
        5F + 16/3·n + 4 alone, none of it more than 4F(n + 1). A spread s is off by 3 tiny, and
        its root by half of 3·tiny/s ≤ 1/4, relative: less than 3·tiny/s.
        """
        if self.moves_only:
            return None
        way, gain = self.detour, self.absolute_gain(Norm.LINF)
        box = boxes[0].magnitude
        size, total = largest(box) + way.centre, self.apply(box, torch.abs)
        offset = self.offset_size()
        total = total if offset is None else total + offset.abs()
        terms, share = max(self.fan_in, 1), 3 * arithmetic.tiny / way.spread
        rate = arithmetic.gamma(terms + arithmetic.fused + 2) + (
            share if share < 0.25 else math.inf
        )
        lost = 4 * arithmetic.fused * (terms + 1) * way.carry * arithmetic.tiny * (1 + gain + size)
        wide = (-1, *([1] * len(self.out_shape)))
        reached = (total * way.swell, (size * way.swell).reshape(wide), size.new_tensor(gain))
        return settled(arithmetic, rate * total + lost.reshape(wide), *reached)

    def pull_back(
        self, site: Site, cotangent: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], Remainder]:
        flat = self.transpose(cotangent.flatten(0, 1))
        pulled = flat.reshape(*cotangent.shape[:2], *self.in_shape)
        # Aᵀc is rounded: |error|·q ≤ γ·(|A|ᵀ|c|)·|q| ≤ γ·‖c‖_q·‖|A|‖_p·‖q‖_p
        absolute = self.absolute_gain(site.norm)
        error = norms_of(site.norm.dual, cotangent) * absolute * gamma(self.fan_out + 8)
        return (pulled,), Proportional(error)

    def interval(self, *boxes: Box) -> Ends:
        """A·centre + b ± |A|·radius, and γ_{n+8}(|A||centre| + |b|) for rounding."""
        centre, radius = boxes[0].centre, boxes[0].radius
        middle = self.forward(centre)
        spread = self.apply(radius, torch.abs) * (1 + 2 * gamma(self.fan_in + 8))
        loss = self.residual(largest(centre.abs())).reshape(-1, *([1] * len(self.out_shape)))
        spread = spread + loss + middle.abs() * NUDGE
        return middle - spread, middle + spread

    def residual(self, size: torch.Tensor) -> torch.Tensor:
        """(B,) elementwise error of evaluating at an operand of size ‖a‖_∞ = ``size`` (B,)."""
        most = size * self.absolute_gain(Norm.LINF)
        offset = self.offset_size()
        if offset is not None:
            most = most + float(offset.abs().amax())
        return (
            torch.zeros_like(size) if self.moves_only else most * gamma(self.fan_in + 16) + 1e-290
        )

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        return AffineRelaxation(self, boxes[0])

    def pull(self, rows: Rows, mass: torch.Tensor) -> Rows:
        """Aᵀ c for every row, of at most the given mass."""
        flat = rows.flat(self.out_shape)
        pulled = Transposed.apply(flat, self) if flat.requires_grad else self.transpose(flat)
        return Rows.of(pulled, rows.owner, self.in_shape, mass)

    def single(self, index: torch.Tensor, owner: torch.Tensor) -> Rows | None:
        """Copies of the rows ``index`` (R,) of A, where they can be read off exactly."""
        return None


class AffineRelaxation(Relaxation):
    """c·δ_out = (Aᵀc)·δ + c·r, r the error of the computed value.

    The computed Aᵀc is off by at most γ|A|ᵀ|c| entrywise (Higham 2002, §3.5, any order), which
    acts on |δ| ≤ reach: γ·|c|·|A|·1·reach ≤ γ‖c‖_1‖|A|‖_∞·reach. And ‖Aᵀc‖_1 ≤ ‖|A|‖_∞‖c‖_1.
    """

    def __init__(self, layer: Affine, box: Box) -> None:
        super().__init__(layer.out_shape)
        self.layer, self.box = layer, box
        self.gain = layer.absolute_gain(Norm.LINF)

    @cached_property
    def residual(self) -> torch.Tensor:
        """(B,) r of every entry."""
        return self.layer.residual(largest(self.box.point.abs()))

    @cached_property
    def loss(self) -> Loss:
        deviation = self.box.deviation
        rounded = largest(deviation) * (self.gain * gamma(self.layer.fan_out + 8))
        return Loss.of(self.residual + rounded, deviation)

    @cached_property
    def exact(self) -> Loss:
        """Of rows that are read off: their coefficients are stored numbers, or rounded a little."""
        return Loss.of(largest(self.box.deviation) * gamma(8), self.box.deviation)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        layer = self.layer.in_precision(rows.values.dtype)
        pulled = layer.pull(rows, rows.mass * (self.gain * (1 + 1e-9)))
        if self.layer.moves_only or not rows.proves:
            return (pulled,), NOTHING
        return (pulled,), self.loss.rest(rows)

    def single(
        self, index: torch.Tensor, owner: torch.Tensor, sign: torch.Tensor
    ) -> tuple[tuple[Rows, ...], torch.Tensor]:
        rows = self.layer.in_precision(sign.dtype).single(index, owner)
        if rows is None:
            return super().single(index, owner, sign)
        signed = rows.with_values(rows.values.mul_(sign[:, None, None, None]), rows.mass)
        if not signed.proves:
            return (signed,), torch.zeros_like(signed.mass)
        # mass is that of the row of A; the residual belongs to the entry itself, whose weight is 1
        rest = self.exact.rest(signed) - self.residual[owner] * (1 + 8 * UNIT)
        return (signed,), rest * (1 + 4 * UNIT)
