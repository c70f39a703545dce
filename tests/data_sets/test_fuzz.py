"""Damaged files are refused or read, and never end in another exception."""

from __future__ import annotations

import gzip
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from data_sets.makers import LABELS, idx_bytes, image_bytes, npz_bytes, pixels, python2_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.data import DataSet, load_data
from boundcert.errors import RefusedInput
from examples import examples

COUNT = 3
NAMES = np.array(["a", "b", "a"])
FLOATS = np.linspace(0, 1, 12).reshape(3, 4)
CSV = b"one,two,label\n1,2.5,cat\n3,-4e2,dog\n5,6,cat\n"
IDX = idx_bytes(pixels(COUNT, 28, 28))
BATCH = {b"data": pixels(COUNT, 3072), b"labels": [1, 2, 3]}
SEEDS: dict[str, tuple[str, str, bytes]] = {
    "idx": ("mnist", "t10k-images-idx3-ubyte", IDX),
    "idx.gz": ("mnist", "t10k-images-idx3-ubyte.gz", gzip.compress(IDX)),
    "npz": ("x.npz", "x.npz", npz_bytes(x=FLOATS, y=np.arange(3))),
    "npz names": ("x.npz", "x.npz", npz_bytes(images=pixels(3, 2, 2), labels=NAMES)),
    "csv": ("x.csv", "x.csv", CSV),
    "cifar": ("cifar10", "test_batch", python2_batch(pixels(COUNT, 3072), [1, 2, 3])),
    "cifar 3": ("cifar10", "test_batch", pickle.dumps(BATCH, 4)),
    "png": ("images", "images/a/1.png", image_bytes(pixels(8, 8))),
    "png colour": ("images", "images/a/1.png", image_bytes(pixels(8, 8, 3))),
    "jpeg": ("images", "images/a/1.jpg", image_bytes(pixels(8, 8, 3), "JPEG")),
}


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with bytes changed (mostly in the header), a piece cut out, doubled or cut off."""
    out = bytearray(data)
    # Headers and trailers are where formats break; the middle is mostly pixels.
    ends = st.integers(0, min(150, len(data) - 1))
    place = st.one_of(ends, ends.map(lambda i: len(data) - 1 - i), st.integers(0, len(data) - 1))
    for _ in range(draw(st.integers(0, 4))):
        out[draw(place)] = draw(
            st.one_of(st.integers(0, 255), st.sampled_from(b"\x00\xff\x7f\x80"))
        )
    start = draw(place)
    length = draw(st.integers(0, 20))
    action = draw(st.sampled_from(("none", "cut", "double", "end")))
    if action == "cut":
        del out[start : start + length]
    elif action == "double":
        out[start:start] = out[start : start + length]
    elif action == "end":
        del out[start:]
    return bytes(out)


def check(data: DataSet) -> None:
    assert data.x.dtype == np.float32 and data.x.ndim >= 2 and len(data.x) > 0
    assert np.isfinite(data.x).all()
    if data.y is not None:
        assert data.y.dtype == np.int64 and data.y.shape == (len(data.x),)
        assert (data.y >= 0).all()
        assert not data.classes or (data.y < len(data.classes)).all()


def load(kind: str, data: bytes) -> DataSet:
    spec, name, _ = SEEDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        (root / LABELS).write_bytes(idx_bytes(np.arange(COUNT, dtype=np.uint8)))
        if spec in ("mnist", "cifar10"):
            return load_data(spec, root, download=False)
        return load_data(str(root / spec))


@pytest.mark.parametrize("kind", SEEDS)
def test_the_undamaged_file_is_read(kind: str) -> None:
    check(load(kind, SEEDS[kind][2]))


@pytest.mark.parametrize("kind", SEEDS)
@settings(max_examples=examples(100), deadline=None, derandomize=True)
@given(draw=st.data())
def test_damaged_files(kind: str, draw: st.DataObject) -> None:
    data = draw.draw(damaged(SEEDS[kind][2]))
    try:
        check(load(kind, data))
    except RefusedInput as refusal:
        assert str(refusal)


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(
    text=st.text(st.sampled_from('0123456789.,;\t\n\r"-+eEnaif?#ab \x00'), max_size=60),
    label=st.sampled_from(("", "#label=none", "#label=0", "#label=-1", "#label=a")),
)
def test_any_text_as_csv(text: str, label: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        path.write_bytes(text.encode())
        try:
            check(load_data(f"{path}{label}"))
        except RefusedInput as refusal:
            assert "x.csv" in str(refusal)
