"""Single entries of windows along one axis, and their differences: what pools are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from boundcert.layers.affine import Affine, Transform
from boundcert.layers.base import Layer, NodeSpec, Unsupported
from boundcert.layers.rows import Rows, plane_of


@dataclass(frozen=True)
class Taps(Affine):
    """y_o = Σ_k c_k·x_{o·stride + offset_k} along one spatial axis, the others untouched.

    A depthwise convolution of unpadded data in effect; by slices, since two taps are no work for
    matrix products.
    """

    axis: int
    stride: int
    taps: tuple[tuple[int, float], ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        raise Unsupported("is no operator of its own")

    @property
    def fan_in(self) -> int:
        return len(self.taps)

    @property
    def fan_out(self) -> int:
        return len(self.taps)

    def _cut(self, axis: int, offset: int, count: int) -> tuple[slice, ...]:
        """The entries that a tap reads, along tensor axis ``axis``."""
        along = slice(offset, offset + (count - 1) * self.stride + 1, self.stride)
        return (*(slice(None),) * axis, along)

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        axis, total = self.axis + 3, None
        for offset, c in self.taps:
            part = x[self._cut(axis, offset, self.out_shape[axis - 1])]
            part = part * coefficients(x.new_tensor(c))
            total = part if total is None else total + part
        assert total is not None
        return total

    def spectral(self) -> float:
        return math.inf  # Schur's bound is within √2

    def pull(self, rows: Rows, mass: torch.Tensor) -> Rows:
        if len(self.in_shape) != 4 or self.in_shape[0] != 1:
            return super().pull(rows, mass)
        axis = self.axis + 2
        count = rows.values.shape[axis]
        size, origin = list(rows.values.shape), rows.origin.clone()
        if rows.whole:
            size[1:] = plane_of(self.in_shape)
        else:
            size[axis] = (count - 1) * self.stride + 1 + max(offset for offset, _ in self.taps)
            origin[:, self.axis] *= self.stride
        out = rows.values.new_zeros(size)
        for offset, c in self.taps:
            part = out[self._cut(axis, offset, count)]
            part += rows.values if c == 1.0 else rows.values * c
        return Rows(out, mass, rows.owner, origin, rows.whole)
