"""Giving samples a network's shape."""

from __future__ import annotations

import numpy as np
import pytest

from boundcert.data import DataSet, fit_shape
from boundcert.errors import RefusedInput


def data(*shape: int) -> DataSet:
    x = np.arange(2 * np.prod(shape), dtype=np.float32).reshape(2, *shape)
    return DataSet("d", x, None, (), "made")


@pytest.mark.parametrize(
    ("found", "wanted"),
    (
        ((28, 28), (1, 28, 28)),
        ((1, 28, 28), (28, 28, 1)),
        ((1, 28, 28), (784,)),
        ((12,), (3, 2, 2)),
        ((3, 2, 2), (12,)),
    ),
)
def test_reshapes(found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    before, after = data(*found), fit_shape(data(*found), wanted)
    assert after.x.shape == (2, *wanted) and "reshaped" in after.source
    np.testing.assert_array_equal(after.x.ravel(), before.x.ravel())


def test_channels_and_nothing() -> None:
    before = data(4, 5, 3)
    np.testing.assert_array_equal(fit_shape(before, (3, 4, 5)).x, before.x.transpose(0, 3, 1, 2))
    assert fit_shape(before, (4, 5, 3)) is before


@pytest.mark.parametrize(
    ("found", "wanted"), (((2, 6), (3, 4)), ((4,), (5,)), ((3, 4, 5), (4, 5, 3)))
)
def test_ambiguous_or_impossible(found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    with pytest.raises(RefusedInput, match="but the network takes"):
        fit_shape(data(*found), wanted)
