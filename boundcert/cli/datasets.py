"""What ``boundcert data`` shows."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from boundcert.data import describe, inventory, load_data, names
from boundcert.report import new_table, say


def print_inventory(console: Console, data_dir: Path | None) -> None:
    """A table of the named data sets."""
    table = new_table()
    for name in ("name", "samples", "shape", "classes", "size"):
        table.add_column(name, justify="left" if name == "name" else "right", no_wrap=True)
    table.add_column("where", overflow="fold")
    for record in inventory(data_dir):
        count = str(len(record.classes))
        cells = (f"{record.samples:,}", _shape(record.shape), count, _size(record.bytes))
        table.add_row(record.name, *cells, escape(record.where))
    console.print(table)


def print_data(console: Console, spec: str, data_dir: Path | None) -> None:
    """Facts of a named data set without loading it, or of a file or folder.

    Raises
    ------
    RefusedInput, UsageError
    """
    if spec in names():
        record = describe(spec, data_dir)
        say(console, f"{record.name}: {record.samples:,} samples of shape {_shape(record.shape)}")
        say(console, f"{len(record.classes)} classes: {', '.join(record.classes)}")
        say(console, f"{_size(record.bytes)}, {record.where}")
        return
    data = load_data(spec, data_dir, download=False)
    say(console, f"{data.name}: {len(data):,} samples of shape {_shape(data.x.shape[1:])}")
    if data.y is None:
        say(console, "unlabelled")
    elif data.classes:
        say(console, f"{len(data.classes)} classes: {', '.join(data.classes)}")
    else:
        say(console, f"labels {data.y.min()} to {data.y.max()}")
    say(console, f"values {data.x.min():g} to {data.x.max():g}")
    say(console, data.source)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
