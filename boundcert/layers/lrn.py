"""Local response normalisation across channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import backend
from boundcert.layers.activation import elementwise
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.base import Deviation, Emit, Layer, NodeSpec, Site, Unsupported, numel
from boundcert.layers.conv import Conv
from boundcert.layers.diagonal import diagonal
from boundcert.layers.product import Product
from boundcert.layers.relaxation import Box, largest
from boundcert.layers.runtime_bounds import POWER, least, settled
from boundcert.layers.spectral import gamma
from boundcert.layers.structure import Reshape
from boundcert.layers.windows import Windows
from boundcert.norms import Norm


@dataclass(frozen=True)
class LRN(Layer):
    """y = x·(k + (α/size)·Σ_{window} x²)^(−β), k > 0, α, β ≥ 0.

    Globally, with t = (β/(β+1))^{β+1} and n = size: ‖J‖_2, ‖J‖_∞ ≤ k^{−β}(1 + 2√n·t) and
    ‖J‖_1 ≤ k^{−β}(1 + n·t). Proof: with c = α/size and S = Σx² over the window,
    row i sums to ≤ D^{−β} + 2βc|x_i|√n‖x_w‖D^{−β−1} ≤ k^{−β} + 2β√n·cS(k+cS)^{−β−1}, and
    s(k+s)^{−β−1} ≤ k^{−β}β^β/(β+1)^{β+1} at s = k/β. In column j, 2c|x_i||x_j| ≤ c(x_i²+x_j²) ≤ s
    for the D of each i. The 2-norm as in theory §3. Locally the kernel ``lrn_gain`` is better.
    """

    ops: ClassVar[tuple[str, ...]] = ("LRN",)
    wants_reach: ClassVar[bool] = True
    size: int
    alpha: float
    beta: float
    bias: float

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shape = spec.data_shape()
        if len(shape) < 2:
            raise Unsupported(f"data of shape {shape} has no channel axis")
        size = int(spec.attr("size", 0))
        alpha = float(np.float32(spec.attr("alpha", 1e-4)))
        beta, bias = float(spec.attr("beta", 0.75)), float(spec.attr("bias", 1.0))
        if size < 1 or not (bias > 0 and alpha >= 0 and beta >= 0):
            raise Unsupported(
                f"size={size}, alpha={alpha}, beta={beta}, bias={bias}; "
                "size ≥ 1, bias > 0, alpha ≥ 0 and beta ≥ 0 work"
            )
        return cls(size=size, alpha=alpha, beta=beta, bias=bias)

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return x[0] * self._base(x[0]) ** -self.beta

    def _base(self, x: torch.Tensor) -> torch.Tensor:
        """k + (α/size)·Σ x² over the window."""
        square = x * x
        before, after = (self.size - 1) // 2, self.size - 1 - (self.size - 1) // 2
        moved = square.transpose(2, -1)
        padded = F.pad(moved, (before, after))
        total = padded.unfold(-1, self.size, 1).sum(dim=-1).transpose(2, -1)
        return self.bias + (self.alpha / self.size) * total

    def global_gain(self, norm: Norm) -> float:
        """The Lipschitz constant of the class docstring, rounded up."""
        if self.beta == 0:
            return 1.0
        t = (self.beta / (self.beta + 1)) ** (self.beta + 1)
        spread = self.size if norm is Norm.L1 else 2 * math.sqrt(self.size)
        return self.bias**-self.beta * (1 + spread * t) * (1 + 1e-13)

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        size = moves[0].size
        reach = moves[0].entries(1)
        widest = torch.minimum(reach.unit.max().to(size.device) * reach.scale + reach.offset, size)
        x = site.inputs[0].detach().cpu()
        # (B, N, C, …) → one (C, positions) slab a sample, the ONNX batch among the positions
        slab = x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1).contiguous().numpy()
        gain = backend().lrn_gain(
            slab,
            widest.detach().cpu().contiguous().numpy(),
            self.size,
            self.alpha,
            self.beta,
            self.bias,
            site.norm.p,
        )
        local = torch.from_numpy(gain).to(size.device)
        return Deviation(size * torch.clamp(local, max=self.global_gain(site.norm)))

    def rounding(self, site: Site) -> torch.Tensor:
        return site.norm.of_rows(site.output) * gamma(self.size + 32) * (1 + self.beta)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """|x|·D^(−β) with D off by a share ρ = e/D: (1 − ρ)^(−β) ≤ 1 + 2βρ where 2βρ ≤ 1/4.

        Runtimes move the window along the C channels by adding one square and subtracting
        another, so e is γ of 2C + size + F additions to what D may be in any channel, twice. Below
        tiny, squares, sums and coefficients lose 4(2C + size + F)(1 + α + α/size·‖x‖²) of it. The
        power is off as any is; the window's squares add up to less than an overflow.
        """
        box = boxes[0]
        size, low = box.magnitude, self._base(least(box))
        most = self._base(size)
        top = 2 * most.amax(dim=2, keepdim=True)
        terms = 2 * size.shape[2] + self.size + arithmetic.fused
        square = largest(size * size).reshape(-1, *([1] * (size.dim() - 1)))
        lost = 4 * terms * arithmetic.tiny * (1 + self.alpha + self.alpha * square)
        share = 2 * self.beta * (arithmetic.gamma(terms) * top + lost) / low
        log = torch.maximum(most.log().abs(), low.log().abs()) * self.beta
        rate = share + arithmetic.unit * (POWER[0] + self.beta + POWER[1] * log)
        factor = low**-self.beta
        error = 2 * rate * size * factor + 4 * arithmetic.tiny * (1 + size + factor)
        sure = (share <= 0.25) & (rate <= 0.25)
        reached = (square * terms, top, factor, size * factor, 1 / low)
        return settled(arithmetic, torch.where(sure, error, torch.inf), *reached)

    def parts(self, emit: Emit, *operands: int) -> int:
        """x·D^(−β), D = k + (α/size)·Σx², the sum a convolution across channels.

        α/size is rounded within an ulp: a diagonal layer allows γ_9 on every coefficient, the
        rows of a convolution count as exact. For α = 0 the power of D is left to the activation,
        too: as a coefficient it may overflow, or underflow to what no relative error covers.
        """
        x, shape = operands[0], emit.shape(operands[0])
        if self.beta == 0:
            return emit(Reshape(shape, shape), shape, x)
        spread = self._window_sum(shape)
        square = emit(elementwise("Pow", shape, 2.0), shape, x)
        if spread.in_shape != shape:
            square = emit(Reshape(shape, spread.in_shape), spread.in_shape, square)
        wide = spread.out_shape
        total = emit(spread, wide, square)
        base = emit(diagonal(wide, wide, self.alpha / self.size, self.bias), wide, total)
        factor = emit(elementwise("Pow", wide, -self.beta), wide, base)
        if wide != shape:
            factor = emit(Reshape(wide, shape), shape, factor)
        return emit(Product((shape, shape), shape, "Mul"), shape, x, factor)

    def _window_sum(self, shape: tuple[int, ...]) -> Conv:
        """Sums over each channel's window, of (N, C, 1 to 3 spatial axes)."""
        channels = shape[1]
        if not 3 <= len(shape) <= 5:
            shape = (*shape[:2], numel(shape[2:]))
        rank = len(shape) - 2
        one, zero = (1,) * rank, (0,) * rank
        before = (self.size - 1) // 2
        apart = np.arange(channels)[None] - np.arange(channels)[:, None]
        band = (apart >= -before) & (apart <= self.size - 1 - before)
        weight = torch.from_numpy(band.astype(np.float64))
        return Conv(
            shape,
            shape,
            weight=weight.reshape(channels, channels, *one),
            bias=None,
            windows=Windows(shape[2:], shape[2:], one, one, one, zero, zero, zero),
            groups=1,
        )
