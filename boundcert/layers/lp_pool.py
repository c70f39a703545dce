"""LpPool and GlobalLpPool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import Deviation, Emit, Layer, NodeSpec, Site, Unsupported, numel
from boundcert.layers.power_sum import window_norms
from boundcert.layers.relaxation import Box
from boundcert.layers.runtime_bounds import settled, worst_power
from boundcert.layers.spectral import gamma
from boundcert.layers.windows import Windows, of_pool
from boundcert.norms import Norm


@dataclass(frozen=True)
class LpPool(Layer):
    """Window norms ‖x_w‖_{p'}, p' ≥ 1.

    By the triangle inequality |Δ_w| ≤ ‖q_w‖_{p'} ≤ max(1, n^{1/p'−1/p})‖q_w‖_p over the n entries
    of a window, and each input sits in at most m windows: modulus
    m^{1/p}·max(1, n^{1/p'−1/p})ρ (theory §3 for p = 2). For p' < 1 the pool is not Lipschitz at 0.
    """

    ops: ClassVar[tuple[str, ...]] = ("LpPool", "GlobalLpPool")
    windows: Windows
    power: float
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        power = float(spec.attr("p", 2))
        if not power >= 1:
            raise Unsupported(f"p = {power} is not Lipschitz at 0; p ≥ 1 works")
        shape = spec.data_shape()
        windows = of_pool(spec)
        return cls(windows=windows, power=power, shape=shape, out_shape=(*shape[:2], *windows.out))

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        n = numel(self.windows.size)
        table = self.cached("table", lambda: torch.from_numpy(self.windows.table()))
        flat = F.pad(x[0].reshape(x[0].shape[0], -1, n), (0, 1))
        entries = flat[:, :, table.to(x[0].device)]
        # vector_norm has subgradient 0 where a window is all zero, unlike a power of a sum
        return torch.linalg.vector_norm(entries, ord=self.power, dim=-1).reshape(
            x[0].shape[0], *self.out_shape
        )

    def gain(self, norm: Norm) -> float:
        m = self.cached("overlap", self.windows.multiplicity)
        n = numel(self.windows.kernel)
        exponent = 0.0 if norm is Norm.LINF else 1.0 / norm.p
        inner = max(1.0, n ** (1.0 / self.power - exponent))
        return m**exponent * inner * (1 + 1e-14)

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        return Deviation(moves[0].size * self.gain(site.norm))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.norm.of_rows(site.output) * gamma(numel(self.windows.kernel) + 32)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """Relative: the powers' error and γ_n, shrunk by the root 1/p ≤ 1, and the root's own.

        Below tiny, n powers and sums lose τ = 4(n + F)·tiny of the sum, and
        (s + τ)^{1/p} ≤ s^{1/p} + τ^{1/p}.
        """
        size = boxes[0].magnitude
        # inf of an entry that is not read is not to spread, as 0·inf would
        total = self.forward(size).pow(self.power) * (1 + 1e-9)
        terms = numel(self.windows.kernel) + arithmetic.fused
        rate = arithmetic.gamma(terms)
        if self.power != 1:
            rate = 2 * (rate + worst_power(arithmetic, self.power) + worst_power(arithmetic, 1.0))
        if rate >= 0.25:
            return torch.full_like(total, torch.inf)
        floor = (4 * terms * arithmetic.tiny) ** (1 / self.power) + 4 * arithmetic.tiny
        root = total.pow(1 / self.power)
        return settled(arithmetic, rate * root + floor, root, total)

    def parts(self, emit: Emit, *operands: int) -> int:
        return window_norms(emit, operands[0], self.windows, self.power)
