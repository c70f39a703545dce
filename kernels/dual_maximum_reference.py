"""The contracts of dual bounds on window maxima whose multipliers are given, in NumPy.

The bound is that of :func:`maximum_reference.pull_maximum`, which searches the multiplier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .maximum_reference import LEAST, MOST, PEAK, Floor, bound_of, floors
from .rows_reference import Array, _inside, _patches


class _Row(NamedTuple):
    """What one row sees, an entry for each of its coefficients (W,).

    ``tap`` which entry LEAST, MOST, PEAK is (3, W); ``lines`` constant below, slope and constant
    above (3, W); ``box`` gap, low and high end of the windows' entries (W, K, 3).
    """

    c: Array
    tap: Array
    lines: Array
    box: Array


def _row(rows: Array, owner: Array, origin: Array, r: int, *planes: Array) -> _Row:
    taps, lines, windows = planes
    size, place = rows.shape[2:], (owner[r : r + 1], origin[r : r + 1])
    tap, line = (
        np.stack([_patches(x[:, k], *place, size)[0].ravel() for k in range(3)])
        for x in (taps, lines)
    )
    entries = windows.shape[4]
    flat = np.moveaxis(windows, (4, 5), (1, 2)).reshape(len(windows), -1, *windows.shape[2:4])
    # (B, K·3·C, H, W): patches of all at once
    cut = _patches(flat, *place, size)[0].reshape(entries, 3, -1)
    box = np.moveaxis(cut, 2, 0)
    return _Row(rows[r].ravel().astype(np.float64), tap, line, box)


def _floors(row: _Row, lam: float) -> tuple[Floor, Array]:
    """The floor of every window, and whether it beats the line above (W,)."""
    floor = floors(-row.c, lam, row.box, row.tap[PEAK])
    return floor, (row.c < 0) & (floor.value > row.c * row.lines[2])


def pull_dual_maximum(
    rows: Array,
    owner: Array,
    origin: Array,
    multiplier: Array,
    taps: Array,
    lines: Array,
    windows: Array,
    square: Array,
) -> tuple[Array, Array, Array, Array]:
    """As ``pull_maximum``, with a multiplier λ > 0 given for every row.

    Windows with c < 0 take the better of the line above and of the dual bound. A row whose λ is
    not positive and finite has no bound.

    Parameters
    ----------
    multiplier : (R,) λ.
    rows, taps, lines, windows, square : as for ``pull_maximum``.
    """
    rows = _inside(rows, origin, taps.shape[3:])
    tap, out = np.zeros(rows.shape, dtype=np.int64), rows.copy()
    rest = np.full(len(rows), -np.inf)
    with np.errstate(all="ignore"):
        for r, lam in enumerate(multiplier):
            row = _row(rows, owner, origin, r, taps, lines, windows)
            over, budget = row.c < 0, float(square[owner[r]])
            floor, taken = _floors(row, lam)
            down = np.where(taken, row.tap[PEAK], row.tap[MOST])
            tap[r] = np.where(row.c > 0, row.tap[LEAST], down).reshape(tap[r].shape)
            found = np.where(over & ~taken, row.c * row.lines[1], row.c)
            out[r] = found.reshape(out[r].shape)
            if not 0.0 < lam < np.inf:
                continue
            up = row.c > 0
            total = float(np.sum(row.c[~over & ~up]) + np.sum((row.c * row.lines[0])[up]))
            plain = (row.c * row.lines[2])[over]
            bound = bound_of(floor.value[over], plain, -row.c[over], lam, row.box[over], budget)
            rest[r] = total + bound
    return tap, out, rest, np.abs(out).sum(axis=(1, 2, 3), dtype=np.float64)


def dual_maximum_gradient(
    rows: Array,
    owner: Array,
    origin: Array,
    multiplier: Array,
    taps: Array,
    lines: Array,
    windows: Array,
    square: Array,
    out_grad: Array,
    rest_grad: Array,
) -> tuple[Array, Array]:
    """Gradients of Σ out_grad·out + rest_grad·rest in the rows (R, C, h, w) and in λ (R,).

    That of a minimum is that of what is minimised, at the minimiser. A heuristic's guide: plain
    arithmetic.
    """
    rows = _inside(rows, origin, taps.shape[3:])
    by_row, by_multiplier = np.zeros_like(rows), np.empty(len(rows))
    with np.errstate(all="ignore"):
        for r, lam in enumerate(multiplier):
            row, weight = _row(rows, owner, origin, r, taps, lines, windows), rest_grad[r]
            (floor, taken), back = _floors(row, lam), out_grad[r].ravel().astype(np.float64)
            dual = back - weight * (floor.mine + floor.gap - floor.other)
            above = row.lines[1] * back + row.lines[2] * weight
            below = back + row.lines[0] * weight
            found = np.where(row.c > 0, below, np.where(taken, dual, above))
            by_row[r] = np.where(row.c == 0, 0.0, found).reshape(by_row[r].shape)
            moved = (floor.mine**2 + floor.other**2)[taken]
            by_multiplier[r] = 0.5 * weight * (moved.sum() - square[owner[r]])
    return by_row, by_multiplier
