"""A user's ``.npz`` archive, read without numpy's pickling and without trusting its headers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from boundcert.data.checks import check_size, class_indices, encode_names, finite_float32
from boundcert.data.dataset import DataSet
from boundcert.data.files import take, unreadable
from boundcert.errors import RefusedInput

# Inputs and the labels that belong with them, in the order in which they are looked for.
PAIRS = (("x", "y"), ("images", "labels"), ("data", "targets"), ("x_test", "y_test"))


def read_npz(path: Path) -> DataSet:
    """Data set of an archive with arrays x and y, or one of the other ``PAIRS``.

    uint8 inputs are divided by 255; other numbers are kept as they are. Axes are never moved.
    Labels are optional; labels that are strings become indices into the sorted names.

    Raises
    ------
    RefusedInput
        The file is damaged, lacks the arrays, or holds objects, NaN or labels that do not match.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            found = next((pair for pair in PAIRS if pair[0] in members), None)
            if found is None:
                raise RefusedInput(
                    f"{path}: holds the arrays {sorted(members) or 'none'}; needs "
                    + " or ".join(f"{x} (labels {y})" for x, y in PAIRS)
                )
            inputs, labels = found
            raw_x = read_member(archive, members[inputs], f"{path}, array {inputs}")
            raw_y = None
            if labels in members:
                raw_y = read_member(archive, members[labels], f"{path}, array {labels}")
    except RefusedInput:
        raise
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:
        # zipfile and numpy's header parser raise many kinds on damaged bytes.
        raise RefusedInput(
            f"{path}: is not a readable npz archive ({type(error).__name__}: {error}); "
            "save it again with numpy.savez"
        ) from error
    return _data_set(path, inputs, raw_x, labels, raw_y)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray:
    """One array of an archive: numbers, booleans or text, never Python objects."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
        else:
            raise RefusedInput(f"{where}: has npy version {version}; save it as plain numbers")
        if dtype.kind not in "biufUS" or dtype.itemsize == 0:
            raise RefusedInput(f"{where}: has type {dtype}; save it as numbers (no objects)")
        data = take(stream, check_size(shape, dtype.itemsize, where), where)
        if stream.read(1):  # reading to the end also makes zipfile compare its checksum
            raise RefusedInput(f"{where}: holds more bytes than its shape {shape}")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _data_set(
    path: Path, inputs: str, raw_x: np.ndarray, labels: str, raw_y: np.ndarray | None
) -> DataSet:
    """Checked arrays and an honest ``source``."""
    where = f"{path}, array {inputs}"
    if raw_x.dtype.kind in "US" or raw_x.ndim < 2:
        raise RefusedInput(
            f"{where}: has type {raw_x.dtype} and shape {raw_x.shape}; "
            "needs numbers of shape (samples, ...)"
        )
    x = finite_float32(raw_x, where)
    how = f"{raw_x.dtype} kept as it is"
    if raw_x.dtype == np.uint8:
        x /= np.float32(255)
        how = "uint8 divided by 255"
    classes: tuple[str, ...] = ()
    if raw_y is not None:
        if raw_y.dtype.kind in "US" and raw_y.ndim == 1:
            raw_y, classes = encode_names([str(name) for name in _text(raw_y)])
        raw_y = class_indices(raw_y, len(x), f"{path}, array {labels}")
    told = f"labels {labels}" if raw_y is not None else f"unlabelled (no array {labels})"
    return DataSet(path.stem, x, raw_y, classes, f"{path}: {inputs}, {how}; {told}")


def _text(labels: np.ndarray) -> np.ndarray:
    """Byte strings as text; latin1 because it decodes every byte."""
    return np.char.decode(labels, "latin1") if labels.dtype.kind == "S" else labels
