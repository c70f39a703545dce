"""Softmax inside a network (a softmax head is dropped by the importer)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from boundcert.layers.activation import elementwise
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import UNIT, Deviation, Emit, Layer, NodeSpec, Site, axis_of, numel
from boundcert.layers.diagonal import diagonal
from boundcert.layers.merge import Add
from boundcert.layers.reduce import Reduce
from boundcert.layers.relaxation import Box
from boundcert.layers.runtime_bounds import settled
from boundcert.layers.structure import Select
from boundcert.norms import Norm


@dataclass(frozen=True)
class Softmax(Layer):
    """exp(x)/Σexp(x): the Jacobian diag(s) − ssᵀ is symmetric with row sums of absolute values
    2s_i(1−s_i) ≤ 1/2, so its 1-, 2- and ∞-norms are at most 1/2."""

    ops: ClassVar[tuple[str, ...]] = ("Softmax",)
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shape = spec.data_shape()
        rank = len(shape)
        if spec.opset >= 13:
            return cls(axes=(axis_of(int(spec.attr("axis", -1)), rank),), shape=shape)
        first = (
            axis_of(int(spec.attr("axis", 1)), rank) if rank > int(spec.attr("axis", 1)) else rank
        )
        return cls(axes=tuple(range(first, rank + 1)), shape=shape)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        top = x[0].amax(dim=self.axes, keepdim=True).detach()
        e = torch.exp(x[0] - top)
        return e / e.sum(dim=self.axes, keepdim=True)

    def gain(self, norm: Norm) -> float:
        return 0.5

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        return Deviation(moves[0].size * 0.5)

    def rounding(self, site: Site) -> torch.Tensor:
        # x − max is rounded relative to |x|, a change of the argument that has gain 1/2
        n = numel(self.shape)
        size = site.norm.of_rows(site.inputs[0]) + site.norm.of_rows(site.output)
        return size * ((n + 32) * UNIT)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """Relative (4‖x‖_∞ + n + 64)u·(1 + 1/4), and 4(n + 1)·tiny, of an output ≤ 1.

        x − max is off by 2‖x‖_∞u, which exp turns into as much relative, in numerator and
        denominator; exp itself, n sums of positive numbers and the quotient add n + 64 at most.
        Below tiny, each exponential loses tiny, beside a sum ≥ 1 (the greatest is 1).
        """
        box = boxes[0].magnitude
        count = math.prod(self.shape[axis - 1] for axis in self.axes)
        top = box.amax(dim=self.axes, keepdim=True).expand_as(box)
        rate = (4 * top + (count + 64)) * arithmetic.unit
        error = 1.25 * rate + 4 * (count + 1) * arithmetic.tiny
        return settled(arithmetic, torch.where(error < 0.25, error, torch.inf), top)

    def parts(self, emit: Emit, *operands: int) -> int:
        """y_i = 1/(1 + Σ_{j≠i} exp(x_j − x_i)): the differences show what cancels.

        Of two entries that is a sigmoid. Of more, the sum is put through max(1, ·), which changes
        nothing but says that it is not less where its rounded bounds forget that: 1/0 has none.
        """
        x, shape = operands[0], self.shape
        first, last = self.axes[0] - 1, self.axes[-1]
        count = numel(shape[first:last])
        if count < 2:
            return emit(diagonal(shape, shape, 0.0, 1.0), shape, x)
        places = np.arange(numel(shape)).reshape(-1, count, 1, numel(shape[last:]))
        # row i: every j but i
        others = np.arange(count - 1)[None] + (np.arange(count - 1) >= np.arange(count)[:, None])
        picked = places[:, others, 0], places.repeat(count - 1, axis=2)
        wide = shape if count == 2 else picked[0].shape
        indices = (torch.from_numpy(p.flatten()) for p in picked)
        their, own = (emit(Select(shape, wide, index=i), wide, x) for i in indices)
        if count == 2:
            gap = emit(Add((wide, wide), wide, "Sub"), wide, own, their)
            return emit(elementwise("Sigmoid", shape), shape, gap)
        gap = emit(Add((wide, wide), wide, "Sub"), wide, their, own)
        odds = emit(elementwise("Exp", wide), wide, gap)
        total = emit(Reduce(wide, shape, axes=(2,), factor=1.0), shape, odds)
        whole = emit(diagonal(shape, shape, 1.0, 1.0), shape, total)
        whole = emit(elementwise("Clip", shape, 1.0, math.inf), shape, whole)
        return emit(elementwise("Reciprocal", shape), shape, whole)
