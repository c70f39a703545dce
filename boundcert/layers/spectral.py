"""Certified upper bounds on the spectral norm of explicit matrices.

Power iteration and eigenvalue solvers only estimate; here an estimate t is *proved* by a
Cholesky factorisation of tI − G, G = MᵀM (Rump, BIT 46, 2006, "Verification of positive
definiteness"): if floating-point Cholesky of a symmetric H (n×n) runs to completion, then
λ_min(H) ≥ −c with c = γ_{n+1}/(1−γ_{n+1})·tr(H), whatever the order of summation. Hence
λ_max(G) ≤ t + c + u·t. The rounding of G itself is at most γ_m‖M‖_F² in the 2-norm.
"""

from __future__ import annotations

import math

import numpy as np
import torch

UNIT = 2.0**-53
#: Largest Gram side that is factored; above it the Schur bound has to do.
LARGEST_SIDE = 6000
#: Up to here the estimate is a full eigenvalue solve, above it power iteration.
EIGEN_SIDE = 1600
#: Relative steps above the estimate at which the factorisation is tried; an eigenvalue solve is
#: good to 1e-10, power iteration is not.
STEPS = (1e-10, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5)


def gamma(n: int) -> float:
    """γ_n = nu/(1−nu), the relative error of a sum of n products."""
    return n * UNIT / (1.0 - n * UNIT)


def schur_bound(matrix: np.ndarray) -> float:
    """√(‖M‖₁‖M‖_∞) ≥ ‖M‖₂, rounded up."""
    size = np.abs(matrix)
    rows, columns = size.sum(axis=1).max(initial=0.0), size.sum(axis=0).max(initial=0.0)
    return math.sqrt(rows) * math.sqrt(columns) * (1.0 + 2 * gamma(max(matrix.shape) + 4))


def spectral_norm_bound(matrix: np.ndarray) -> float:
    """Upper bound on ‖M‖₂, within about 1e-9 of it for sides up to ``LARGEST_SIDE``.

    Parameters
    ----------
    matrix : (m, n) real or complex array.

    Returns
    -------
    float; never below the true norm. inf if the matrix is not finite.
    """
    return float(batched_norm_bound(matrix[None])[0])


def batched_norm_bound(matrices: np.ndarray) -> np.ndarray:
    """:func:`spectral_norm_bound` of each matrix of a stack (f, m, n)."""
    if matrices.size == 0:
        return np.zeros(matrices.shape[0])
    if not np.isfinite(matrices).all():
        return np.full(matrices.shape[0], np.inf)
    top = np.abs(matrices).max(axis=(1, 2))
    # a power of two, so that scaling is exact and squares neither overflow nor underflow
    scale = np.exp2(np.floor(np.log2(np.where(top > 0, top, 1.0))))
    scaled = matrices / scale[:, None, None]
    simple = np.array([schur_bound(m) for m in scaled])
    long, short = max(scaled.shape[1:]), min(scaled.shape[1:])
    if short > LARGEST_SIDE:
        bound = simple
    else:
        stack = torch.from_numpy(scaled)
        gram = (stack.mH @ stack if scaled.shape[2] == short else stack @ stack.mH).numpy()
        frobenius = (np.abs(scaled) ** 2).sum(axis=(1, 2)) * (1.0 + gamma(long * short + 2))
        # a complex product is four real ones, hence the factor 4
        squared = _largest_eigenvalue_bound(gram, frobenius) + gamma(4 * long + 8) * frobenius
        bound = np.minimum(np.sqrt(squared) * (1.0 + 4 * UNIT), simple)
    return np.where(top > 0, bound * scale, 0.0)


def gram_norm_bound(gram: torch.Tensor, trace: float, terms: int) -> float:
    """Upper bound on √λ_max of a positive semidefinite matrix, within about 1e-3 of it.

    Parameters
    ----------
    gram : (n, n) float64, symmetric, computed.
    trace : at least that of the exact matrix.
    terms : the computed matrix is off by at most γ_terms·trace in the 2-norm.
    """
    n = len(gram)
    slack = 4 * gamma(n + 1) / (1.0 - 4 * gamma(n + 1)) * n + 4 * UNIT
    bound, estimate = trace, largest_estimate(gram)
    for step in (1e-3, 1e-2, 0.1, 0.5):
        t = np.array([estimate * (1.0 + step) + 1e-290])
        if n <= LARGEST_SIDE and bool(_positive_definite(t, gram[None].numpy())[0]):
            bound = min(trace, float(t[0]) * (1.0 + slack))
            break
    return math.sqrt(bound + gamma(terms) * trace) * (1.0 + 4 * UNIT)


def largest_estimate(gram: torch.Tensor, steps: int = 20) -> float:
    """About the largest eigenvalue of a positive semidefinite matrix (n, n), hardly ever more.

    Lanczos' method: the largest eigenvalue within the span of G·s, G²·s, …; for matrices whose
    eigenvalues lie close together it is far nearer than as many steps of a power iteration.
    """
    vector = gram @ gram.diagonal().sqrt().nan_to_num(1.0, 1.0)
    size = torch.linalg.vector_norm(vector)
    basis: list[torch.Tensor] = []
    inner: list[torch.Tensor] = []
    for _ in range(min(steps, len(gram))):
        if not 0.0 < float(size) < math.inf:
            break
        basis.append(vector / size)
        vector = gram @ basis[-1]
        inner.append(vector)
        first, span = torch.linalg.vector_norm(vector), torch.stack(basis)
        for _ in range(2):  # once leaves what rounding makes of nearly dependent vectors
            vector = vector - span.T @ (span @ vector)
        size = torch.linalg.vector_norm(vector)
        # what is left of nothing is rounding
        if not float(size) > 1e-9 * float(first):
            break
    if not basis:
        return float(size) if float(size) > 0.0 else 0.0
    small = torch.stack(basis) @ torch.stack(inner).T
    small = 0.5 * (small + small.T)
    return float(torch.linalg.eigvalsh(small)[-1]) if bool(small.isfinite().all()) else math.inf


def _largest_eigenvalue_bound(gram: np.ndarray, trace: np.ndarray) -> np.ndarray:
    """Upper bounds on λ_max of a stack of Hermitian positive semidefinite matrices."""
    n = gram.shape[-1]
    estimate = _largest_eigenvalue_estimate(gram)
    slack = 4 * gamma(n + 1) / (1.0 - 4 * gamma(n + 1)) * n + 4 * UNIT
    bound = trace.copy()
    open_ = np.arange(gram.shape[0])
    for step in STEPS if n <= EIGEN_SIDE else STEPS[2:]:
        t = estimate[open_] * (1.0 + step) + 1e-290
        proved = _positive_definite(t, gram[open_])
        done = open_[proved]
        bound[done] = np.minimum(bound[done], t[proved] * (1.0 + slack))
        open_ = open_[~proved]
        if not open_.size:
            break
    return bound


def _largest_eigenvalue_estimate(gram: np.ndarray) -> np.ndarray:
    n = gram.shape[-1]
    stack = torch.from_numpy(gram)
    if n <= EIGEN_SIDE:
        return torch.linalg.eigvalsh(stack)[:, -1].numpy()
    start = np.random.default_rng(0).standard_normal((gram.shape[0], n, 1))
    vector = torch.from_numpy(start).to(stack.dtype)
    size = torch.ones(gram.shape[0], dtype=torch.float64)
    for _ in range(200):
        vector = stack @ vector
        size = torch.linalg.vector_norm(vector, dim=(1, 2))
        vector = vector / torch.where(size > 0, size, 1.0)[:, None, None]
    return size.numpy()


def _positive_definite(t: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Whether floating-point Cholesky of tI − G completes, for each matrix.

    LAPACK through torch: its blocked variant reorders the sums, which the theorem allows.
    """
    shifted = -torch.from_numpy(gram)
    shifted.diagonal(dim1=-2, dim2=-1).add_(torch.from_numpy(t)[:, None])
    factor, info = torch.linalg.cholesky_ex(shifted)
    finite = torch.isfinite(factor.abs()).flatten(1).all(dim=1)
    return ((info == 0) & finite).numpy()
