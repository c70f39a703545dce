"""What a proof may choose freely: any choice gives a bound that holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.maps import Array
from boundcert.checker.nodes import Bend

#: Stands for no multiplier; a level ℓ stands for 2^(ℓ/2).
NONE = -128
Levels = NDArray[np.int8]
#: Levels (R,) of rows → their bounds at the point.
ValueOf = Callable[[Levels], Array]


class Choices(Protocol):
    """Where choices come from: a certificate, or who writes one."""

    def slopes(
        self, node: Bend, low: Array, high: Array, point: Array
    ) -> tuple[Array, Array] | None:
        """Of lines below and above (n,) over [low, high]; None for the usual ones."""
        ...

    def pause(self) -> None:
        """Called now and then: who writes a certificate may give up by raising something."""
        ...

    def levels(self, start: Array, value: ValueOf) -> Levels:
        """Levels (R,) of multipliers for rows, whose bounds at the point ``value`` tells.

        ``start`` (R,) says about which levels good ones are.
        """
        ...


def multipliers(levels: Levels) -> tuple[NDArray[np.int64], Array]:
    """The rows that have one, and theirs."""
    which = np.nonzero(levels != NONE)[0]
    return which, np.exp2(0.5 * levels[which].astype(np.float64))


def starting_levels(size: Array, spread: float) -> Array:
    """About where a multiplier balances coefficients of 2-norm ``size`` (R,) and a ball."""
    return 2.0 * np.log2(size / spread)
