"""What is known of one activation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
#: (start, end, sign) that the line is made of: σ is convex (1), concave (−1) or straight (0).
Piece = tuple[float, float, int]

INF = math.inf
#: Signs of pieces too narrow to tell how they bend, and of such as σ is not known on.
NARROW, NOWHERE = 2, 3


class Accuracy(NamedTuple):
    """What a runtime of unit u may be off by, in u: Σ of these times |x|, |σ(x)|, 1, |σ·log|σ||."""

    operand: float = 0.0
    output: float = 0.0
    constant: float = 0.0
    logarithm: float = 0.0


@dataclass(frozen=True)
class Curve:
    """σ, of parameters a and b.

    Attributes
    ----------
    value, derivative : (x, a, b) → σ(x), σ′(x), off by at most ``floors.noise``.
    pieces : in order, for (a, b). ``derivative`` is only asked for inside pieces of sign ±1 and
        :data:`NARROW`; a kink lies between pieces.
    straight : made of straight pieces, and what it computes is exact.
    accuracy : of a runtime, for |a| and |b|.
    gates : it multiplies its operand by a function of that, which runtimes may do in factors.
    curvature : at least |σ″| on narrow pieces.
    dips : |σ| may be larger inside a box than at its ends, but not than at ± the larger of them.
    vanishing : for a and a runtime's tiny: what it is off by where an operand below is read as 0.
    """

    value: Callable[[Array, Array, float], Array]
    pieces: Callable[[float, float], list[Piece]]
    derivative: Callable[[Array, Array, float], Array] = lambda x, a, b: np.zeros_like(x)
    _: KW_ONLY
    straight: bool = False
    accuracy: Callable[[float, float], Accuracy] = lambda a, b: Accuracy()
    gates: bool = False
    curvature: Callable[[float, float], float] = lambda a, b: INF
    dips: bool = False
    vanishing: Callable[[float, float], float] = lambda a, tiny: 0.0


def sigmoid(x: Array) -> Array:
    """1/(1 + e^−x), which does not overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)
