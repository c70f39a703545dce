"""User archives."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_sets.makers import npz_bytes, pixels

from boundcert.data import DataSet, load_data
from boundcert.errors import RefusedInput

X = np.linspace(-2, 3, 24, dtype=np.float32).reshape(4, 6)


def load(tmp_path: Path, data: bytes) -> DataSet:
    (tmp_path / "mine.npz").write_bytes(data)
    return load_data(str(tmp_path / "mine.npz"))


@pytest.mark.parametrize(
    ("x", "y"), (("x", "y"), ("images", "labels"), ("data", "targets"), ("x_test", "y_test"))
)
def test_names_of_arrays(x: str, y: str, tmp_path: Path) -> None:
    data = load(tmp_path, npz_bytes(**{x: X, y: np.array([0, 1, 2, 1], np.int16)}))
    np.testing.assert_array_equal(data.x, X)
    assert data.y is not None and data.y.dtype == np.int64 and data.y.tolist() == [0, 1, 2, 1]
    assert data.name == "mine" and "kept as it is" in data.source


def test_uint8_is_scaled_and_said_to_be(tmp_path: Path) -> None:
    images = pixels(4, 3, 5, 5)
    data = load(tmp_path, npz_bytes(images=images))
    np.testing.assert_array_equal(data.x, images.astype(np.float32) / np.float32(255))
    assert data.y is None
    assert "divided by 255" in data.source and "unlabelled" in data.source


def test_kinds_of_numbers_and_orders(tmp_path: Path) -> None:
    for x in (X.astype(">f8"), np.asfortranarray(X), X.astype(np.float16)):
        data = load(tmp_path, npz_bytes(x=x, y=np.array([0.0, 1.0, 0.0, 1.0])))
        np.testing.assert_array_equal(data.x, x.astype(np.float32))
        assert data.x.dtype == np.dtype("=f4") and data.x.flags.c_contiguous


def test_class_names(tmp_path: Path) -> None:
    for names in (
        np.array(["cat", "ant", "cat", "bee"]),
        np.array([b"cat", b"ant", b"cat", b"bee"]),
    ):
        data = load(tmp_path, npz_bytes(x=X, y=names))
        assert data.classes == ("ant", "bee", "cat")
        assert data.y is not None and data.y.tolist() == [2, 0, 2, 1]


def holding_nan() -> np.ndarray:
    x = X.copy()
    x[2, 1] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "told"),
    (
        ({"inputs": X}, r"\['inputs'\]; needs x \(labels y\)"),
        ({"x": holding_nan()}, "sample 2"),
        ({"x": np.full((2, 2), 1e300)}, "sample 0"),
        ({"x": np.array([[None, 1]], dtype=object)}, "no objects"),
        ({"x": X, "y": np.array([None] * 4)}, "no objects"),
        ({"x": X.astype(complex)}, "save it as numbers"),
        ({"x": X[0]}, "needs numbers of shape"),
        ({"x": np.float32(3)}, "needs numbers of shape"),
        ({"x": X[:0]}, "empty array"),
        ({"x": np.array([["a", "b"]])}, "needs numbers"),
        ({"x": X, "y": np.arange(3)}, r"4 samples need \(4,\)"),
        ({"x": X, "y": np.eye(4)}, "argmax"),
        ({"x": X, "y": np.array([0, -1, 2, 3])}, "sample 1 .* is -1"),
        ({"x": X, "y": np.array([0, 1.5, 2, 3])}, "is 1.5"),
        ({"x": X, "y": np.array([0, np.nan, 2, 3])}, "is nan"),
        ({"x": X, "y": np.array([0, 1, 2, 2**40])}, "whole numbers"),
    ),
)
def test_wrong_arrays(arrays: dict[str, np.ndarray], told: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=told) as refusal:
        load(tmp_path, npz_bytes(**arrays))
    assert "mine.npz" in str(refusal.value)


def with_header(shape: str) -> bytes:
    """An archive whose array declares ``shape`` and holds eight bytes."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8)
        archive.writestr("x.npy", npy)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "shape",
    ("(1, 3)", "(1, 1)", "(2147483648, 784)", "(-1, 2)", "(2**99, 1)", "(1" + ",1" * 80 + ")"),
)
def test_forged_shapes(shape: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput):
        load(tmp_path, with_header(shape))


@pytest.mark.parametrize("data", (b"", b"PK", b"hello", npz_bytes(x=X)[:100], npz_bytes()))
def test_not_an_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=r"mine\.npz"):
        load(tmp_path, data)
