"""Float64 as the checker reckons with it."""

from __future__ import annotations

import math

UNIT = 2.0**-53
#: Covers what underflow may cost any sum that fits into memory, of numbers up to 1.
UNDER = 1e-300
#: More than a few operations on subnormal numbers lose.
LEAST = 16 * math.ulp(0.0)


def gamma(terms: float) -> float:
    """γ_n of float64, twice over: it pays for the sum of magnitudes, computed too, as well."""
    return 2 * terms * UNIT / (1 - terms * UNIT)
