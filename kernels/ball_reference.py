"""The contract of the kernel that relaxes a layer over a box and a ball at once, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .multiplier import search
from .rows_reference import _inside, _patches

Array = NDArray[Any]

EPS = 2.0**-52
#: Columns of the table: the box of δ and where it is cut, lines below and above on both parts,
#: lines below and above on the whole.
LOW, HIGH, SPLIT, BELOW, ABOVE, BASE, COLUMNS = 0, 1, 2, 3, 7, 11, 15


def _piece(c: Array, g: Array, lam: float, line: Array, start: Array, end: Array) -> Array:
    """min over δ in [start, end] of ½λδ² + c(slope·δ + const) − gδ, computed plainly."""
    steep = c * line[:, 0] - g
    at = np.clip(-steep / lam, start, end)
    return 0.5 * lam * at * at + steep * at + c * line[:, 1]


def _floor(c: Array, g: Array, lam: float, t: Array) -> Array:
    """The least of both parts; a part of which the box holds nothing does not count."""
    low, high, split = t[:, LOW], t[:, HIGH], t[:, SPLIT]
    left = _piece(c, g, lam, t[:, 3:5], low, np.maximum(np.minimum(split, high), low))
    right = _piece(c, g, lam, t[:, 5:7], np.minimum(np.maximum(split, low), high), high)
    bound = np.where(low <= split, left, np.inf)
    return np.where((high > split) | np.isinf(bound), np.minimum(bound, right), bound)


def _best(lam: float, c: Array, t: Array) -> tuple[Array, Array]:
    """The largest floor of an entry over a few slopes, and c times the slope."""
    local = np.where(t[:, SPLIT] > 0, t[:, 3], t[:, 5])
    g = c * t[:, 7]
    value = _floor(c, g, lam, t)
    for slope in (local, 0.5 * (local + t[:, 7])):
        other = c * slope
        found = _floor(c, other, lam, t)
        value, g = np.where(found > value, found, value), np.where(found > value, other, g)
    return value, g


def _total(lam: float, c: Array, t: Array, square: float) -> float:
    return float(_best(lam, c, t)[0].sum()) - 0.5 * lam * square


_multiplier = search(_total)


def pull_ball(
    rows: Array, owner: Array, origin: Array, table: Array, square: Array
) -> tuple[Array, Array, Array, Array]:
    """As ``pull_lines``, where ‖δ‖₂² ≤ square over the entries of a sample that are *bent*.

    An entry is straight where the lines below and above the whole box have one slope: it takes
    the line on its coefficient's side, and counts in no norm. Over the others, for slopes g and a
    multiplier λ ≥ 0, c·δ_out ≥ g·δ + Σ_i min_{δ_i in box} (½λδ_i² + c_iδ_out,i − g_iδ_i) −
    ½λ·square. λ is searched row by row, the slope of an entry among that of the line over the
    whole box, that on the sample's part, and their mean. Rows for which nothing beats the lines
    over the whole box get those.

    Parameters
    ----------
    table : (B, 15, C, H, W): ends of the box of δ and where it is cut in two (δ at most ``split``
        belongs to the left part); slope and constant of the lines below on the left and on the
        right; of those above; of the lines below and above on the whole box. Constants are in
        terms of δ and δ_out, rounded outward.
    square : (B,), of the bent entries; inf: no ball.

    Returns
    -------
    out, rest, mass : as for ``pull_lines``; rest is rounded down where λ > 0: each term is off by
        less than 8·2⁻⁵² of what it adds up, and their sum by (entries + 8)·2⁻⁵².
    multiplier : (R,) λ; 0 where the lines over the whole box are better.
    """
    rows = _inside(rows, origin, table.shape[3:])
    size = (rows.shape[2], rows.shape[3])
    flat = rows.reshape(len(rows), -1)
    columns = [_patches(table[:, m], owner, origin, size) for m in range(table.shape[1])]
    entries = np.stack([column.reshape(len(rows), -1) for column in columns], axis=2)
    out, rest, multiplier = flat.copy(), np.empty(len(rows)), np.zeros(len(rows))
    for r, (c, e) in enumerate(zip(flat, entries)):
        live = (c != 0) & ~np.isnan(c)
        up = c > 0
        base = np.where(up[:, None], e[:, BASE : BASE + 2], e[:, BASE + 2 : BASE + 4])
        out[r, live] = (c * base[:, 0])[live]
        straight = e[:, BASE] == e[:, BASE + 2]
        chosen = live & ~straight
        total = np.sum(c[~live]) + np.sum((c * base[:, 1])[live & straight])
        plain = float(np.sum((c * base[:, 1])[chosen]))
        w = c[chosen]
        halves = np.where(up[:, None], e[:, BELOW : BELOW + 4], e[:, ABOVE : ABOVE + 4])
        t = np.concatenate((e[:, :3], halves, base[:, :1]), axis=1)[chosen]
        budget = float(square[owner[r]])
        lam = _multiplier((w, t, budget), plain, float((w * w).sum()), budget)
        if lam > 0.0:
            value, g = _best(lam, w, t)
            reach = np.maximum(np.abs(t[:, 0]), np.abs(t[:, 1]))
            steep = np.abs(w) * np.maximum(np.abs(t[:, 3]), np.abs(t[:, 5])) + np.abs(g)
            offset = np.abs(w) * np.maximum(np.abs(t[:, 4]), np.abs(t[:, 6]))
            terms = 0.5 * lam * reach * reach + steep * reach + offset
            loss = (0.5 * lam * budget + float(terms.sum())) * (len(w) + 64) * EPS
            bound = float(value.sum()) - 0.5 * lam * budget - loss
            if bound > plain:
                plain, multiplier[r] = bound, lam
                out[r, np.nonzero(chosen)[0]] = g
        rest[r] = total + plain
    return out.reshape(rows.shape), rest, np.abs(out).sum(axis=1), multiplier
