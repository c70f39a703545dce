"""MNIST's idx format: a big-endian header (type, rank, extents) and then uint8 values."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from boundcert.data.checks import check_size, class_indices
from boundcert.data.dataset import DataSet
from boundcert.data.files import DAMAGE, open_plain_or_gzip, take, unreadable
from boundcert.errors import RefusedInput

UINT8 = 8  # idx's code for unsigned bytes; MNIST and its relatives use no other type


def read_idx(path: Path, rank: int) -> np.ndarray:
    """The uint8 array of ``rank`` axes in the idx file ``path``, packed or not.

    Raises
    ------
    RefusedInput
        The file is no idx file of that rank, is cut short, has bytes left over, or declares more
        than the size cap (checked before any memory is taken).
    """
    try:
        with open_plain_or_gzip(path) as stream:
            magic = bytes(take(stream, 4, str(path)))
            if magic != bytes((0, 0, UINT8, rank)):
                raise RefusedInput(
                    f"{path}: starts with bytes {magic.hex(' ')}; an idx file of {rank}-axis "
                    f"unsigned bytes starts with 00 00 08 {rank:02x}"
                )
            shape = struct.unpack(f">{rank}I", take(stream, 4 * rank, str(path)))
            data = take(stream, check_size(shape, 1, str(path)), str(path))
            # Reading past the end is also what makes gzip compare its checksum.
            if stream.read(1):
                raise RefusedInput(f"{path}: holds more bytes than its header's shape {shape}")
    except DAMAGE as error:
        raise unreadable(path, error) from error
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def read_idx_pair(name: str, paths: list[Path], classes: tuple[str, ...]) -> DataSet:
    """Data set of an images file and a labels file: x (N, 1, 28, 28) in [0, 1], y (N,)."""
    images_path, labels_path = paths
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise RefusedInput(
            f"{images_path}: holds images of {images.shape[1]}x{images.shape[2]} pixels; "
            f"{name} has 28x28"
        )
    y = class_indices(labels, len(images), str(labels_path), len(classes))
    x = images[:, None].astype(np.float32) / np.float32(255)
    source = f"{images_path} and {labels_path.name}: test images in file order, divided by 255"
    return DataSet(name, x, y, classes, source)
