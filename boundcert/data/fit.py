"""Giving samples the shape that a network takes, where only one reading is possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from boundcert.data.dataset import DataSet
from boundcert.errors import RefusedInput


def fit_shape(data: DataSet, shape: Sequence[int]) -> DataSet:
    """``data`` with samples of ``shape``, which is a network's input shape without the batch.

    Allowed are: the same shape; axes of extent 1 added or dropped; flattening to, and unflattening
    from, one axis in row-major order; and moving a last axis of 3 channels first.

    Raises
    ------
    RefusedInput
        None of these turns the samples' shape into ``shape``.
    """
    wanted = tuple(int(extent) for extent in shape)
    found = data.x.shape[1:]
    if found == wanted:
        return data
    if math.prod(found) == math.prod(wanted):
        same_axes = [n for n in found if n != 1] == [n for n in wanted if n != 1]
        if same_axes or min(_rank(found), _rank(wanted)) <= 1:
            return _changed(data, data.x.reshape(-1, *wanted), f"reshaped {found} to {wanted}")
        if len(found) == 3 and found[2] == 3 and wanted == (3, *found[:2]):
            moved = np.ascontiguousarray(np.moveaxis(data.x, -1, 1))
            return _changed(data, moved, f"channels moved first, {wanted}")
    raise RefusedInput(
        f"{data.name}: samples have shape {found}, but the network takes {wanted}; "
        "use the data set that the network was trained on, in the network's axis order"
    )


def _rank(shape: tuple[int, ...]) -> int:
    return sum(extent != 1 for extent in shape)


def _changed(data: DataSet, x: np.ndarray, told: str) -> DataSet:
    return replace(data, x=x, source=f"{data.source}; {told}")
