"""The contracts of the kernels that pull rows through window maxima, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .ball_reference import Array
from .maximum_reference import LEAST, MOST
from .rows_reference import _inside, _patches, _product, _sum


def pull_windows(
    rows: Array,
    owner: Array,
    origin: Array,
    taps: NDArray[np.int64],
    lines: Array,
    table: NDArray[np.int64],
    size: int,
) -> tuple[Array, Array, Array]:
    """Move each coefficient of a window maximum to the entry of the window that its line is in.

    With c > 0 the line below, c·δ_out ≥ c·δ_i + c·const for the entry i that is ``LEAST``; with
    c < 0 the line above, c·δ_out ≥ c·slope·δ_j + c·const for the entry j that is ``MOST``. The sum
    over a row's windows bounds the row, whichever windows share an entry: coefficients there add
    up. A coefficient of 0 and what lies off the plane add nothing.

    Parameters
    ----------
    rows : (R, C, h, w), of the maxima.
    taps, lines : (B, 3, C, H, W) as ``window_lines`` has them.
    table : (h·w, K) entries on a plane of the result of every window of a patch, −1 for padding.
        A column has no entry twice: windows of one shape start at different places.
    size : entries of such a plane.

    Returns
    -------
    out (R, C, size) : summands c or c·slope added up, in any order, in the precision of the rows.
    rest (R,) : Σ c·const, in plain float64 arithmetic: rounding is in the caller's constants.
    mass (R,) : Σ |summand| ≥ Σ |out| but for rounding, plain. nan coefficients make all three nan.
    """
    rows = _inside(rows, origin, (taps.shape[3], taps.shape[4]))
    patch, shape = (rows.shape[2], rows.shape[3]), (*rows.shape[:2], -1)
    below, slope, above = (_patches(lines[:, k], owner, origin, patch) for k in range(3))
    least, most = (_patches(taps[:, k], owner, origin, patch) for k in (LEAST, MOST))
    tap = np.where(rows > 0, least, most).reshape(shape)
    moved = _product(rows, np.where(rows > 0, 1.0, slope))
    out = np.zeros((*rows.shape[:2], size), dtype=rows.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        for k, column in enumerate(table.T):
            real = column >= 0
            out[:, :, column[real]] += np.where(tap == k, moved.reshape(shape), 0.0)[:, :, real]
    return out, _sum(_product(rows, np.where(rows > 0, below, above))), _sum(np.abs(moved))


def pull_means(
    rows: Array,
    owner: Array,
    origin: Array,
    weights: Array,
    constants: Array,
    table: NDArray[np.int64],
    size: int,
) -> tuple[Array, Array, Array]:
    """Share each coefficient of a window maximum out among the window's entries.

    With δ_out ≥ Σ_k w_k·δ_k + const below, and ≤ likewise above, c·δ_out ≥ Σ_k c·w_k·δ_k + c·const
    for the weights and constant below where c > 0, for those above where c < 0. Coefficients of
    entries that windows share add up. A coefficient of 0 and what lies off the plane add nothing.

    Parameters
    ----------
    rows : (R, C, h, w), of the maxima.
    weights : (B, 2, K, C, H, W) finite, below and above; padding has weight 0.
    constants : (B, 2, C, H, W), ∓∞ where there is no such bound.
    table, size : as for :func:`pull_windows`.

    Returns
    -------
    out, rest, mass : as for :func:`pull_windows`.
    """
    rows = _inside(rows, origin, (weights.shape[4], weights.shape[5]))
    patch, shape = (rows.shape[2], rows.shape[3]), (*rows.shape[:2], -1)
    below, above = (_patches(constants[:, k], owner, origin, patch) for k in range(2))
    out = np.zeros((*rows.shape[:2], size), dtype=rows.dtype)
    mass = np.zeros(len(rows))
    for k, column in enumerate(table.T):
        least, most = (_patches(weights[:, side, k], owner, origin, patch) for side in range(2))
        moved = _product(rows, np.where(rows > 0, least, most))
        real = column >= 0
        with np.errstate(invalid="ignore", over="ignore"):
            out[:, :, column[real]] += moved.reshape(shape)[:, :, real]
            mass += _sum(np.abs(moved))
    return out, _sum(_product(rows, np.where(rows > 0, below, above))), mass
