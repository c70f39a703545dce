"""Entrywise maxima and minima of computed operands: Max, Min."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.layers.activation import elementwise
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import Deviation, Emit, Site
from boundcert.layers.merge import Add, Merge, joined
from boundcert.layers.relaxation import Box
from boundcert.layers.structure import Reshape


@dataclass(frozen=True)
class Extremum(Merge):
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
        return Deviation(joined(torch.stack(sizes, dim=1), site.norm))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        return None

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
