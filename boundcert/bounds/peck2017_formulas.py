"""The inequalities of the 2017 dissertation (003), one function each, as printed: NOT CERTIFICATES.

What is wrong with which is listed in :mod:`boundcert.bounds.peck2017`. κ is always the claimed
bound of the next layer, (B,), and the result that of this layer. Fractions whose numerator is a
difference of nearly equal numbers are written in the equal form 2c/(b + √(b² + 4ac)); nothing
else differs from the print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

#: Where the printed expression for sup|tanh″| is evaluated.
_U = 0.5 * math.log(2 + math.sqrt(3))

#: Table 4.1: A ≥ |g'| and B ≥ |g″| by ONNX operator. The second-order entry of sigm is printed
#: with a negative sign, the one of ReLU as 0; §4.3.1 says that B = 1 was used for ReLU.
TABLE_4_1 = {
    "Sigmoid": (0.25, abs((5 - 3 * math.sqrt(3)) / (30 * math.sqrt(3) - 54))),
    "Tanh": (1.0, math.sinh(_U) / math.cosh(_U) ** 3),
    "Softplus": (1.0, 0.25),
    "Relu": (1.0, 1.0),
}
#: No activation at all, for dense layers that follow each other: exact.
IDENTITY = (1.0, 0.0)


def second_order_bound(row_sums: Sequence[float], bounds: Sequence[tuple[float, float]]) -> float:
    """Algorithm 4.1: M with |∂ᵅh_L| ≤ M for |α| = 2.

    Parameters
    ----------
    row_sums : s = max_j Σ_k |v_jk| of each hidden layer, from the input on.
    bounds : (A, B) of each hidden layer's activation.
    """
    m, n = 0.0, 1.0
    for s, (a, b) in zip(row_sums, bounds):
        m, n = b * n**2 * s**2 + a * m * s, a * n * s
    return m


def taylor(kappa: torch.Tensor, jacobian: torch.Tensor, m: float, n: int) -> torch.Tensor:
    """Equation 4.8 (Theorems 4.1 and 4.2): (√(‖J‖² + 2M√n·κ) − ‖J‖)/(M√n).

    At M = 0, which the dissertation excludes, the limit κ/‖J‖.
    """
    root = torch.sqrt(jacobian**2 + 2 * m * math.sqrt(n) * kappa)
    return torch.where(kappa > 0, 2 * kappa / (jacobian + root), torch.zeros_like(kappa))


def convolution(kappa: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Theorem 5.1: κ/‖W‖_F."""
    return kappa / float(torch.linalg.vector_norm(weight))


def pooling(kappa: torch.Tensor, side: int) -> torch.Tensor:
    """Theorem 5.3, MAX and average pooling (equations 5.5 and 5.8): κ/t."""
    return kappa / side


def lp_pooling(kappa: torch.Tensor, side: int, entries: int, power: float) -> torch.Tensor:
    """Theorem 5.3, L_p pooling (equation 5.7): κ/(t·q^{2/p}), ``entries`` = q²."""
    return kappa / (side * entries ** (1 / power))


def batch_normalization(kappa: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Theorem 5.6: max_j min(|ρ_1j|, |ρ_2j|).

    Parameters
    ----------
    y : (B, …) the layer's output BN(x).
    weight : γ/√(Var + ε), broadcastable to ``y``.
    """
    # With w = γ/√(Var+ε) the theorem depends on w and y alone:
    #   φγ = γ·γ/(Var+ε) = w²,
    #   φχ = γ/(Var+ε)·(2γ(x−E) + 2β√(Var+ε)) = 2w·(w(x−E) + β) = 2wy.
    # So ρ = (±√(4w²y² + 4w²ψ) − 2wy)/(2w²), and the smaller of the two in absolute value is
    # (√(y²+ψ) − |y|)/|w| = ψ/(|w|(|y| + √(y²+ψ))).
    out = y.flatten(1)
    w = weight.expand(1, *y.shape[1:]).reshape(1, -1).abs()
    psi = (2 * kappa * torch.linalg.vector_norm(out, dim=1) + kappa**2) / out.shape[1]
    psi = psi[:, None]
    delta = psi / (w * (out.abs() + torch.sqrt(out**2 + psi)))
    # γ_j = 0 makes the printed fraction 0/0; the text calls the bound trivial along such a j
    return torch.where((w > 0) & (psi > 0), delta, torch.zeros_like(delta)).amax(dim=1)


def local_response_normalization(
    kappa: torch.Tensor,
    x: torch.Tensor,
    energy: torch.Tensor,
    alpha: float,
    beta: float,
    k: float,
) -> torch.Tensor:
    """Theorem 5.9 with the M_a of Lemma 5.11: max_{a∈Δ} λ_a.

    Parameters
    ----------
    x : (B, …) the layer's input.
    energy : Σ_l x_l² over the window of every entry, shaped as ``x``.
    alpha : the dissertation's α, the factor of the sum (ONNX divides its own by the window size).
    """
    x, energy = x.flatten(1), energy.flatten(1)
    base = k + alpha * energy
    y = x * base**-beta
    # ∇_j = −x_j·u for j ≠ a in the window and base^(−β) − x_a·u at a, u = 2x_a·αβ·base^(−β−1)
    u = 2 * x * alpha * beta * base ** (-beta - 1)
    square = u**2 * energy - 2 * base**-beta * u * x + base ** (-2 * beta)
    gradient = square.clamp(min=0).sqrt()
    top = x.abs().amax(dim=1, keepdim=True)
    inner = top**2 * alpha * (beta + 1) * k ** (-beta - 2) + k ** (-beta - 1)
    m = 4 * top * alpha * beta * inner + 2 * top * alpha * beta * k ** (-beta - 1)
    # d√c, with d² written as the number of positions so that they need not form a square
    whole = (torch.linalg.vector_norm(y, dim=1) + kappa) / math.sqrt(x.shape[1])
    delta = y.abs() - whole[:, None]
    falls_short = delta < 0
    delta = torch.where(falls_short, delta, torch.full_like(delta, -1.0))
    size = -2 * delta / (gradient + torch.sqrt(gradient**2 - 2 * m * delta))
    return torch.where(falls_short, size, torch.zeros_like(size)).amax(dim=1)


def hyperplane_distance(
    logits: torch.Tensor, gaps: torch.Tensor, label: torch.Tensor
) -> torch.Tensor:
    """Equation 3.12: δ = min_{c≠label} |z_c − z_label|/‖w_c − w_label‖; 0 where label ≠ f(x).

    Parameters
    ----------
    logits : (B, C)
    gaps : (C, C) the norms of the row differences.
    """
    margin = (logits.gather(1, label[:, None]) - logits).clamp(min=0)
    # where two rows are equal the margin is constant: 0, or infinitely far
    distance = torch.where(margin > 0, margin / gaps[label], torch.zeros_like(margin))
    return distance.scatter(1, label[:, None], math.inf).amin(dim=1)
