"""Gemm and MatMul with one constant side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from boundcert.layers.affine import Affine, Transform
from boundcert.layers.base import NodeSpec, Unsupported, align, constant, numel
from boundcert.layers.rows import Rows
from boundcert.layers.runtime_bounds import Detour
from boundcert.layers.spectral import gamma, spectral_norm_bound

#: Most entries of a matrix whose magnitudes are kept beside it.
KEPT = 4_000_000


@dataclass(frozen=True)
class Dense(Affine):
    """x ↦ x·W + b (or W·x + b), over the last axes as NumPy's matmul broadcasts.

    With a matrix W the map is W applied to every row (a Kronecker product with an identity), so
    its 2-norm is ‖W‖₂. ``factor`` is what the stored weights were multiplied by to give W,
    ``bias_factor`` what the stored bias was.
    """

    ops: ClassVar[tuple[str, ...]] = ("Gemm", "MatMul")
    weight: torch.Tensor
    bias: torch.Tensor | None
    left: bool
    transpose_data: bool
    factor: float = 1.0
    bias_factor: float = 1.0

    @classmethod
    def build(cls, spec: NodeSpec) -> Dense:
        return _gemm(spec) if spec.op == "Gemm" else _matmul(spec)

    @property
    def fan_in(self) -> int:
        return (
            self.weight.shape[-1] if self.left else self.weight.shape[max(self.weight.dim() - 2, 0)]
        )

    @property
    def fan_out(self) -> int:
        return max(self.weight.shape)

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        w = self._magnitudes() if coefficients is torch.abs else coefficients(self.weight)
        if self.transpose_data:
            x = x.transpose(-1, -2)
        if self.left and len(self.in_shape) == 1:
            out = torch.matmul(w, align(x.unsqueeze(-1), w.dim())).squeeze(-1)
        elif self.left:
            out = torch.matmul(w, align(x, w.dim()))
        else:
            out = torch.matmul(align(x, w.dim()) if w.dim() > 2 else x, w)
        return out.reshape(x.shape[0], *self.out_shape)

    def _magnitudes(self) -> torch.Tensor:
        """|W|, kept unless it is large: intervals and runtime errors ask for it at every box."""
        if self.weight.numel() > KEPT:
            return self.weight.abs()
        # copies on other devices share what is kept
        return self.cached(("magnitudes", self.weight.device), self.weight.abs)

    def transpose(self, y: torch.Tensor, coefficients: Transform = lambda c: c) -> torch.Tensor:
        if self.weight.dim() == 2 and not self.left and not self.transpose_data:
            rows = y.reshape(-1, self.weight.shape[1]) @ coefficients(self.weight).T
            return rows.reshape(y.shape[0], *self.in_shape)
        return super().transpose(y, coefficients)

    def single(self, index: torch.Tensor, owner: torch.Tensor) -> Rows | None:
        plain = self.weight.dim() == 2 and not self.left and not self.transpose_data
        if not plain or numel(self.in_shape) != self.weight.shape[0]:
            return None
        columns, mass = self.cached("columns", self._columns)
        return Rows.of(columns[index], owner, self.in_shape, mass[index])

    def _columns(self) -> tuple[torch.Tensor, torch.Tensor]:
        """W's columns one after the other in memory, and their masses as rows."""
        columns = self.weight.T.contiguous()
        return columns, Rows.of(columns, columns[:, 0].long(), self.in_shape).mass

    def offset(self) -> torch.Tensor | None:
        return self.bias

    @property
    def detour(self) -> Detour:
        """The product with the stored weights, or with multiples of the operand."""
        size = abs(self.factor)
        swell = max(1.0, size, 1 / size if size else math.inf)
        return Detour(swell=swell, carry=max(1.0, size, abs(self.bias_factor)))

    def spectral(self) -> float:
        if self.weight.dim() > 2:
            return super().spectral()
        matrix = self.weight.detach().cpu().numpy()
        return spectral_norm_bound(matrix.reshape(matrix.shape[0], -1)) * (1.0 + gamma(4))

    def largest_entries(self) -> torch.Tensor:
        if self.weight.dim() == 2 and not self.left and self.in_shape[:-1] == self.out_shape[:-1]:
            top = self.weight.detach().cpu().abs().amax(dim=0) * (1.0 + gamma(4))
            return top.expand(*self.out_shape).reshape(-1)
        return super().largest_entries()


def _gemm(spec: NodeSpec) -> Dense:
    a, b = spec.operands[0], spec.operands[1]
    alpha, beta = float(spec.attr("alpha", 1.0)), float(spec.attr("beta", 1.0))
    trans_a, trans_b = bool(spec.attr("transA", 0)), bool(spec.attr("transB", 0))
    if isinstance(a, tuple) and isinstance(b, np.ndarray):
        shape, w, left = a, b.T if trans_b else b, False
        transpose_data = trans_a
    elif isinstance(a, np.ndarray) and isinstance(b, tuple):
        shape, w, left = b, a.T if trans_a else a, True
        transpose_data = trans_b
    else:
        raise Unsupported(
            "needs exactly one constant factor; products of two computed matrices don't"
        )
    c = spec.constant(2)
    bias = None if c is None else constant(beta * np.asarray(c, dtype=np.float64))
    weight = constant(alpha * np.asarray(w, dtype=np.float64)).contiguous()
    return Dense(
        shape,
        spec.shape,
        weight=weight,
        bias=None if bias is None else align(bias[None], 2),
        left=left,
        transpose_data=transpose_data,
        factor=alpha,
        bias_factor=1.0 if bias is None else beta,
    )


def _matmul(spec: NodeSpec) -> Dense:
    a, b = spec.operands[0], spec.operands[1]
    if isinstance(a, tuple) and isinstance(b, np.ndarray):
        return Dense(a, spec.shape, weight=constant(b), bias=None, left=False, transpose_data=False)
    if isinstance(a, np.ndarray) and isinstance(b, tuple):
        return Dense(b, spec.shape, weight=constant(a), bias=None, left=True, transpose_data=False)
    raise Unsupported("needs one constant side; products of two computed matrices are not bounded")
