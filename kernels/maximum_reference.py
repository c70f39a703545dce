"""The contract of the kernel that relaxes window maxima over boxes and a ball at once, in NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .ball_reference import EPS, Array
from .multiplier import search
from .rows_reference import _inside, _patches

#: Which entry of its window a coefficient goes to: the one with the greatest low end, the one with
#: the greatest high end, the one that is the maximum at the sample.
LEAST, MOST, PEAK = 0, 1, 2


class Floor(NamedTuple):
    """min(0, min_j …) of every window (W,), and where it is: of the peak, of entry j, its gap."""

    value: Array
    mine: Array
    other: Array
    gap: Array


def floors(weight: Array, lam: float, windows: Array, peak: Array) -> Floor:
    """The floors of windows for multiplier ``lam``; see :func:`pull_maximum`.

    Parameters
    ----------
    weight : (W,) |c|. windows : (W, K, 3) gap, low and high of δ. peak : (W,) an entry each.
    """
    gap, low, high = windows[..., 0], windows[..., 1], windows[..., 2]
    a, number = weight[:, None], np.arange(len(weight))
    at = np.clip(a / lam, low, high)
    terms = a * gap + 0.5 * lam * at * at - a * at
    mine = np.clip(-weight / lam, low[number, peak], high[number, peak])
    # what is no number or has no end bounds nothing
    lost = (np.isnan(terms) | ~np.isfinite(low) | ~np.isfinite(high)).any(axis=1)
    terms[number, peak] = np.inf
    value = 0.5 * lam * mine * mine + weight * mine + terms.min(axis=1, initial=np.inf)
    lost = lost | np.isnan(value)
    value = np.where(lost, -np.inf, np.minimum(0.0, value))
    first = terms.argmin(axis=1)
    # a floor of 0 stays 0: nothing that it is made of matters
    moves = (value < 0) & ~lost
    parts = (mine, at[number, first], gap[number, first])
    return Floor(value, *(np.where(moves, part, 0.0) for part in parts))


def bound_of(
    value: Array, plain: Array, weight: Array, lam: float, windows: Array, square: float
) -> float:
    """The sum of the better of floors and lines, less what ``square`` and rounding cost.

    A floor below 0 adds up numbers of at most 2·(2|c|far + λ·far²), ``far`` the largest |δ|: gaps
    that take more of |c| leave it at 0. A window that keeps its line pays for that only.
    """
    ends = np.abs(windows[..., 1:]).max(axis=2)
    far = np.where(np.isinf(windows[..., 0]), 0.0, ends).max(axis=1, initial=0.0)
    taken = value > plain
    terms = np.where(taken, 2 * weight * far + lam * far * far, np.abs(plain))
    spent = 0.5 * lam * square
    loss = (spent + float(terms.sum())) * (len(weight) + 64) * 2 * EPS
    return float(np.where(taken, value, plain).sum()) - spent - loss


def _total(
    lam: float, weight: Array, plain: Array, windows: Array, peak: Array, square: float
) -> float:
    terms = np.maximum(plain, floors(weight, lam, windows, peak).value)
    return float(terms.sum()) - 0.5 * lam * square


_multiplier = search(_total)


def pull_maximum(
    rows: Array,
    owner: Array,
    origin: Array,
    taps: Array,
    lines: Array,
    windows: Array,
    square: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """Coefficients of window maxima, each moved to one entry of its window.

    With c > 0, max_j z_j ≥ z_i for the entry i with the greatest low end. With c < 0 either a line
    above in the entry with the greatest high end, or, for a multiplier λ ≥ 0 and m the maximum at
    the sample, since −|c|·max_j = min_j −|c|·z_j and the windows' entries have a total square of
    at most ``square``,

        c·δ_out ≥ c·δ_m + min(0, min_{j≠m} (|c|·gap_j + min_{δ_j} (½λδ_j² − |c|δ_j))
                                 + min_{δ_m} (½λδ_m² + |c|δ_m)),

    of which ½λ·square is to be taken for all of them together. λ is searched row by row; each
    window takes the better of the two, the line where a number of it is nan or a box has no end.

    Parameters
    ----------
    rows : (R, C, h, w), of the maxima.
    taps : (B, 3, C, H, W) int64: which entry of its window is :data:`LEAST`, :data:`MOST`,
        :data:`PEAK`.
    lines : (B, 3, C, H, W): constant below; slope and constant above, rounded outward.
    windows : (B, C, H, W, K, 3): value at the sample below the maximum there (0 at the peak,
        nowhere less; ``inf``: padding), low and high end of the box of δ.
    square : (B,) bound on Σδ² over windows and their entries; inf: none.

    Returns
    -------
    tap (R, C, h, w) int64, out (R, C, h, w) : where coefficients go, and what they become.
    rest, mass, multiplier : (R,) as for ``pull_ball``.
    """
    rows = _inside(rows, origin, taps.shape[3:])
    size = rows.shape[2:]
    which = [_patches(taps[:, k], owner, origin, size).reshape(len(rows), -1) for k in range(3)]
    low, slope, high = (
        _patches(lines[:, k], owner, origin, size).reshape(len(rows), -1) for k in range(3)
    )
    entries = windows.shape[4]
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    # (B, K·3·C, H, W): patches of all at once
    planes = np.moveaxis(windows, (4, 5), (1, 2)).reshape(len(windows), -1, *windows.shape[2:4])
    cut = _patches(planes, owner, origin, size).reshape(len(rows), entries, 3, -1)
    rest, multiplier = np.empty(len(rows)), np.zeros(len(rows))
    with np.errstate(all="ignore"):
        tap = np.where(flat > 0, which[LEAST], which[MOST])
        out = np.where(flat < 0, flat * slope, flat)
        for r, c in enumerate(flat):
            over, live = c < 0, c > 0
            total = float(np.sum(c[~over & ~live]) + np.sum((c * low[r])[live]))
            plain = (c * high[r])[over]
            weight, peak = -c[over], which[PEAK][r][over]
            box = np.moveaxis(cut[r][:, :, over], 2, 0)
            budget = float(square[owner[r]])
            bound, length = float(plain.sum()), float((weight * weight).sum())
            chosen = _multiplier((weight, plain, box, peak, budget), bound, length, budget)
            if chosen > 0.0:
                value = floors(weight, chosen, box, peak).value
                found = bound_of(value, plain, weight, chosen, box, budget)
                if found > bound:
                    bound, multiplier[r] = found, chosen
                    taken = np.nonzero(over)[0][value > plain]
                    tap[r, taken], out[r, taken] = which[PEAK][r][taken], c[taken]
            rest[r] = total + bound
    shape, out = rows.shape, out.astype(rows.dtype)
    mass = np.abs(out).sum(axis=1, dtype=np.float64)
    return tap.reshape(shape), out.reshape(shape), rest, mass, multiplier
