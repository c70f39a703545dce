"""First and second derivatives of every activation, as scalar functions.

One place for all backends: plain Python arithmetic over ``math`` that Numba compiles as it
stands (``register_jitable`` leaves the functions plain) and NumPy calls through ``vectorize``.
``kind`` is one of the codes below; ``a`` and ``b`` are the activation's parameters. At a kink the
value is one of the one-sided slopes; the caller adds the others through its table of critical
slopes.
"""

from __future__ import annotations

import math

from numba.extending import register_jitable

RELU, LEAKY, ELU, SELU, CELU, SIGMOID, HARD_SIGMOID, TANH = range(8)
SOFTPLUS, SOFTSIGN, GELU, GELU_TANH, CLIP, ABS, POW, ERF, EXP, HARD_SWISH, RECIPROCAL, LOG = range(
    8, 20
)
SWISH, MISH = 20, 21

TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


@register_jitable
def sigmoid(x: float) -> float:
    """1/(1+e^-x) without overflow."""
    e = math.exp(-abs(x))
    return 1.0 / (1.0 + e) if x >= 0 else e / (1.0 + e)


@register_jitable
def logistic_slope(x: float) -> float:
    """Derivative of the sigmoid, even in x, without cancellation."""
    e = math.exp(-abs(x))
    return e / ((1.0 + e) * (1.0 + e))


@register_jitable
def tanh_slope(x: float) -> float:
    """Derivative of tanh, sech², without cancellation."""
    return 4.0 * logistic_slope(2.0 * x)


@register_jitable
def mish_parts(x: float) -> tuple[float, float]:
    """tanh(softplus(x)) and its derivative, without cancellation.

    With e = eˣ they are n/(n + 2), n = e² + 2e, and 4e(1 + e)/(n + 2)².
    """
    w = math.exp(-abs(x))
    if x > 0.0:
        whole = 1.0 + 2.0 * w + 2.0 * w * w
        return (1.0 + 2.0 * w) / whole, 4.0 * w * w * (1.0 + w) / (whole * whole)
    n = w * w + 2.0 * w
    return n / (n + 2.0), 4.0 * w * (1.0 + w) / ((n + 2.0) * (n + 2.0))


@register_jitable
def power(x: float, e: float) -> float:
    """x**e over the reals: nan where undefined, inf at a pole or on overflow."""
    if x < 0.0 and e != math.floor(e):
        return math.nan
    if x == 0.0 and e < 0.0:
        return math.inf
    if x == 0.0:
        return 1.0 if e == 0.0 else 0.0
    log_size = e * math.log(abs(x))
    if log_size > 709.0:
        return -math.inf if x < 0.0 and e % 2.0 != 0.0 else math.inf
    return x**e


@register_jitable
def slope(kind: int, x: float, a: float, b: float) -> float:
    """First derivative of activation ``kind`` at ``x``."""
    if kind == RELU:
        return 1.0 if x > 0 else 0.0
    if kind == LEAKY:
        return 1.0 if x > 0 else a
    if kind == ELU:
        return 1.0 if x > 0 else a * math.exp(x)
    if kind == SELU:
        return b if x > 0 else b * a * math.exp(x)
    if kind == CELU:
        return 1.0 if x > 0 else math.exp(x / a)
    if kind == SIGMOID:
        return logistic_slope(x)
    if kind == HARD_SIGMOID:
        return a if 0.0 < a * x + b < 1.0 else 0.0
    if kind == TANH:
        return tanh_slope(x)
    if kind == SOFTPLUS:
        return sigmoid(x)
    if kind == SOFTSIGN:
        return 1.0 / ((1.0 + abs(x)) * (1.0 + abs(x)))
    if kind == GELU:
        t = a * x
        return 0.5 * math.erfc(-t) + 0.5 * TWO_OVER_SQRT_PI * t * math.exp(-min(t * t, 1000.0))
    if kind == GELU_TANH:
        if abs(x) > 1e3:
            return 1.0 if x > 0 else 0.0
        t = a * (x + b * x * x * x)
        dt = a * (1.0 + 3.0 * b * x * x)
        return sigmoid(2.0 * t) + 0.5 * x * tanh_slope(t) * dt
    if kind == CLIP:
        return 1.0 if a < x < b else 0.0
    if kind == ABS:
        return 1.0 if x > 0 else -1.0
    if kind == POW:
        return a * power(x, a - 1.0)
    if kind == ERF:
        return TWO_OVER_SQRT_PI * math.exp(-min(x * x, 2000.0))
    if kind == EXP:
        return math.exp(x) if x < 709.0 else math.inf
    if kind == HARD_SWISH:
        return 0.0 if x <= -3.0 else (1.0 if x >= 3.0 else (2.0 * x + 3.0) / 6.0)
    if kind == RECIPROCAL:
        return -power(x, -2.0)
    if kind == LOG:
        return 1.0 / x if x > 0.0 else math.inf
    if kind == SWISH:
        return sigmoid(a * x) + a * x * logistic_slope(a * x)
    if kind == MISH:
        part, steep = mish_parts(x)
        return part + x * steep
    return math.nan


@register_jitable
def slope_noise(kind: int, a: float) -> float:
    """How far off a computed derivative, of either order, may be beside a relative 16·2⁻⁵².

    Where summands of about 1 cancel, or the exponential of a rounded square is taken, by up to
    18·2⁻⁵²: an exponent of x² is off by x²·2⁻⁵³, and x²·exp(−x²/2) ≤ 1. What a rounded a·x makes
    of functions of that is likewise bounded; second derivatives are in proportion to a.
    """
    if kind in (GELU, GELU_TANH, SWISH):
        return 4e-15 * max(a, 1.0)
    return 4e-15 if kind in (ERF, HARD_SWISH, MISH) else 0.0


@register_jitable
def curvature(kind: int, x: float, a: float, b: float) -> float:
    """Second derivative of a smooth activation at ``x``; nan for the others."""
    if kind == SIGMOID:
        return -logistic_slope(x) * math.tanh(0.5 * x)
    if kind == TANH:
        return -2.0 * math.tanh(x) * tanh_slope(x)
    if kind == SOFTPLUS:
        return logistic_slope(x)
    if kind == GELU:
        t = min(a * x * (a * x), 1000.0)
        return a * TWO_OVER_SQRT_PI * math.exp(-t) * (1.0 - t)
    if kind == ERF:
        return -2.0 * x * TWO_OVER_SQRT_PI * math.exp(-min(x * x, 2000.0))
    if kind == SWISH:
        return a * logistic_slope(a * x) * (2.0 - a * x * math.tanh(0.5 * a * x))
    return math.nan
