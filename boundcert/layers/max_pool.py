"""MaxPool and GlobalMaxPool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import backend
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import (
    Deviation,
    Ends,
    Layer,
    NodeSpec,
    Remainder,
    Site,
    Unsupported,
    numel,
)
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

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        return None

    def interval(self, *boxes: Box) -> Ends:
        return self.forward(boxes[0].low), self.forward(boxes[0].high)

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        table = self.cached("table_tensor", lambda: torch.from_numpy(self.windows.table()))
        return WindowMaximum(boxes[0], value, self.windows, table, self.overlap)

    def pull_back(
        self, site: Site, cotangent: torch.Tensor
    ) -> tuple[tuple[torch.Tensor, ...], Remainder]:
        """Follow the present maximum i*: Δ_w − q_{i*} lies between 0 and the positive part of
        max_{i≠i*}(x_i − x_{i*} + |q_i| + |q_{i*}|)."""
        x = site.inputs[0]
        n = numel(self.windows.size)
        table = self.cached("table_tensor", lambda: torch.from_numpy(self.windows.table()))
        table = table.to(x.device)
        top, runner, which = leaders(x.reshape(x.shape[0], -1, n), table)
        weight = cotangent.reshape(-1, *which.shape)
        place = table[torch.arange(table.shape[0], device=x.device), which]
        pulled = weight.new_zeros(*weight.shape[:3], n)
        pulled.scatter_add_(3, place.expand(weight.shape), weight)
        return (pulled.reshape(-1, *x.shape),), Overtaken(weight.abs(), top.abs(), runner - top)


@dataclass(frozen=True)
class Overtaken:
    """What other entries of the windows may gain on those that are the maxima now.

    Attributes
    ----------
    weight : (K, B, C, W) magnitudes of the windows' coefficients.
    size, lead : (B, C, W) the maxima's magnitudes, and the runners-up minus the maxima.
    """

    weight: torch.Tensor
    size: torch.Tensor
    lead: torch.Tensor

    def __call__(self, *moves: Deviation) -> torch.Tensor:
        reach = moves[0].entries(1)
        widest = reach.unit.max().to(self.lead.device) * reach.scale + reach.offset
        widest = torch.minimum(widest, moves[0].size)
        slack = 2 * widest[:, None, None] + self.lead
        slack = torch.clamp(slack * (1 + 1e-15) + 4e-16 * self.size, min=0)
        # 0·inf is nan, but a window that does not matter leaves nothing over
        rest = torch.where(self.weight == 0, 0.0, self.weight * slack)
        return rest.sum(dim=(2, 3)) * (1 + 1e-12)

    def take(self, rows: torch.Tensor) -> Overtaken:
        return Overtaken(self.weight[:, rows], self.size[rows], self.lead[rows])


def leaders(
    x: torch.Tensor, table: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The largest and second largest entry of each window (B, C, W), and the largest's place in it.

    One column of the table after the other: sorting or gathering whole windows takes several times
    as long.
    """
    if bool((table < 0).any()):
        x = F.pad(x, (0, 1), value=-math.inf)
        table = torch.where(table < 0, x.shape[2] - 1, table)
    top = x.index_select(2, table[:, 0])
    runner = torch.full_like(top, -math.inf)
    which = torch.zeros(top.shape, dtype=torch.int64, device=x.device)
    for k in range(1, table.shape[1]):
        entry = x.index_select(2, table[:, k])
        which.masked_fill_(entry > top, k)
        # a nan stays one, so that nothing is proved
        runner = torch.maximum(runner, torch.minimum(entry, top))
        top = torch.maximum(top, entry)
    return top, runner, which
