"""The CIFAR pickle reader: it reads batches and runs nothing."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from data_sets.makers import pixels, python2_batch

from boundcert.data.cifar import read_cifar
from boundcert.errors import RefusedInput

TEN = tuple("0123456789")
X = pixels(2, 3072)


def load(tmp_path: Path, data: bytes):
    path = tmp_path / "test_batch"
    path.write_bytes(data)
    return read_cifar("cifar10", [path], TEN)


@pytest.mark.parametrize("protocol", (2, 3, 4, None))
def test_batches_of_python_2_and_3(tmp_path: Path, protocol: int | None) -> None:
    batch = {b"data": X, b"labels": [1, 2], "filenames": ["a", "b"]}
    raw = pickle.dumps(batch, protocol) if protocol else python2_batch(X, [1, 2])
    data = load(tmp_path, raw)
    np.testing.assert_array_equal((data.x * 255).round(), X.reshape(2, 3, 32, 32))
    assert data.y is not None and data.y.tolist() == [1, 2]


class _Evil:
    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (self.target,))


@pytest.mark.parametrize("protocol", (0, 1, 2, 3, 4, 5))
def test_a_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    target = tmp_path / "made by the pickle"
    for batch in (_Evil(str(target)), {b"data": _Evil(str(target)), b"labels": [1]}):
        with pytest.raises(RefusedInput, match="nothing in it was run"):
            load(tmp_path, pickle.dumps(batch, protocol))
        assert not target.exists()


@pytest.mark.parametrize(
    "name", ("builtins\neval", "__builtin__\neval", "numpy\nload", "os\nsystem", "numpy\nfromfile")
)
def test_no_global_beyond_the_four(name: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match="asks for"):
        load(tmp_path, b"\x80\x02c" + name.encode() + b"\n.")


def test_a_forged_memo_index_takes_no_memory(tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match="memo index"):
        load(tmp_path, b"\x80\x02}r" + struct.pack("<I", 2**31 - 1) + b".")


@pytest.mark.parametrize(
    ("batch", "told"),
    (
        ([1, 2], "is a dict"),
        ({"data": X}, "list 'labels'"),
        ({"data": [1, 2], "labels": [1, 2]}, "array 'data'"),
        ({"data": X, "labels": [1]}, "2 samples need"),
        ({"data": X, "labels": [1, 10]}, "integers from 0 to 9"),
        ({"data": X, "labels": [1, "2"]}, "integers from 0 to 9"),
        ({"data": X, "labels": [1, True]}, "integers from 0 to 9"),
        ({"data": X[:, :3000], "labels": [1, 2]}, "has shape"),
        ({"data": X[0], "labels": [1, 2]}, "has shape"),
        ({"data": X.astype(np.float32), "labels": [1, 2]}, "not C-ordered uint8"),
        ({"data": np.asfortranarray(X), "labels": [1, 2]}, "not C-ordered uint8"),
        ({"data": np.array([None, 1]), "labels": [1, 2]}, "cannot be used"),
    ),
)
def test_wrong_batches(batch: object, told: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput, match=told):
        load(tmp_path, pickle.dumps(batch, 2))


@pytest.mark.parametrize("keep", (0, 1, 10, 100, 3000, -1))
def test_truncated(keep: int, tmp_path: Path) -> None:
    with pytest.raises(RefusedInput):
        load(tmp_path, python2_batch(X, [1, 2])[:keep])
