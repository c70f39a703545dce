"""Reading a results file, finished or broken off."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boundcert.certificates.lines import from_line
from boundcert.certificates.records import Run, Sample, Summary
from boundcert.errors import RefusedInput


@dataclass(frozen=True)
class Contents:
    """What a results file holds.

    Attributes
    ----------
    run : None in a file without a whole line.
    samples : the finished ones, in order.
    summary : None in a file that was broken off.
    size : bytes of the whole lines.
    tail : the bytes behind them: a line that was being written when the process died.
    """

    run: Run | None
    samples: tuple[Sample, ...]
    summary: Summary | None
    size: int
    tail: bytes


def read(path: Path) -> Contents:
    """The records of a results file; a last line without its newline is left in ``tail``.

    Raises
    ------
    RefusedInput
        The file cannot be read, or a whole line is malformed or out of place; the message names
        the file and the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RefusedInput(f"{path}: cannot be read: {error.strerror or error}") from error
    *lines, tail = data.split(b"\n")
    run: Run | None = None
    samples: list[Sample] = []
    summary: Summary | None = None
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        record = from_line(line, where)
        if (run is None) != isinstance(record, Run):
            found = type(record).__name__.lower()
            raise RefusedInput(f"{where}: is a {found} record; a file holds one run, in line 1")
        if summary is not None:
            raise RefusedInput(f"{where}: follows the summary, which ends a file")
        if isinstance(record, Run):
            run = record
        elif isinstance(record, Sample):
            samples.append(record)
        else:
            summary = record
    return Contents(run, tuple(samples), summary, len(data) - len(tail), tail)
