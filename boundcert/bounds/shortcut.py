"""From an affine node straight to the input: one product instead of one layer after another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from boundcert.layers.base import UNIT
from boundcert.layers.dense import Dense
from boundcert.layers.relaxation import NOTHING, Box, Loss, Relaxation
from boundcert.layers.rows import Rows
from boundcert.layers.spectral import gamma
from boundcert.network.graph import Network
from boundcert.norms import Norm, flat

#: Most operations that factoring a matrix may take.
FACTORING = 2e10
#: A factor of this share of the matrix' width, or more, is not worth its loss.
NARROW = 0.75


@dataclass(frozen=True)
class Shortcut:
    """An affine node's matrix over the input: its value is A·q + what it is at the sample.

    ``matrix`` M stands for A: c·A·q ≥ (cM)·w − ‖c‖₁·error·ε, where ‖q‖_p ≤ ε and w is some point
    with ‖w‖_p ≤ ε. In norms 1 and ∞ w is q. In norm 2 M may be narrower, see :func:`_factored`:
    ‖cM‖₂ is all that a bound over a 2-norm ball needs of cA.

    Attributes
    ----------
    matrix : (n, m).
    single : the same rounded to float32.
    error : of a row of M, as above.
    gain : the greatest ‖row of M‖₁.
    """

    matrix: torch.Tensor
    single: torch.Tensor
    error: float
    gain: float

    @classmethod
    def of(cls, matrix: torch.Tensor, lost: torch.Tensor, norm: Norm) -> Shortcut:
        """The shortcut with rows (n, n₀) that are each off by at most ``lost`` (n,) in 1-norm.

        |(c(A − M))·q| ≤ Σ|c_i|·‖A_i − M_i‖₁·‖q‖_∞, and ‖q‖_∞ ≤ ‖q‖_p.
        """
        if norm is Norm.L2:
            matrix, lost = _factored(matrix, lost)
        gain = float(matrix.abs().sum(dim=1).max()) * (1 + gamma(matrix.shape[1] + 8))
        error = float(lost.max()) * (1 + 4 * UNIT)
        return cls(matrix, matrix.to(torch.float32), error, gain)

    def at(self, point: Box, eps: torch.Tensor) -> Relaxation:
        """The relaxation on balls of radii eps (B,); ``point`` bounds the value at the samples."""
        return _Straight(self, point, eps)


class _Straight(Relaxation):
    """c·δ = c·A·q + c·r, r the error of the value computed at the sample.

    Beside what :class:`Shortcut` says, the computed cM is off by at most γ|c||M| entrywise, which
    acts on |w| ≤ ε: γ‖c‖₁·gain·ε. Products that underflow act on no more than ε.
    """

    def __init__(self, shortcut: Shortcut, point: Box, eps: torch.Tensor) -> None:
        super().__init__(tuple(point.low.shape[1:]))
        self.shortcut, self.point, self.eps = shortcut, point, eps

    @cached_property
    def loss(self) -> Loss:
        terms, width = self.shortcut.matrix.shape
        lost = self.shortcut.error + self.shortcut.gain * gamma(terms + 8)
        deviation = self.eps[:, None].expand(-1, width)
        share = (flat(self.point.deviation).amax(dim=1) + self.eps * lost) * (1 + 8 * UNIT)
        return Loss.of(share, deviation)

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        shortcut, values = self.shortcut, flat(rows.flat(self.shape))
        matrix = shortcut.single if values.dtype is torch.float32 else shortcut.matrix
        mass = rows.mass * (shortcut.gain * (1 + 1e-9))
        below = Rows.of(values @ matrix, rows.owner, (matrix.shape[1],), mass)
        return (below,), self.loss.rest(rows) if rows.proves else NOTHING


def worthwhile(network: Network, affine: list[int], node: int, norm: Norm) -> bool:
    """Whether a product with a node's matrix takes no more than going back layer by layer.

    Counted are dense layers only: rows of convolutions stay on small patches.
    """
    terms = network.nodes[node].shape
    height, width = torch.Size(terms).numel(), torch.Size(network.input_shape).numel()
    layers = (network.nodes[k].layer for k in affine if 0 < k <= node)
    through = sum(layer.weight.numel() for layer in layers if isinstance(layer, Dense))
    if norm is Norm.L2 and _narrow(height, width):
        width = height
    return 0 < height * width <= through


def _narrow(height: int, width: int) -> bool:
    return height <= NARROW * width and height * height * width <= FACTORING


def _factored(matrix: torch.Tensor, lost: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A narrower matrix L for M, and what its rows lose, where that is worth it.

    M = L·Qᵀ + F with computed L and Q. With w = Qᵀq, (cM)·q = (cL)·w + (cF)·q, and
    ‖w‖₂ ≤ ‖Q‖₂ε, ‖Q‖₂² = ‖QᵀQ‖₂ ≤ 1 + η, η = ‖QᵀQ − I‖_F. So L(1 + η) takes w/(1 + η), which lies
    in the ball. |(cF)·q| ≤ Σ|c_i|·‖F_i‖₂·ε. Both η and F are computed, with what rounding may add.
    Scaling L rounds each entry once: at most 2⁻⁵³‖L_i‖₁ a row.
    """
    height, width = matrix.shape
    if not _narrow(height, width):
        return matrix, lost
    q, r = torch.linalg.qr(matrix.T)
    factor = r.T.contiguous()
    one = torch.eye(height, dtype=torch.float64)
    size = torch.linalg.vector_norm(q) ** 2
    off = torch.linalg.vector_norm(q.T @ q - one) + size * gamma(width + 8) * (1 + 1e-6)
    eta = float(off) * (1 + gamma(height * height + 32)) + 1e-290
    left = matrix - factor @ q.T
    unsure = (matrix.abs() + factor.abs() @ q.T.abs()) * gamma(height + 16)
    short = torch.linalg.vector_norm(left.abs() + unsure, dim=1) * (1 + 4 * gamma(width + 32))
    scaled = factor * (1.0 + eta)
    rounded = scaled.abs().sum(dim=1) * (4 * UNIT)
    if not (eta < 1e-6 and bool(short.isfinite().all())):
        return matrix, lost
    return scaled, (lost + short + rounded) * (1 + 8 * UNIT) + 1e-290
