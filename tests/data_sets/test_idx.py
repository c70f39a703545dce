"""The idx reader, and above all what it refuses."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_sets.makers import idx_bytes, pixels

from boundcert.data.idx import read_idx
from boundcert.errors import RefusedInput

GOOD = idx_bytes(pixels(3, 4, 5))


def test_plain_and_gzip_read_the_same(tmp_path: Path) -> None:
    for i, data in enumerate((GOOD, gzip.compress(GOOD))):
        (tmp_path / str(i)).write_bytes(data)
        np.testing.assert_array_equal(read_idx(tmp_path / str(i), 3), pixels(3, 4, 5))


@pytest.mark.parametrize(
    ("data", "told"),
    (
        (b"", "ends after 0 of 4"),
        (b"\x00\x00\x0d\x03" + GOOD[4:], "starts with bytes 00 00 0d 03"),
        (GOOD[:10], "cut short"),
        (GOOD[:-1], "cut short"),
        (GOOD + b"\x00", "more bytes"),
        (gzip.compress(GOOD)[:30], "damaged"),
        (gzip.compress(GOOD)[:-8] + bytes(8), "damaged"),
        (b"\x00\x00\x08\x03" + struct.pack(">3I", 0, 28, 28), "empty"),
    ),
)
def test_damage_is_named(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=told) as refusal:
        read_idx(path, 3)
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("count", (2**31, 2**32 - 1, 2**22))
def test_a_forged_count_takes_no_memory(count: int, tmp_path: Path) -> None:
    path = tmp_path / "images"
    data = b"\x00\x00\x08\x03" + struct.pack(">3I", count, 28, 28) + bytes(100)
    for packed in (data, gzip.compress(data)):
        path.write_bytes(packed)
        tracemalloc.start()
        with pytest.raises(RefusedInput):
            read_idx(path, 3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10 * 2**20


def test_a_folder_or_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RefusedInput, match="cannot be read"):
            read_idx(path, 3)
