"""Softmax inside a network (a softmax head is dropped by the importer)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.layers.base import UNIT, Deviation, Layer, NodeSpec, Site, axis_of, numel
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
