"""Rigorous minima of activations over boxes, from where they bend and which way.

Scalar functions in plain Python that Numba compiles as they stand. An activation σ is known by
its value, its slope (:mod:`scalar`) and its *pieces*, rows (start, end, sign): σ is convex
(sign 1), concave (−1), linear (0) or merely differentiable with |σ″| ≤ 2 (sign 2, the narrow
zones around inflections that no double represents) on each.

The one proof behind all of it. On a piece [l, u] there is a *support* of wσ: numbers m, e, q, v
with wσ(z) ≥ v + m(z − q) − e|z − q| there,

- wσ convex: q any point of the piece, v = wσ(q), m a computed subgradient, e its error;
- wσ concave or linear: the secant; v the smaller of what the two ends allow, e = 0;
- neither: q = l, v = wσ(l), m = wσ′(l), e = 2|w|(u − l) and the error of m.

Let Q(z) = λ/2 (z − c)² + v + m(z − q) − gz and z₀ any point of [l, u]. With r the computed Q′(z₀)
and ε ≥ its error + e, every z of [l, u] has Q(z) − e|z − q| ≥ Q(z₀) − e|z₀ − q| − loss,
loss = max((ε − r)(u − z₀), (ε + r)(z₀ − l), 0) by convexity of Q, and also
loss = (|r| + ε)²/2λ. So no root finder, no heuristic and no slope is trusted: they only make
the bound tight. Library functions count as within 4 ulp. Operands above ``BIG`` are refused, so
that everything underflow can do stays below ``TINY``.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from . import scalar
from .stationary import EPS, inner_slope, point_of_slope, stationary

BIG, TINY = 1e100, 1e-100
#: Errors of computed values and slopes, in units of the magnitudes below (derived there).
VALUE_FUZZ, SLOPE_FUZZ = 16 * EPS, 32 * EPS
#: Bound on |σ″| where a piece says only "neither" (the GELUs; their largest is 0.8).
BEND = 2.0


@register_jitable
def value(kind: int, x: float, a: float, b: float) -> float:
    """Activation ``kind`` at ``x``, to 16·2⁻⁵³·(|x| + |value|); nan where undefined."""
    if kind == scalar.RELU:
        return max(x, 0.0)
    if kind == scalar.LEAKY:
        return x if x > 0.0 else a * x
    if kind == scalar.ELU:
        return x if x > 0.0 else a * math.expm1(x)
    if kind == scalar.SELU:
        return b * x if x > 0.0 else b * (a * math.expm1(x))
    if kind == scalar.CELU:
        return x if x > 0.0 else a * math.expm1(x / a)
    if kind == scalar.SIGMOID:
        return scalar.sigmoid(x)
    if kind == scalar.HARD_SIGMOID:
        return min(max(a * x + b, 0.0), 1.0)
    if kind == scalar.TANH:
        return math.tanh(x)
    if kind == scalar.SOFTPLUS:
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
    if kind == scalar.SOFTSIGN:
        return x / (1.0 + abs(x))
    if kind == scalar.GELU:
        return 0.5 * x * math.erfc(-a * x)
    if kind == scalar.GELU_TANH:
        if abs(x) > 1e3:
            return max(x, 0.0)
        t = a * (x + b * x * x * x)
        return x * scalar.sigmoid(2.0 * t)
    if kind == scalar.CLIP:
        return min(max(x, a), b)
    if kind == scalar.ABS:
        return abs(x)
    if kind == scalar.POW:
        return scalar.power(x, a)
    if kind == scalar.ERF:
        return math.erf(x)
    if kind == scalar.EXP:
        return math.exp(x) if x < 709.0 else math.inf
    if kind == scalar.HARD_SWISH:
        return x * min(max(x / 6.0 + 0.5, 0.0), 1.0)
    if kind == scalar.RECIPROCAL:
        return 1.0 / x if x != 0.0 else math.inf
    if kind == scalar.LOG:
        return math.log(x) if x > 0.0 else (-math.inf if x == 0.0 else math.nan)
    if kind == scalar.SWISH:
        return x * scalar.sigmoid(a * x)
    if kind == scalar.MISH:
        return x * scalar.mish_parts(x)[0]
    return math.nan


@register_jitable
def value_error(kind: int, x: float, v: float, a: float, b: float) -> float:
    """Bound on the error of ``v = value(kind, x, a, b)``.

    With 4 ulp (8u, u = 2⁻⁵³) a library call: sigmoid 14u|v|, softplus 17u|v|, the exponential
    linear units 11u|v| (the condition number of expm1 below 0 is at most 1), the others less.
    GELU: the rounding of the argument, and of a, moves erfc by u absolutely, so 16u|x| covers; its
    tanh twin likewise, y·e⁻ʸ being bounded: 20u|x|; Swish 14u|v| + u|x|. Mish 31u|v|. HardSwish
    3u|x|; HardSigmoid 3u(|ax| + |b|).
    """
    size = abs(v)
    if kind == scalar.RELU or kind == scalar.ABS or kind == scalar.CLIP:
        return 0.0
    if kind == scalar.GELU or kind == scalar.GELU_TANH or kind == scalar.SWISH:
        size += abs(x)
    if kind == scalar.HARD_SWISH:
        size += abs(x)
    if kind == scalar.HARD_SIGMOID:
        size = abs(a * x) + abs(b)
    return VALUE_FUZZ * size


@register_jitable
def slope_error(kind: int, x: float, m: float, a: float, b: float) -> float:
    """Bound on the error of ``m = inner_slope(kind, x, a, b)``.

    Relative (at most 22u, tanh) but for functions of a rounded exponent, whose relative error
    grows with it while y·e⁻ʸ ≤ 0.37 keeps the absolute one below 46u. Swish and Mish are sums of
    two terms of up to 1.3, each off by at most 25u of it. Pow: the rounding of
    a − 1 moves the result by u·|a − 1|·|log x|. HardSigmoid near a kink: either slope is one
    of the linear functions it is the maximum of, so an error of side costs nothing.
    """
    size = abs(m)
    if kind == scalar.GELU or kind == scalar.GELU_TANH or kind == scalar.ERF or kind == scalar.CELU:
        size += 1.0
    if kind == scalar.SWISH or kind == scalar.MISH:
        size += 1.0
    if kind == scalar.POW and x != 0.0:
        size *= 1.0 + abs(a - 1.0) * abs(math.log(abs(x)))
    return SLOPE_FUZZ * size


@register_jitable
def _tangent(
    kind: int, w: float, q: float, slope: float, extra: float, a: float, b: float
) -> tuple[float, float, float, float, float]:
    """Support (m, e, q, v, error of v) of wσ at q, by σ′(q); ``extra`` more error of that."""
    m, v = w * slope, value(kind, q, a, b)
    e = abs(w) * (slope_error(kind, q, slope, a, b) + extra)
    off = abs(w) * value_error(kind, q, v, a, b)
    return m, e + EPS * abs(m), q, w * v, off + EPS * abs(w * v)


@register_jitable
def _secant(
    kind: int, w: float, low: float, high: float, s: float, t: float, a: float, b: float
) -> tuple[float, float, float, float, float]:
    """Support of a concave wσ: the line through both ends, lowered until neither is below it.

    ``s`` and ``t`` are the values of σ at the ends.
    """
    wide = high - low
    m = w * ((t - s) / wide) if wide > 0.0 else 0.0
    v = min(w * s, w * t - m * wide)
    off = max(value_error(kind, low, s, a, b), value_error(kind, high, t, a, b))
    return m, 0.0, low, v, abs(w) * off + 4 * EPS * (abs(w * s) + abs(w * t) + abs(m * wide))


@register_jitable
def quadratic(
    lam: float,
    c: float,
    g: float,
    low: float,
    high: float,
    support: tuple[float, float, float, float, float],
    here: bool,
) -> tuple[float, float]:
    """Rigorous minimum of λ/2 (z − c)² − gz + support over [low, high]; see the module.

    z₀ is the point of support if ``here``, as it is where that was the minimiser: the minimiser
    of a nearly flat Q itself may be far from it.
    """
    m, e, q, v, off = support
    d = m - g
    z = q
    if not here:
        z = c - d / lam if lam > 0.0 else (low if d > 0.0 else high)
    z = min(max(z, low), high)
    t = z - c
    r = lam * t + d
    wrong = 4 * EPS * (lam * abs(t) + abs(m) + abs(g)) + e
    loss = max((wrong - r) * (high - z), (wrong + r) * (z - low), 0.0)
    if lam > 0.0:
        loss = min(loss, (abs(r) + wrong) * ((abs(r) + wrong) / (2.0 * lam)))
    bend, line, pull = 0.5 * (lam * t) * t, m * (z - q), g * z
    size = bend + abs(v) + abs(line) + abs(pull)
    error = 8 * EPS * size + off + e * abs(z - q) + loss
    return bend + v + line - pull - error * (1.0 + 16 * EPS) - TINY, z


@register_jitable
def floor_between(
    kind: int,
    w: float,
    g: float,
    lam: float,
    centre: float,
    low: float,
    high: float,
    at_low: float,
    at_high: float,
    guess: float,
    a: float,
    b: float,
    pieces: NDArray[np.float64],
) -> tuple[float, float]:
    """:func:`floor` of numbers in its range and a box in the domain, with what is known of them.

    ``at_low`` and ``at_high`` are σ at the ends. ``guess``, where the piece it lies on may have its
    minimum, may be wrong, or nan.
    """
    best, z = math.inf, low
    for k in range(pieces.shape[0]):
        l, u = max(low, pieces[k, 0]), min(high, pieces[k, 1])  # noqa: E741
        # a part of one point is the end of a neighbour, unless it is the whole box
        if l > u or (l == u and low < high):
            continue
        s = at_low if l == low else value(kind, l, a, b)
        t = at_high if u == high else value(kind, u, a, b)
        if not math.isfinite(s) or not math.isfinite(t):
            return -math.inf, l
        sign = pieces[k, 2]
        convex = sign * w > 0.0 and sign != 2.0
        if sign == 2.0:
            support = _tangent(kind, w, l, inner_slope(kind, l, a, b), BEND * (u - l), a, b)
        elif convex and l < u:
            near = guess
            if lam == 0.0 and not l <= near <= u:
                near = point_of_slope(kind, g / w, l, u, a, b)
            q, slope = stationary(kind, w, g, lam, centre, l, u, a, b, near)
            support = _tangent(kind, w, q, slope, 0.0, a, b)
        else:
            support = _secant(kind, w, l, u, s, t, a, b)
        bound, point = quadratic(lam, centre, g, l, u, support, convex)
        if not bound > -math.inf:
            return -math.inf, l
        if bound < best:
            best, z = bound, point
    return (best, z) if best < math.inf else (-math.inf, z)


@register_jitable
def floor(
    kind: int,
    w: float,
    g: float,
    lam: float,
    centre: float,
    low: float,
    high: float,
    a: float,
    b: float,
    pieces: NDArray[np.float64],
) -> tuple[float, float]:
    """Rigorous lower bound of min λ/2 (z − centre)² + wσ(z) − gz over z in [low, high].

    Parameters
    ----------
    kind : activation code. w, g, lam, centre, low, high : finite, lam ≥ 0, low ≤ high.
    a, b : parameters of the activation.
    pieces : (m, 3), see the module.

    Returns
    -------
    bound : −inf where σ is undefined on part of the box (and w ≠ 0) or a number is not finite.
    z : an approximate minimiser in the box.
    """
    biggest = max(max(abs(low), abs(high)), max(abs(centre), lam))
    if not (low <= high and lam >= 0.0 and max(biggest, max(abs(w), abs(g))) <= BIG):
        return -math.inf, 0.0
    if math.isnan(w) or math.isnan(g) or math.isnan(centre) or math.isnan(lam):
        return -math.inf, 0.0
    if w == 0.0:
        return quadratic(lam, centre, g, low, high, (0.0, 0.0, low, 0.0, 0.0), False)
    m = pieces.shape[0]
    if m == 0 or low < pieces[0, 0] or high > pieces[m - 1, 1]:
        return -math.inf, low
    ends = value(kind, low, a, b), value(kind, high, a, b)
    return floor_between(kind, w, g, lam, centre, low, high, *ends, math.nan, a, b, pieces)
