"""Products of two values over boxes: their ends, and planes below and above them.

For every v the function u·v − g·u − h·v is straight in u, and so least at an end of u's box; there
it is straight in v, and least at an end of that. So it is nowhere less than at one of the four
corners, for any g and h whatsoever.
"""

from __future__ import annotations

import numpy as np

from boundcert.checker.curve import Array
from boundcert.checker.lines import Lines
from boundcert.checker.rounding import UNDER, UNIT

#: Ends of a box.
Ends = tuple[Array, Array]
#: Tilts that are tried; p of the norm that a plane's flatness is measured in.
TILTS, TOGETHER = (-1.0, -0.5, 0.0, 0.5, 1.0), 1.2


def corner_floor(side: float, steep: Ends, u: Ends, v: Ends) -> Array:
    """At most side·uv − g·u − h·v over boxes, for slopes ``steep`` = (g, h); side ±1.

    Three products and two differences: each off by a unit of the magnitudes' sum, so far.
    """
    least = np.full(u[0].shape, np.inf)
    for one in u:
        for other in v:
            product, first, second = one * other, steep[0] * one, steep[1] * other
            size = np.abs(product) + np.abs(first) + np.abs(second)
            least = np.minimum(least, side * product - first - second - 8 * UNIT * size)
    # nan anywhere is no bound
    return np.where(np.isfinite(least), least - UNDER, -np.inf)


def ends_of(u: Ends, v: Ends) -> Ends:
    """Least and largest product."""
    level = np.zeros_like(u[0]), np.zeros_like(u[0])
    return corner_floor(1.0, level, u, v), -corner_floor(-1.0, level, u, v)


def planes(u: Ends, v: Ends, point: Ends) -> Lines:
    """Below and above, close at the point and flat.

    With a = u − m_u, b = v − m_v and radii r of the boxes ab is at least s(r_v·a + r_u·b) − r_u·r_v
    and at most s(r_v·a − r_u·b) + r_u·r_v for s in [−1, 1] (McCormick): slopes are such ones.
    """
    below, above = (_steep(side, u, v, point) for side in (1.0, -1.0))
    least = corner_floor(1.0, below, u, v)
    most = -corner_floor(-1.0, (-above[0], -above[1]), u, v)
    return Lines(below[0], least, above[0], most, others=(below[1], above[1]))


def _steep(side: float, u: Ends, v: Ends, point: Ends) -> Ends:
    """Slopes of a plane: the smaller what it may lose at the input and at the point, the better.

    The one grows with what the plane rises over the boxes, by less than the sum for u and v, as
    those are of one perturbation.
    """
    (m_u, r_u), (m_v, r_v) = ((0.5 * e[0] + 0.5 * e[1], 0.5 * e[1] - 0.5 * e[0]) for e in (u, v))
    lean = r_v * (point[0] - m_u) + side * r_u * (point[1] - m_v)
    best, found = np.full(m_u.shape, np.inf), (m_v, m_u)
    for s in TILTS:
        g, h = m_v + s * r_v, m_u + side * s * r_u
        rise = np.abs(g * r_u) ** TOGETHER + np.abs(h * r_v) ** TOGETHER
        cost = rise ** (1 / TOGETHER) - side * s * lean
        better = cost < best
        best = np.where(better, cost, best)
        found = np.where(better, g, found[0]), np.where(better, h, found[1])
    return found
