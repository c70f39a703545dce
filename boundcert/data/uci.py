"""The three UCI tables, which have no official test split: all rows, in file order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from boundcert.data.checks import class_indices
from boundcert.data.dataset import DataSet
from boundcert.data.table import read_csv
from boundcert.errors import RefusedInput

FEATURES = {"iris": 4, "wine": 13, "spambase": 57}
# Wine's file puts its class first, and counts from 1.
LABEL_COLUMN = {"iris": "-1", "wine": "0", "spambase": "-1"}
FIRST_CLASS = {"iris": 0, "wine": 1, "spambase": 0}


def read_uci(name: str, paths: list[Path], classes: tuple[str, ...]) -> DataSet:
    """Data set of one UCI file: x (N, features) in the file's units, y (N,) from 0."""
    (path,) = paths
    data = read_csv(path, LABEL_COLUMN[name])
    if data.x.shape[1] != FEATURES[name]:
        raise RefusedInput(
            f"{path}: has {data.x.shape[1]} features; {name} has {FEATURES[name]} and a class"
        )
    unknown = set(data.classes) - set(classes)
    if data.y is None or unknown or bool(data.classes) != (name == "iris"):
        found = ", ".join(sorted(unknown)) or "numbers"
        raise RefusedInput(f"{path}: has classes {found[:200]}; {name} has {', '.join(classes)}")
    labels = data.y - FIRST_CLASS[name]
    if data.classes:  # by name, so that a file with one class left out keeps the indices
        labels = np.array([classes.index(found) for found in data.classes])[labels]
    y = class_indices(labels, len(data.x), f"{path}, class - {FIRST_CLASS[name]}", len(classes))
    source = f"{path}: all {len(y)} rows in file order (no official test split)"
    return replace(data, name=name, y=y, classes=classes, source=source)
