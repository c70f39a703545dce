"""MaxPool and GlobalMaxPool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import backend
from boundcert.layers.base import Deviation, Ends, Layer, NodeSpec, Site, Unsupported, numel
from boundcert.layers.pool_relaxation import WindowMaximum
from boundcert.layers.relaxation import Box, Relaxation
from boundcert.layers.windows import Windows, of_pool
from boundcert.norms import Norm


@dataclass(frozen=True)
class MaxPool(Layer):
    """Window maxima for any kernel, stride, dilation, padding and rounding of the output size.

    |max_w(x+q) − max_w(x)| ≤ max_{i∈w}|q_i|, so Σ_w|Δ_w|^p ≤ m·Σ|q_i|^p with m the number of
    windows one input sits in: modulus m^{1/p}ρ (theory §3). Where windows overlap, m may count
    only the windows in which the input can be the maximum within its reach (local modulus).
    """

    ops: ClassVar[tuple[str, ...]] = ("MaxPool", "GlobalMaxPool")
    wants_reach: ClassVar[bool] = True
    windows: Windows
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shape = spec.data_shape()
        windows = of_pool(spec)
        if (windows.table() < 0).all(axis=1).any():
            raise Unsupported("has a window that holds nothing but padding")
        return cls(windows=windows, shape=shape, out_shape=(*shape[:2], *windows.out))

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        w = self.windows
        flat = x[0].reshape(-1, 1, *w.size)
        if any(w.before) or any(a + s > 0 for a, s in zip(w.after, w.spill)):
            flat = w.pad(flat, -math.inf)
        if numel(w.kernel) <= 16:
            flat = self._by_axis(flat)
        else:
            pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(w.size)]
            flat = pool(flat, w.kernel, w.stride, 0, w.dilation)
        return flat.reshape(x[0].shape[0], *self.out_shape)

    def _by_axis(self, x: torch.Tensor) -> torch.Tensor:
        """Maxima over one axis after the other: several times torch's speed for small windows."""
        w = self.windows
        for axis in range(len(w.size)):
            span = (w.out[axis] - 1) * w.stride[axis] + 1
            parts = []
            for k in range(w.kernel[axis]):
                shifted = x.narrow(axis + 2, k * w.dilation[axis], span)
                parts.append(shifted.unfold(axis + 2, 1, w.stride[axis]).squeeze(-1))
            x = parts[0]
            for part in parts[1:]:
                x = torch.maximum(x, part)
        return x

    @property
    def overlap(self) -> int:
        """m: in how many windows one input sits, at most."""
        return self.cached("overlap", self.windows.multiplicity)

    def gain(self, norm: Norm) -> float | None:
        if self.overlap <= 1 or norm is Norm.LINF:
            return 1.0
        return None

    def _factor(self, m: float | torch.Tensor, norm: Norm) -> torch.Tensor:
        m = torch.as_tensor(m, dtype=torch.float64)
        if norm is Norm.LINF:
            return torch.ones_like(m)
        return m if norm is Norm.L1 else m.sqrt() * (1 + 1e-15)

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        size = moves[0].size
        if self.gain(site.norm) is not None:
            return Deviation(size)
        reach = moves[0].entries(1)
        widest = torch.minimum(reach.unit.max() * reach.scale + reach.offset, size)
        x = site.inputs[0].detach().cpu().reshape(-1, numel(self.windows.size))
        channels = x.shape[0] // size.shape[0]
        count = backend().pool_multiplicity(
            np.ascontiguousarray(x.numpy()),
            self.cached("table", self.windows.table),
            widest.detach().cpu().repeat_interleave(channels).numpy(),
        )
        m = torch.from_numpy(count).reshape(-1, channels).amax(dim=1)
        return Deviation(size * self._factor(m, site.norm).to(size.device))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])

    def interval(self, *boxes: Box) -> Ends:
        return self.forward(boxes[0].low), self.forward(boxes[0].high)

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        table = self.cached("table_tensor", lambda: torch.from_numpy(self.windows.table()))
        return WindowMaximum(boxes[0], value, self.windows, table, self.overlap)

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Follow the present maximum i*: Δ_w − q_{i*} lies between 0 and the positive part of
        max_{i≠i*}(x_i − x_{i*} + |q_i| + |q_{i*}|)."""
        x = site.inputs[0]
        n = numel(self.windows.size)
        table = self.cached("table_tensor", lambda: torch.from_numpy(self.windows.table()))
        table = table.to(x.device)
        flat = F.pad(x.reshape(x.shape[0], -1, n), (0, 1), value=-math.inf)
        entries = flat[:, :, table]
        top, which = entries.max(dim=-1)
        entries = entries.scatter(-1, which.unsqueeze(-1), -math.inf)
        runner = entries.amax(dim=-1) if table.shape[1] > 1 else torch.full_like(top, -math.inf)
        reach = moves[0].entries(1)
        widest = torch.minimum(
            reach.unit.max().to(x.device) * reach.scale + reach.offset, moves[0].size
        )
        slack = 2 * widest[:, None, None] + (runner - top)
        slack = torch.clamp(slack * (1 + 1e-15) + 4e-16 * top.abs(), min=0)
        weight = cotangent.reshape(-1, *which.shape)
        rest = torch.where(weight == 0, 0.0, weight.abs() * slack).sum(dim=(2, 3)) * (1 + 1e-12)
        place = table[torch.arange(table.shape[0], device=x.device), which]
        pulled = weight.new_zeros(*weight.shape[:3], n)
        pulled = pulled.scatter_add(3, place.expand(weight.shape), weight)
        return (pulled.reshape(-1, *x.shape),), rest
