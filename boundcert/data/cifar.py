"""CIFAR-10's python batches: a pickled dict of ``data`` (N, 3072) uint8 and ``labels``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boundcert.data.checks import class_indices
from boundcert.data.dataset import DataSet
from boundcert.data.files import size_of, unreadable
from boundcert.data.pickles import PickledArray, load_plain
from boundcert.errors import RefusedInput

# The official batches are 31 MB; a file far above that is something else.
MAX_PICKLE = 512 * 2**20


def read_cifar(name: str, paths: list[Path], classes: tuple[str, ...]) -> DataSet:
    """Data set of one batch file: x (N, 3, 32, 32) in [0, 1], y (N,)."""
    (path,) = paths
    images, labels = _fields(path)
    if images.ndim != 2 or images.shape[1] != 3072 or len(images) == 0:
        raise RefusedInput(
            f"{path}: data has shape {images.shape}; CIFAR batches have (N, 3072), N > 0"
        )
    # A bool is an int to isinstance, and a list mixing types would become an object array.
    if any(type(label) is not int or not 0 <= label < len(classes) for label in labels):
        raise RefusedInput(f"{path}: labels must all be integers from 0 to {len(classes) - 1}")
    y = class_indices(np.array(labels, dtype=np.int64), len(images), str(path), len(classes))
    x = images.reshape(-1, 3, 32, 32).astype(np.float32) / np.float32(255)
    return DataSet(name, x, y, classes, f"{path}: test images in file order, divided by 255")


def _fields(path: Path) -> tuple[np.ndarray, list[object]]:
    """The uint8 array and the list of labels pickled in ``path``."""
    if size_of(path) > MAX_PICKLE:
        raise RefusedInput(f"{path}: is larger than any CIFAR batch; test_batch has 31,035,526 B")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    batch = load_plain(data, path)
    if not isinstance(batch, dict):
        raise RefusedInput(f"{path}: pickles a {type(batch).__name__}; a CIFAR batch is a dict")
    # Python 2 wrote the official keys as byte strings.
    array = batch.get(b"data", batch.get("data"))
    labels = batch.get(b"labels", batch.get("labels"))
    if not isinstance(array, PickledArray) or not isinstance(labels, list):
        raise RefusedInput(f"{path}: has no array 'data' beside a list 'labels'")
    try:
        return array.to_uint8(), labels
    except (ValueError, TypeError, OverflowError) as error:
        raise RefusedInput(f"{path}: 'data' cannot be used ({error}); fetch it again") from error
