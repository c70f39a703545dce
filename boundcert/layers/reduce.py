"""Sums and means: ReduceSum, ReduceMean, GlobalAveragePool, AveragePool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from boundcert.layers import conv_rows
from boundcert.layers.affine import Affine, Transform
from boundcert.layers.base import Layer, NodeSpec, Unsupported, axis_of, numel
from boundcert.layers.conv import _CONV
from boundcert.layers.rows import Rows, plane_of
from boundcert.layers.runtime_bounds import Detour
from boundcert.layers.windows import Windows, of_pool, spatial


@dataclass(frozen=True)
class Reduce(Affine):
    """Sum or mean over axes. Rows are disjoint, so the Schur bound on the 2-norm is exact."""

    ops: ClassVar[tuple[str, ...]] = ("ReduceSum", "ReduceMean", "GlobalAveragePool")
    axes: tuple[int, ...]
    factor: float

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shape = spec.data_shape()
        if spec.op == "GlobalAveragePool":
            spatial(spec)
            axes = tuple(range(2, len(shape)))
        else:
            given = spec.attr_or_input("axes", 1)
            given = None if given is not None and np.size(given) == 0 else given
            if given is None and spec.attr("noop_with_empty_axes", 0):
                axes = ()
            else:
                wanted = range(len(shape)) if given is None else np.asarray(given).reshape(-1)
                axes = tuple(sorted(axis_of(int(a), len(shape)) - 1 for a in wanted))
        count = math.prod(shape[a] for a in axes)
        if count == 0:
            raise Unsupported("reduces over an empty axis")
        factor = 1.0 if spec.op == "ReduceSum" else 1.0 / count
        return cls(shape, spec.shape, axes=axes, factor=factor)

    @property
    def fan_in(self) -> int:
        return math.prod(self.in_shape[a] for a in self.axes)

    @property
    def fan_out(self) -> int:
        return 1

    @property
    def detour(self) -> Detour:
        """The sum in front of the mean."""
        return Detour(swell=max(1.0, 1 / self.factor))

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        factor = coefficients(x.new_tensor(self.factor))
        total = x.sum(dim=[a + 1 for a in self.axes]) if self.axes else x
        return (total * factor).reshape(x.shape[0], *self.out_shape)

    def spectral(self) -> float:
        return math.inf


@dataclass(frozen=True)
class AveragePool(Affine):
    """Window means; the divisor counts what ONNX says it counts, window by window."""

    ops: ClassVar[tuple[str, ...]] = ("AveragePool",)
    windows: Windows
    weight: torch.Tensor

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        windows = of_pool(spec)
        shape = spec.data_shape()
        divisor = _divisors(windows, bool(spec.attr("count_include_pad", 0)))
        if (divisor == 0).any():
            raise Unsupported("has a window that holds nothing but padding")
        weight = torch.from_numpy(1.0 / divisor)[None, None, None]
        return cls(shape, (*shape[:2], *windows.out), windows=windows, weight=weight)

    @property
    def fan_in(self) -> int:
        return numel(self.windows.kernel)

    @property
    def fan_out(self) -> int:
        return numel(self.windows.kernel)

    @property
    def detour(self) -> Detour:
        """The sum in front of the mean."""
        return Detour(swell=float(self.fan_in))

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        w = self.windows
        flat = w.pad(x.reshape(-1, 1, *w.size))
        ones = flat.new_ones(1, 1, *w.kernel)
        sums = _CONV[len(w.size)](flat, ones, None, w.stride, 0, w.dilation)
        return sums.reshape(x.shape[0], *self.out_shape) * coefficients(self.weight)

    def pull(self, rows: Rows, mass: torch.Tensor) -> Rows:
        w = self.windows
        if len(w.size) != 2 or self.in_shape[0] != 1:
            return super().pull(rows, mass)
        shared = rows.scaled(self.weight.expand(1, *self.out_shape))
        plane = plane_of(self.in_shape)
        ones = self.weight.new_ones(plane[0], 1, *w.kernel)
        return conv_rows.transposed(shared, mass, ones, w, plane[0], plane)


def _divisors(windows: Windows, include_pad: bool) -> np.ndarray:
    """Entries that count in each window, shape ``windows.out``."""
    counts = np.ones(())
    for i in range(len(windows.size)):
        starts = np.arange(windows.out[i]) * windows.stride[i] - windows.before[i]
        places = starts[:, None] + np.arange(windows.kernel[i]) * windows.dilation[i]
        end = windows.size[i] + (windows.after[i] if include_pad else 0)
        inside = (places < end) if include_pad else (places >= 0) & (places < end)
        counts = counts[..., None] * inside.sum(axis=1)
    return counts
