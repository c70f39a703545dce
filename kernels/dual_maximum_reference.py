"""The contracts of dual bounds on window maxima whose multipliers are given, in NumPy.

The bound is that of :func:`maximum_reference.pull_maximum`, which searches the multiplier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .ball_reference import EPS
from .maximum_reference import LEAST, MOST, PEAK
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


class _Floor(NamedTuple):
    """The floor of every window, whether it beats the line above, and where it is attained."""

    value: Array
    taken: Array
    mine: Array
    other: Array
    gap: Array


def _floors(row: _Row, lam: float) -> _Floor:
    """min(0, min_j …) for multiplier ``lam``; see :func:`maximum_reference.pull_maximum`."""
    a, number, peak = -row.c, np.arange(len(row.c)), row.tap[PEAK]
    gap, low, high = (row.box[..., k] for k in range(3))
    at = np.clip(a[:, None] / lam, low, high)
    terms = a[:, None] * gap + 0.5 * lam * at * at - a[:, None] * at
    mine = np.clip(-a / lam, low[number, peak], high[number, peak])
    terms[number, peak] = np.inf
    value = 0.5 * lam * mine * mine + a * mine + terms.min(axis=1, initial=np.inf)
    # what is no number bounds nothing
    lost = np.isnan(row.box).any(axis=(1, 2)) | np.isnan(value)
    value = np.where(lost, -np.inf, np.minimum(0.0, value))
    taken = (row.c < 0) & (value > row.c * row.lines[2])
    first = terms.argmin(axis=1)
    # a floor of 0 stays 0: nothing that it is made of matters
    moves = (value < 0) & ~lost
    parts = (mine, at[number, first], gap[number, first])
    return _Floor(value, taken, *(np.where(moves, part, 0.0) for part in parts))


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
            floor = _floors(row, lam)
            down = np.where(floor.taken, row.tap[PEAK], row.tap[MOST])
            tap[r] = np.where(row.c > 0, row.tap[LEAST], down).reshape(tap[r].shape)
            found = np.where(over & ~floor.taken, row.c * row.lines[1], row.c)
            out[r] = found.reshape(out[r].shape)
            if not 0.0 < lam < np.inf:
                continue
            up = row.c > 0
            total = float(np.sum(row.c[~over & ~up]) + np.sum((row.c * row.lines[0])[up]))
            plain, box = (row.c * row.lines[2])[over], row.box[over]
            reach = np.where(np.isfinite(box[..., 0]), np.abs(box[..., 1:]).max(axis=2), 0.0)
            # a window that is lost keeps its line
            reach = np.nan_to_num(reach, nan=0.0)
            far = reach.max(axis=1, initial=0.0)
            terms = -2 * row.c[over] * far + lam * far * far + np.abs(plain)
            loss = (0.5 * lam * budget + float(terms.sum())) * (len(plain) + 64) * 2 * EPS
            best = np.where(floor.taken[over], floor.value[over], plain)
            rest[r] = total + (float(best.sum()) - 0.5 * lam * budget - loss)
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
            floor, back = _floors(row, lam), out_grad[r].ravel().astype(np.float64)
            taken = back - weight * (floor.mine + floor.gap - floor.other)
            above = row.lines[1] * back + row.lines[2] * weight
            below = back + row.lines[0] * weight
            found = np.where(row.c > 0, below, np.where(floor.taken, taken, above))
            by_row[r] = np.where(row.c == 0, 0.0, found).reshape(by_row[r].shape)
            moved = (floor.mine**2 + floor.other**2)[floor.taken]
            by_multiplier[r] = 0.5 * weight * (moved.sum() - square[owner[r]])
    return by_row, by_multiplier
