"""Rows of a delimited text file, each with its line number and the first row's width."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from boundcert.data.files import unreadable
from boundcert.errors import RefusedInput

DELIMITERS = ",;\t"


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number from 1 and stripped cells of each row that is not blank.

    The delimiter is the one of comma, semicolon and tab that the first row holds most of.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            first = next((line for line in handle if line.strip()), "")
            delimiter = max(DELIMITERS, key=first.count)
            handle.seek(0)
            reader = csv.reader(_text_only(handle), delimiter=delimiter, strict=True)
            width = None
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                width = width or len(cells)
                if len(cells) != width:
                    raise RefusedInput(
                        f"{path}: row {reader.line_num} has {len(cells)} columns; "
                        f"the first row has {width}"
                    )
                yield reader.line_num, cells
    except OSError as error:
        raise unreadable(path, error) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise RefusedInput(f"{path}: is not delimited UTF-8 text ({error})") from error


def _text_only(lines: Iterable[str]) -> Iterator[str]:
    """``lines``, refused at a NUL, which only Python before 3.11 refuses by itself."""
    for line in lines:
        if "\0" in line:
            raise csv.Error("line contains NUL")
        yield line


def is_number(cell: str) -> bool:
    """Whether ``cell`` is a finite number."""
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def numbers(cells: list[str], where: str, columns: list[str]) -> np.ndarray:
    """``cells`` as float64 (len(cells),); a refusal names the first wrong cell's column."""
    try:
        values = np.array(cells, dtype=np.float64)
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass
    wrong = next(i for i, cell in enumerate(cells) if not is_number(cell))
    found = f"'{cells[wrong][:40]}'" if cells[wrong] else "nothing"
    raise RefusedInput(f"{where}, column {columns[wrong]}: found {found}; needs a finite number")
