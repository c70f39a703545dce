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
#: What does not shrink with the radius may be so much; more is no bound.
MOST_REST = 1e100


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
    """X (m, n), gain·M with every row divided by a power of two: XXᵀ, its rows' squares, n.

    And X itself where it is the first.
    """

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

    Rows, and weights times what rows were divided by, are scaled by powers of two to about 1, so
    that squares which underflow are nothing beside others of the same sum.

    Parameters
    ----------
    parts : in float32, nothing is proved: a guide for where to prove something.
    weights : w (K, m), not negative.
    rest : |r| (m,) at most.
    """
    infinite = torch.full((len(weights), 3), torch.inf, dtype=torch.float64)
    parts = [part for part in parts if bool((part.rows != 0).any())]
    known = bool(rest.isfinite().all()) and all(
        math.isfinite(part.gain) and part.rest < MOST_REST and bool(part.rows.isfinite().all())
        for part in parts
    )
    if not known:
        return infinite
    exponents = _exponents(parts, rest)
    scaled = [_scaled(part, exponents) for part in parts]
    proves = all(part.rows.dtype is torch.float64 for part in parts)
    floor = max((part.floor for part in parts), default=0.0)
    result = []
    for weight in weights:
        ready, exponent = _balanced(weight, exponents)
        gain = _gain(scaled, ready, proves)
        if norm is Norm.L1 and any(part.first is not None for part in scaled):
            gain = min(gain, _by_columns(scaled, ready, proves))
        lost = _length(weight * rest)
        for part in parts:
            lost += _length(weight[:, None] * part.rows) * part.rest if part.rest else 0.0
        # the last summand is for what underflows
        whole = _ldexp(gain, exponent) * (1 + 4 * UNIT) + 1e-300
        result.append([whole, lost * (1 + 8 * UNIT) + 1e-140, floor])
    found = torch.tensor(result, dtype=torch.float64)
    return torch.where(found.isnan().any(dim=1, keepdim=True), infinite, found)


def _length(values: torch.Tensor) -> float:
    """At least the 2-norm of all entries, but for those that underflow."""
    top = float(values.abs().max()) if values.numel() else 0.0
    if not 0.0 < top < math.inf:
        return top
    size = float(torch.linalg.vector_norm(values.double() / top))
    return top * size * (1 + 2 * gamma(values.numel() + 32))


def _exponents(parts: list[Part], rest: torch.Tensor) -> torch.Tensor:
    """(m,) of the powers of two that rows of all parts together are divided by."""
    tops = [part.rows.abs().amax(dim=1).double().log2() + _log2(part.gain) for part in parts]
    most = torch.stack([torch.full_like(rest, -torch.inf), *tops]).amax(dim=0)
    return torch.where(most.isfinite(), most.floor(), 0.0)


def _log2(x: float) -> float:
    return math.log2(x) if x > 0 else -math.inf


def _scaled(part: Part, exponents: torch.Tensor) -> _Scaled:
    mantissa, power = math.frexp(part.gain)
    shift = power - exponents[:, None]
    # a power of two may be out of range where its halves are not
    half = torch.exp2((0.5 * shift).floor())
    factors = (half, torch.exp2(shift - (0.5 * shift).floor()))
    rows = part.rows * mantissa * factors[0].to(part.rows.dtype) * factors[1].to(part.rows.dtype)
    gram, squares = rows @ rows.T, rows.square().sum(dim=1, dtype=torch.float64)
    return _Scaled(gram.double(), squares, rows.shape[1], rows if part.first else None)


def _balanced(weight: torch.Tensor, exponents: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Weights times the powers of two, scaled by a power of two to 1 at most; its exponent."""
    mantissa, power = torch.frexp(weight)
    sizes = torch.where(mantissa > 0, power + exponents, -torch.inf)
    most = float(sizes.max()) if len(sizes) else -math.inf
    if not math.isfinite(most):
        return torch.zeros_like(weight), 0.0
    return mantissa * torch.exp2((sizes - most).clamp(min=-1000.0)) * (sizes > -torch.inf), most


def _ldexp(x: float, exponent: float) -> float:
    """x·2^exponent, whatever comes of it."""
    half = exponent // 2
    try:
        return x * 2.0**half * 2.0 ** (exponent - half)
    except OverflowError:
        return math.inf


def _gain(parts: list[_Scaled], weight: torch.Tensor, proves: bool) -> float:
    """The gain of scaled parts with scaled weights.

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
