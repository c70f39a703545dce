"""The search for the multiplier of a ball, which references and Numba twins share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba.extending import register_jitable

#: Multipliers that are tried, as powers of 4 times ‖c‖₂/ρ, and halvings of the step afterwards.
FIRST, LAST, HALVINGS = -3, 2, 3
#: Below this multipliers are not worth having, and near it half of one is still a normal number,
#: so that its rounding is relative, as bounds take it to be.
LEAST = 1e-250

Search = Callable[[tuple[Any, ...], float, float, float], float]


def search(bound: Callable[..., float]) -> Search:
    """The search over one bound, a function of the multiplier and of the search's ``arguments``.

    Any multiplier gives a bound that holds; the search only makes it good. The bound is no
    argument of the search itself, because Numba does not cache what is given functions.
    """

    @register_jitable
    def multiplier(arguments: tuple[Any, ...], plain: float, length: float, square: float) -> float:
        """The best multiplier found, 0 where none beats ``plain``.

        ``length`` is the sum of the squares of the coefficients, ``square`` is ρ².
        """
        if not (0.0 < square < math.inf and 0.0 < length < math.inf):
            return 0.0
        unit = math.sqrt(length / square)
        if not LEAST < unit < math.inf:
            return 0.0
        best, chosen = plain, 0.0
        for k in range(FIRST, LAST):
            lam = unit * 4.0**k
            found = bound(lam, *arguments)
            if found > best:
                best, chosen = found, lam
            elif chosen > 0.0:
                break
        step = 2.0
        for _ in range(HALVINGS if chosen > 0.0 else 0):
            for factor in (step, 1.0 / step):
                found = bound(chosen * factor, *arguments)
                if found > best:
                    best, chosen = found, chosen * factor
                    break
            step = math.sqrt(step)
        return chosen

    return multiplier
