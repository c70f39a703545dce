"""What boxes forget: that the entries of a value cannot all be far out together.

Used where an activation is made of two straight pieces that meet at 0. About any point p

    σ(z) = σ(p) + m·(z − p) + e,    |e| ≤ h·|z − p|,

m ± h the slopes of all chords from p into the box. So some entries of an operand deviate from p by
Σ_j M_j·e_j and rounding, the input's own perturbation one of the e_j, and the 2-norm of that is at
most √λ, λ the largest eigenvalue of Σ (η_j²/θ_j)·M_jM_jᵀ, where ‖e_j‖₂ ≤ η_j and Σθ_j ≤ 1 (Cauchy
and Schwarz). With ‖z − p‖₂ ≤ ρ over the entries that may bend, for all slopes g and every λ ≥ 0

    c·σ(z) ≥ g·z + Σ_i min_{z_i in box} (½λ(z_i − p_i)² + c_iσ(z_i) − g_i z_i) − ½λρ².
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.choices import Choices, Levels, multipliers, starting_levels
from boundcert.checker.curves import CURVES
from boundcert.checker.lines import Lines
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Bend, Node
from boundcert.checker.rounding import UNIT, gamma

#: Most products that the norm of one node's matrices may take.
MOST = 4 * 10**10


@dataclass(frozen=True)
class Bends:
    """An activation over a box: what is known of its ``entries`` (n,) that may bend.

    Attributes
    ----------
    left, right : slopes on both sides of 0.
    low, high, point : of the box, and p.
    middle, half : m and h.
    """

    entries: NDArray[np.int64]
    left: Array
    right: Array
    low: Array
    high: Array
    point: Array
    middle: Array
    half: Array

    def take(self, which: NDArray[np.int64]) -> Bends:
        """Some of them."""
        return Bends(*(part[which] for part in vars(self).values()))


@dataclass(frozen=True)
class Source:
    """What a node leaves behind when rows go back about the point.

    Attributes
    ----------
    value : of the node at the point (n,).
    slope : what rows pass on with (n,); None if they do not pass.
    entries : where anything is left; ``size`` bounds its 2-norm.
    """

    value: Array
    slope: Array | None
    entries: NDArray[np.int64]
    size: float


def two_pieces(node: Node) -> bool:
    """Whether this is for such a node."""
    if not isinstance(node, Bend) or not CURVES[node.name].straight:
        return False
    pieces = CURVES[node.name].pieces(float(node.a.ravel()[0]), node.b)
    return len(pieces) == 2 and pieces[0][1] == 0.0


def sides(node: Bend) -> tuple[Array, Array]:
    """Slopes (n,) below and above 0: σ is exact at ∓1."""
    one = np.ones(node.n)
    curve = CURVES[node.name]
    return -curve.value(-one, node.a, node.b), curve.value(one, node.a, node.b)


def bends_of(node: Bend, low: Array, high: Array, point: Array) -> tuple[Bends, Array]:
    """The entries that may bend, and m (n,) for all.

    On the other side of 0 from p a chord's slope lies between that on p's own side and that of the
    longest chord; computed, it is off by some units in the last place.
    """
    left, right = sides(node)
    own, other = (np.where(point > 0, *pair) for pair in ((right, left), (left, right)))
    # p may be rounded out of the box, and to the other side
    crossed = (np.minimum(low, point) < 0) & (np.maximum(high, point) > 0) & (left != right)
    end = np.where(point > 0, low, high)
    share = np.where(crossed, end / np.where(crossed, end - point, 1.0), 0.0)
    share = np.clip(np.nan_to_num(share, nan=1.0), 0.0, 1.0)
    far = own + share * (other - own)
    slack = 16 * UNIT * (np.abs(own) + np.abs(other))
    alone = np.where(np.minimum(low, point) >= 0, right, left)
    middle = np.where(crossed, 0.5 * own + 0.5 * far, alone)
    half = 0.5 * np.abs(far - own) + slack
    at = np.nonzero(crossed)[0]
    parts = (left, right, low, high, point, middle, half)
    return Bends(at, *(part[at] for part in parts)), middle


def norm_bound(parts: list[tuple[Array, float]], weight: Array) -> float:
    """At least ‖weight∘Σ_j M_j·e_j‖₂ for M_j (R, n) and ‖e_j‖₂ ≤ η_j; inf: not known.

    λ ≤ t where a Cholesky factorisation of tI − G in float64 runs to its end, but for
    γ_{R+1}·tr (Rump, BIT 46, 2006). G itself is off by γ of its products' magnitudes, whose matrix
    has a 2-norm of at most the trace.
    """
    scaled = [(weight * size)[:, None] * rows for rows, size in parts if rows.size and size != 0]
    if not scaled or not weight.any():
        return 0.0
    if len(scaled) == 1 and len(weight) > scaled[0].shape[1]:
        scaled = [scaled[0].T]  # of the same 2-norm
    grams = [x @ x.T for x in scaled]
    sizes = [math.sqrt(max(_estimate(gram), 0.0)) for gram in grams]
    whole = sum(sizes)
    if not math.isfinite(whole):
        return math.inf
    shares = np.maximum(np.array(sizes) / (whole or 1.0), 1e-3)
    shares = shares / shares.sum() * (1 - 1e-12)
    total = sum(gram / share for gram, share in zip(grams, shares))
    trace = sum(float((x * x).sum()) / share for x, share in zip(scaled, shares))
    terms, count = max(x.shape[1] for x in scaled) + len(scaled) + 32, len(scaled[0])
    trace *= 1 + gamma(terms + count)
    bound, about = trace, max(_estimate(np.asarray(total)), 0.0)
    for step in (1e-4, 1e-3, 4e-3, 2e-2, 0.1):
        level = about * (1 + step)
        try:
            factor = np.linalg.cholesky(level * np.eye(count) - total)
        except np.linalg.LinAlgError:
            continue
        if np.isfinite(factor).all():
            bound = min(bound, level * (1 + 4 * gamma(count + 1) * count + 4 * UNIT))
            break
    found = math.sqrt(bound + gamma(terms) * trace) * (1 + 8 * UNIT) + 1e-140
    return found if math.isfinite(found) else math.inf


def _estimate(gram: Array) -> float:
    """About the largest eigenvalue, by Lanczos' method: how good bounds are depends on it only."""
    vector, first, basis, inner = gram @ np.ones(len(gram)), 0.0, [], []
    for _ in range(min(20, len(gram))):
        size = float(np.linalg.norm(vector))
        # what is left of nothing is rounding
        if not first * 1e-9 < size < math.inf:
            break
        basis.append(vector / size)
        vector = gram @ basis[-1]
        first = float(np.linalg.norm(vector))
        inner.append(vector)
        span = np.stack(basis)
        for _ in range(2):
            vector = vector - span.T @ (span @ vector)
    if not basis:
        return float(np.abs(np.diag(gram)).max(initial=0.0))
    small = np.stack(basis) @ np.stack(inner).T
    finite = bool(np.isfinite(small).all())
    return float(np.linalg.eigvalsh(0.5 * (small + small.T))[-1]) if finite else math.inf


def dual(c: Array, level: Array, bends: Bends, below: Array, above: Array) -> tuple[Array, Array]:
    """Slopes g (R, n) and Σ_i min … (R,), rounded down, for multipliers λ = ``level`` > 0 (R,).

    g is c times one of three slopes, entry by entry that with the largest minimum at p: of the line
    (``below`` where c > 0), of the piece that p lies on, or their mean. A parabola on a piece is
    least at its vertex or at an end: at a computed one it is off by no more than its slope there,
    a rounding error, may cost over the piece.
    """
    lam = level[:, None]
    base = np.where(c > 0, below, above)
    own = np.broadcast_to(np.where(bends.point > 0, bends.right, bends.left), c.shape)
    best, slope = np.full(c.shape, -np.inf), np.zeros(c.shape)
    for tried in (base, own, 0.5 * (base + own)):
        g = c * tried
        least = np.full(c.shape, np.inf)
        for steep, start, end in (
            (bends.left, bends.low, np.minimum(bends.high, 0.0)),
            (bends.right, np.maximum(bends.low, 0.0), bends.high),
        ):
            tilt = c * steep - g
            z = np.clip(bends.point - tilt / lam, start, end)
            apart = z - bends.point
            least = np.minimum(least, 0.5 * lam * apart * apart + tilt * z)
        # compared at p
        better = least + g * bends.point > best + slope * bends.point
        best, slope = np.where(better, least, best), np.where(better, g, slope)
    reach = np.maximum(np.abs(bends.low), np.abs(bends.high)) + np.abs(bends.point)
    steep = np.abs(c) * np.maximum(np.abs(bends.left), np.abs(bends.right)) + np.abs(slope)
    size = (0.5 * lam * reach * reach + steep * reach).sum(axis=1)
    return slope, best.sum(axis=1) - size * (gamma(c.shape[1] + 64)) - 1e-300


class Freed(NamedTuple):
    """Rows that take multipliers, for which entries, with what slopes, and what that adds."""

    rows: NDArray[np.int64]
    entries: NDArray[np.int64]
    slopes: Array
    gain: Array


def by_multipliers(
    rows: Array, bends: Bends, spread: float, lines: Lines, choices: Choices
) -> Freed | None:
    """What multipliers make of rows (R, n) of a node; None where there are none."""
    used = np.nonzero((rows[:, bends.entries] != 0).any(axis=0))[0]
    if not len(used) or not 0.0 < spread < math.inf:
        return None
    bends, entries = bends.take(used), bends.entries[used]
    c = rows[:, entries]
    below, above = lines.below_slope[entries], lines.above_slope[entries]

    def bound(which: NDArray[np.int64], lam: Array) -> tuple[Array, Array]:
        slopes, least = dual(c[which], lam, bends, below, above)
        return slopes, _less(least, 0.5 * lam * spread * spread * (1 + 8 * UNIT))

    def value(levels: Levels) -> Array:
        found = np.where(c > 0, c * below, c * above) @ bends.point
        found = found + np.maximum(c, 0.0) @ lines.below[entries]
        found = found + np.minimum(c, 0.0) @ lines.above[entries]
        which, lam = multipliers(levels)
        slopes, least = bound(which, lam)
        found[which] = least + slopes @ bends.point
        return found

    start = starting_levels(np.linalg.norm(c, axis=1), spread)
    which, lam = multipliers(choices.levels(start, value))
    return Freed(which, entries, *bound(which, lam)) if len(which) else None


def _less(base: Array, lost: Array) -> Array:
    return base - lost - (np.abs(base) + lost) * (4 * UNIT)
