"""Enclosures of an activation over an interval, as the reference and the twin compile them."""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from . import scalar
from .shapes import EPS, TINY, floor, value, value_error

Array = NDArray[np.float64]


@register_jitable
def _rises(kind: int, low: float, a: float, b: float) -> bool:
    """True only where σ does not decrease from ``low`` on."""
    if kind == scalar.ELU or kind == scalar.LEAKY or kind == scalar.HARD_SIGMOID:
        return a >= 0.0
    if kind == scalar.SELU:
        return a >= 0.0 and b >= 0.0
    if kind == scalar.POW:
        return a >= 0.0 and low >= 0.0
    if kind == scalar.LOG:
        return low > 0.0
    return (
        kind == scalar.RELU
        or kind == scalar.CELU
        or kind == scalar.SIGMOID
        or kind == scalar.TANH
        or kind == scalar.SOFTPLUS
        or kind == scalar.SOFTSIGN
        or kind == scalar.CLIP
        or kind == scalar.ERF
        or kind == scalar.EXP
    )


@register_jitable
def _codomain(kind: int, a: float) -> tuple[float, float]:
    """Bounds that hold everywhere, so that rounding never leaves them."""
    if kind == scalar.SIGMOID or kind == scalar.HARD_SIGMOID:
        return 0.0, 1.0
    if kind == scalar.TANH or kind == scalar.ERF or kind == scalar.SOFTSIGN:
        return -1.0, 1.0
    if kind == scalar.ABS or kind == scalar.EXP or kind == scalar.SOFTPLUS:
        return 0.0, math.inf
    if kind == scalar.POW and (a % 2.0 == 0.0 or a != math.floor(a)):
        return 0.0, math.inf
    return -math.inf, math.inf


@register_jitable
def range_one(
    kind: int, low: float, high: float, a: float, b: float, pieces: Array
) -> tuple[float, float]:
    """Enclosure of σ over [low, high]; (−∞, ∞) where there is none."""
    if not low <= high or pieces.shape[0] == 0:
        return -math.inf, math.inf
    if kind == scalar.RELU:
        return max(low, 0.0), max(high, 0.0)  # exact, and the hot case
    if low < pieces[0, 0] or high > pieces[pieces.shape[0] - 1, 1]:
        return -math.inf, math.inf
    if _rises(kind, low, a, b):
        least, most = value(kind, low, a, b), value(kind, high, a, b)
        least -= value_error(kind, low, least, a, b) * (1.0 + EPS)
        most += value_error(kind, high, most, a, b) * (1.0 + EPS)
        # what underflow may have taken; exact kinds have nothing to lose
        if kind != scalar.RELU and kind != scalar.CLIP:
            least, most = least - TINY, most + TINY
    else:
        least = floor(kind, 1.0, 0.0, 0.0, 0.0, low, high, a, b, pieces)[0]
        most = -floor(kind, -1.0, 0.0, 0.0, 0.0, low, high, a, b, pieces)[0]
        if least == -math.inf or most == math.inf:
            return -math.inf, math.inf
    if math.isnan(least) or math.isnan(most):
        return -math.inf, math.inf
    bottom, top = _codomain(kind, a)
    return max(least, bottom), min(most, top)
