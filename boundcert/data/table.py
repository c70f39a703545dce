"""Tables of numbers with a label column: a user's ``.csv``, and the UCI files."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from boundcert.data.checks import class_indices, encode_names, finite_float32
from boundcert.data.dataset import DataSet
from boundcert.data.rows import is_number, numbers, read_rows
from boundcert.errors import RefusedInput

Row = tuple[int, list[str]]


def read_csv(path: Path, label: str | None = None) -> DataSet:
    """Data set of a CSV file: x (N, columns - 1) in the file's units.

    Parameters
    ----------
    path : Path
        Comma, semicolon or tab separated; a header row is recognised by its lack of numbers.
    label : str, optional
        The label column's index from 0 (-1 is the last), else its name, or ``none`` for
        unlabelled data. Default: the last column.

    Raises
    ------
    RefusedInput
        A cell is no finite number (its row and column are named), rows differ in length, or the
        label column does not exist.
    """
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        raise RefusedInput(f"{path}: has no rows")
    column = _label_column(path, first[1], label)
    header = _is_header(first[1], column)
    body = rows if header else chain([first], rows)
    columns = [f"{i + 1} ({n[:40]})" if header else str(i + 1) for i, n in enumerate(first[1])]
    x, labels = _columns(path, body, column, columns)
    if len(x) == 0:
        raise RefusedInput(f"{path}: has a header but no rows of numbers")
    told = "unlabelled" if column is None else f"labels in column {columns[column]}"
    source = f"{path}: {len(x)} rows in file order, {'' if header else 'no '}header, {told}"
    y, classes = _labels(path, labels) if column is not None else (None, ())
    return DataSet(path.stem, finite_float32(x, str(path)), y, classes, source)


def _columns(
    path: Path, rows: Iterator[Row], column: int | None, columns: list[str]
) -> tuple[np.ndarray, list[str]]:
    """Feature values (N, F) and label cells, row by row so that only numbers pile up."""
    names = [name for i, name in enumerate(columns) if i != column]
    values, labels = [], []
    for line, cells in rows:
        if column is not None:
            labels.append(cells.pop(column))
        values.append(numbers(cells, f"{path}: row {line}", names))
    return np.array(values), labels


def _label_column(path: Path, first: list[str], label: str | None) -> int | None:
    """Index of the label column in ``first``, the first row."""
    if label == "none":
        return None
    if len(first) < 2:
        raise RefusedInput(
            f"{path}: has one column; needs features and a label, or #label=none after the name"
        )
    if label is None:
        return len(first) - 1
    # A name counts only in a header: the same text in a data row must not cost that row.
    if label in first and not _is_index(label) and _is_header(first, first.index(label)):
        return first.index(label)
    if _is_index(label) and -len(first) <= int(label) < len(first):
        return int(label) % len(first)
    raise RefusedInput(
        f"{path}: has no label column '{label}'; its first row is {', '.join(first)[:200]} "
        f"(an index counts from 0 to {len(first) - 1})"
    )


def _is_index(label: str | None) -> bool:
    return label is not None and label.removeprefix("-").isdecimal() and len(label) < 10


def _is_header(first: list[str], column: int | None) -> bool:
    """Whether no feature cell is a number; a row with some numbers has a wrong cell instead.

    Pandas names nameless columns 0, 1, 2, ...: such a row is a header if its label cell has a name.
    """
    features = [cell for i, cell in enumerate(first) if i != column]
    counted = [str(i) for i in range(len(features))]
    if column is not None and features == counted and not is_number(first[column]):
        return True
    # Missing-value marks count as (bad) data: they are refused by row and column, not skipped.
    marks = {"", "?", "nan", "na", "inf", "-inf", "+inf", "null", "none"}
    return not any(is_number(cell) or cell.lower() in marks for cell in features)


def _labels(path: Path, labels: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Whole numbers are class indices as they stand; any other text is a class name."""
    if "" in labels:
        raise RefusedInput(f"{path}: the label of sample {labels.index('')} (from 0) is empty")
    if all(map(is_number, labels)):
        values = np.array(labels, dtype=np.float64)
        return class_indices(values, len(labels), f"{path}, label column"), ()
    if any(map(is_number, labels)):
        at = next(i for i, cell in enumerate(labels) if is_number(cell) != is_number(labels[0]))
        raise RefusedInput(
            f"{path}: labels mix numbers and names: sample 0 has '{labels[0]}', sample {at} "
            f"(counted from 0) has '{labels[at]}'"
        )
    return encode_names(labels)
