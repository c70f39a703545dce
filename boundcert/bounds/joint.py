"""The 2-norm of a sum of linear images of balls."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from boundcert.layers.base import UNIT
from boundcert.layers.spectral import gamma, gram_norm_bound, largest_estimate
from boundcert.norms import Norm

#: No source counts for less than this share of them all: estimates of norms may be off.
LEAST_SHARE = 1e-3
#: An estimate of a norm grows by so much to what would be proved of it, about.
ESTIMATED = 1 + 5e-4


class Part(NamedTuple):
    """M_j (m, n) and what is known of e_j: ‖e_j‖₂ ≤ gain·s + rest on balls of radius s ≥ floor.

    ``first`` says that e_j is the perturbation itself.
    """

    rows: torch.Tensor
    gain: float
    rest: float
    floor: float
    first: bool = False


class _Scaled(NamedTuple):
    """X = gain·M (m, n) over a power of two: XXᵀ, its rows' squares, n, itself if it is first."""

    gram: torch.Tensor
    squares: torch.Tensor
    terms: int
    first: torch.Tensor | None


def joint_norms(
    parts: list[Part], weights: torch.Tensor, rest: torch.Tensor, norm: Norm
) -> torch.Tensor:
    """Gain, rest and floor (K, 3) of bounds gain·s + rest on ‖w∘(Σ_j M_j·e_j + r)‖₂, s ≥ floor.

    For |u| = 1 and any θ > 0 with Σθ_j ≤ 1 (Cauchy and Schwarz)

        Σ_j gain_j·‖M_jᵀu‖ ≤ √(uᵀ(Σ_j (gain_j²/θ_j)·M_jM_jᵀ)u),

    so the root of that matrix' largest eigenvalue is a gain. θ_j are the summands' shares of the
    sum of all norms, as estimated: any will do. What is not proportional to s, ‖w∘r‖ and
    ‖w∘M_j‖_F·rest_j, is added up. Over balls of norm 1 the perturbation is in the convex hull of
    the axes, where its own part is a column, and the others follow apart.

    Parameters
    ----------
    parts : in float32, nothing is proved: a guide for where to prove something.
    weights : w (K, m), not negative.
    rest : |r| (m,) at most.
    """
    infinite = torch.full((len(weights), 3), torch.inf, dtype=torch.float64)
    parts = [part for part in parts if bool((part.rows != 0).any())]
    known = bool(rest.isfinite().all()) and all(
        math.isfinite(part.gain) and bool(part.rows.isfinite().all()) for part in parts
    )
    if not known:
        return infinite
    top = max((float(part.rows.abs().max()) * part.gain for part in parts), default=0.0)
    scale = 2.0 ** math.floor(math.log2(top)) if 0.0 < top < math.inf else 1.0
    floor = max((part.floor for part in parts), default=0.0)
    scaled = [_scaled(part, scale) for part in parts]
    proves = all(part.rows.dtype is torch.float64 for part in parts)
    result = []
    for weight in weights:
        gain = _gain(scaled, weight, proves)
        if norm is Norm.L1 and any(part.first is not None for part in scaled):
            gain = min(gain, _by_columns(scaled, weight, proves))
        lost = float(torch.linalg.vector_norm(weight * rest))
        for part in (part for part in parts if part.rest):
            lost += float(torch.linalg.vector_norm(weight[:, None] * part.rows)) * part.rest
        # sums of squares of no more than so many terms; those that underflow are in 1e-140
        inflation = 1 + 2 * gamma(sum(part.rows.numel() for part in parts) + 64)
        result.append([gain * scale * (1 + 4 * UNIT), lost * inflation + 1e-140, floor])
    found = torch.tensor(result, dtype=torch.float64)
    return torch.where(found.isnan().any(dim=1, keepdim=True), infinite, found)


def _scaled(part: Part, scale: float) -> _Scaled:
    rows = part.rows * (part.gain / scale)
    gram, squares = rows @ rows.T, rows.square().sum(dim=1, dtype=torch.float64)
    return _Scaled(gram.double(), squares, rows.shape[1], rows if part.first else None)


def _gain(parts: list[_Scaled], weight: torch.Tensor, proves: bool) -> float:
    """The gain in units of the scale.

    Computed entries are sums of ``terms`` products, weighted and added up: off by at most γ of
    what their magnitudes come to, a matrix whose 2-norm is no more than the trace.
    """
    if not parts or not bool((weight != 0).any()):
        return 0.0
    grams = [weight[:, None] * part.gram * weight for part in parts]
    sizes = [math.sqrt(largest_estimate(gram)) for gram in grams]
    whole = sum(sizes)
    shares = [max(size / whole, LEAST_SHARE) if whole > 0 else 1.0 for size in sizes]
    shares = [share / sum(shares) * (1 - 1e-12) for share in shares]
    total = sum((gram / share for gram, share in zip(grams, shares)), torch.zeros(()))
    if not proves:
        return math.sqrt(largest_estimate(total)) * ESTIMATED
    terms = max(part.terms for part in parts) + len(parts) + 32
    squares = [float((weight * weight * part.squares).sum()) for part in parts]
    trace = sum(square / share for square, share in zip(squares, shares))
    trace *= 1 + 2 * gamma(terms + len(weight))
    # products that underflow beside entries of about 1
    return gram_norm_bound(total, trace, terms) + 1e-140


def _by_columns(parts: list[_Scaled], weight: torch.Tensor, proves: bool) -> float:
    """The gain over balls of norm 1: the longest column of the first part, and all the others."""
    (rows,) = (part.first for part in parts if part.first is not None)
    columns = torch.linalg.vector_norm(weight[:, None] * rows, dim=0)
    longest = float(columns.max()) * (1 + 2 * gamma(len(rows) + 32)) + 1e-140
    return longest + _gain([part for part in parts if part.first is None], weight, proves)
