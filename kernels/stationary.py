"""Where an activation has a given slope: starting points, on which no proof rests.

Scalar functions that Numba compiles as they stand. :mod:`shapes` proves bounds from any point;
the nearer it is to the minimiser, the tighter they are.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

from . import scalar

EPS = 2.0**-52
#: Where x·tanh(x/2) = 2: there the slope of x·sigmoid(x) turns, to 2⁻⁵⁰.
SWISH_BEND = 2.3993572805154677


@register_jitable
def inner_slope(kind: int, x: float, a: float, b: float) -> float:
    """Slope of the curved piece that ``x`` belongs to, one-sided at its ends."""
    if kind == scalar.HARD_SWISH and -3.0 <= x <= 3.0:
        return (2.0 * x + 3.0) / 6.0
    return scalar.slope(kind, x, a, b)


@register_jitable
def _logistic(s: float) -> float:
    """|x| where the sigmoid has slope s; 0 where it is nowhere so steep."""
    if s >= 0.25:
        return 0.0
    return (
        -math.log(2.0 * s / ((1.0 - 2.0 * s) + math.sqrt(1.0 - 4.0 * s))) if s > 0.0 else math.inf
    )


@register_jitable
def _log(x: float) -> float:
    return math.log(x) if x > 0.0 else -math.inf


@register_jitable
def _power(s: float, right: bool, a: float) -> float:
    """Where a·x^(a − 1) = s, on the right of 0 or on the left (a is an integer)."""
    even = a % 2.0 == 0.0
    size = -s / a if even and not right else s / a
    nowhere = 0.0 if a > 1.0 else math.inf
    x = scalar.power(size, 1.0 / (a - 1.0)) if size > 0.0 else nowhere
    return x if right else -x


@register_jitable
def _gated(kind: int, s: float, bend: float, steepest: float, a: float) -> float:
    """Newton's method from a sine, between the inflections ±``bend``; nan too near to them.

    Slopes are ½ ± ``steepest`` there.
    """
    x = bend * math.asin(min(max((s - 0.5) / steepest, -1.0), 1.0)) / (0.5 * math.pi)
    for _ in range(4):
        bent = scalar.curvature(kind, x, a, 0.0)
        if not abs(bent) > 1e-3 * a:
            return math.nan
        ahead = x - (scalar.slope(kind, x, a, 0.0) - s) / bent
        x = min(max(ahead, -1.06 * bend), 1.06 * bend)
    return x


@register_jitable
def point_of_slope(kind: int, s: float, low: float, high: float, a: float, b: float) -> float:
    """Where a curved piece [low, high] has slope ``s``, or beyond an end of it if nowhere.

    nan where there is no simple formula.
    """
    if math.isnan(s):
        return math.nan
    right = low + high > 0.0
    side = 1.0 if right else -1.0
    if kind == scalar.SIGMOID:
        return side * _logistic(s)
    if kind == scalar.TANH:
        return side * 0.5 * _logistic(0.25 * s)
    if kind == scalar.SOFTPLUS:
        return _log(s / (1.0 - s)) if s < 1.0 else math.inf
    if kind == scalar.SOFTSIGN:
        return side * (max(1.0 / math.sqrt(s), 1.0) - 1.0 if s > 0.0 else math.inf)
    if kind == scalar.ERF:
        return side * math.sqrt(max(-_log(s / scalar.TWO_OVER_SQRT_PI), 0.0))
    if kind == scalar.EXP:
        return _log(s)
    if kind == scalar.ELU:
        return _log(s / a) if a != 0.0 else math.nan
    if kind == scalar.SELU:
        return _log(s / (a * b)) if a * b != 0.0 else math.nan
    if kind == scalar.CELU:
        return a * _log(s)
    if kind == scalar.HARD_SWISH:
        return 3.0 * s - 1.5
    if kind == scalar.LOG:
        return 1.0 / s if s > 0.0 else math.inf
    if kind == scalar.RECIPROCAL:
        return side * (1.0 / math.sqrt(-s) if s < 0.0 else math.inf)
    if kind == scalar.POW and a != 0.0 and a != 1.0:
        # an even power is one piece: its slope has the sign of x
        return _power(s, s / a > 0.0 if low < 0.0 < high else right, a)
    if kind == scalar.GELU and abs(low + high) < 2.0 / a:
        return _gated(kind, s, 1.0 / a, 0.629, a)
    if kind == scalar.SWISH and abs(low + high) < 2.0 * SWISH_BEND / a:
        return _gated(kind, s, SWISH_BEND / a, 0.6, a)
    return math.nan


@register_jitable
def _noise(kind: int) -> float:
    """Absolute error of slopes that have one; nothing is gained by a zero more exact than that."""
    gated = kind == scalar.GELU or kind == scalar.GELU_TANH
    gated = gated or kind == scalar.SWISH or kind == scalar.MISH
    return 4 * EPS if gated or kind == scalar.ERF or kind == scalar.CELU else 0.0


@register_jitable
def stationary(
    kind: int,
    w: float,
    g: float,
    lam: float,
    c: float,
    low: float,
    high: float,
    a: float,
    b: float,
    guess: float,
) -> tuple[float, float]:
    """Zero of λ(z − c) + wσ′(z) − g on [low, high] where it increases, and σ′ there.

    That is the guess, or the end next to it, if it will do, and if not found by Illinois, bisected.
    """
    noise = abs(w) * _noise(kind)
    if not math.isnan(guess):
        x = min(max(guess, low), high)
        slope = inner_slope(kind, x, a, b)
        m = w * slope
        h = lam * (x - c) + m - g
        if abs(h) <= 1e-13 * (lam * abs(x - c) + abs(m) + abs(g)) + noise:
            return x, slope
        if (x == low and h >= 0.0) or (x == high and h <= 0.0):
            return x, slope
    first, last = inner_slope(kind, low, a, b), inner_slope(kind, high, a, b)
    at_low, at_high = lam * (low - c) + w * first - g, lam * (high - c) + w * last - g
    if at_low >= 0.0:
        return low, first
    if at_high <= 0.0:
        return high, last
    z, slope, x, side = low, first, 0.5 * (low + high), 0
    for k in range(60):
        if not low < x < high:
            break
        z, slope = x, inner_slope(kind, x, a, b)
        m = w * slope
        h = lam * (x - c) + m - g
        if abs(h) <= 1e-13 * (lam * abs(x - c) + abs(m) + abs(g)) + noise:
            break
        if h < 0.0:
            low, at_low = x, h
            at_high *= 0.5 if side < 0 else 1.0
            side = -1
        else:
            high, at_high = x, h
            at_low *= 0.5 if side > 0 else 1.0
            side = 1
        x = 0.5 * (low + high)
        # a bisection in four guards against slopes of wild scale
        if k % 4 != 3 and at_high - at_low < math.inf:
            step = low - at_low * ((high - low) / (at_high - at_low))
            x = step if low < step < high else x
    return z, slope
