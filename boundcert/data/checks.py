"""Checks that turn raw arrays into the arrays of a ``DataSet``, or refuse them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boundcert.errors import RefusedInput

# No declared size above this is believed: a corrupted header must not take the machine's memory.
MAX_BYTES = 4 * 2**30
# A class index is an output of a network; nothing larger than this can be one.
MAX_CLASS = 10**7


def check_size(shape: Sequence[int], itemsize: int, where: str) -> int:
    """Bytes of an array of ``shape``, refused when empty, negative or above ``MAX_BYTES``."""
    total = itemsize
    for extent in shape:
        total *= int(extent)  # Python integers: the product of a mutated header may pass 2**64
    if any(extent < 1 for extent in shape):
        raise RefusedInput(f"{where}: declares an empty array of shape {tuple(shape)}")
    if total > MAX_BYTES:
        raise RefusedInput(
            f"{where}: declares shape {tuple(shape)}, {total:,} bytes; "
            f"at most {MAX_BYTES:,} are read, so the header is damaged or the file needs splitting"
        )
    return total


def finite_float32(values: np.ndarray, where: str) -> np.ndarray:
    """``values`` (N, ...) as contiguous float32, refused where NaN or outside float32's range."""
    with np.errstate(over="ignore"):  # an overflow becomes inf and is refused just below
        x = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if not finite.all():
        raise RefusedInput(
            f"{where}: sample {int(np.argmin(finite))} (counted from 0) holds NaN, an infinity or "
            f"a value beyond float32; {int((~finite).sum())} samples do; remove or repair them"
        )
    return x


def class_indices(
    labels: np.ndarray, count: int, where: str, classes: int = MAX_CLASS
) -> np.ndarray:
    """``labels`` as int64 (count,), refused unless each is a whole number in [0, classes)."""
    if labels.shape != (count,):
        hint = "; take the argmax of one-hot labels" if labels.ndim == 2 else ""
        raise RefusedInput(
            f"{where}: labels have shape {labels.shape}, but {count} samples need ({count},){hint}"
        )
    if labels.dtype.kind not in "iufb":
        raise RefusedInput(f"{where}: labels have type {labels.dtype}; class indices are needed")
    wrong = ~((labels >= 0) & (labels < classes))  # also true for NaN
    if labels.dtype.kind == "f":
        wrong |= labels != np.trunc(labels)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise RefusedInput(
            f"{where}: the label of sample {at} (counted from 0) is {labels[at]}; "
            f"class indices are whole numbers from 0 to {classes - 1}"
        )
    return labels.astype(np.int64)


def encode_names(labels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class names as indices (N,) int64 into the sorted distinct names, and those names."""
    classes = tuple(sorted(set(labels)))
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in labels], dtype=np.int64), classes
