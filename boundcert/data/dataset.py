"""The record that every loader returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)  # comparing arrays with == gives no single truth value
class DataSet:
    """Samples to certify, with their labels where there are any.

    Attributes
    ----------
    name : str
        Short name, such as ``mnist`` or the file's stem.
    x : numpy.ndarray
        Shape (N, \\*sample shape), float32, finite. Images are channel first in [0, 1], tabular
        data is in its own units, a user's npz is in whatever axes and units it was saved in.
    y : numpy.ndarray or None
        Shape (N,), int64, class indices from 0; ``None`` when unlabelled.
    classes : tuple of str
        Class names by index, empty if unknown.
    source : str
        Where the arrays came from and what was done to them, for people to read.
    """

    name: str
    x: np.ndarray
    y: np.ndarray | None
    classes: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.x)
