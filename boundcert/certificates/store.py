"""Where a run's records go: a new file, or the rest of one that was broken off."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boundcert.certificates.compare import same_run
from boundcert.certificates.lines import to_line
from boundcert.certificates.reader import Contents, read
from boundcert.certificates.records import Run, Sample, Summary
from boundcert.certificates.writer import Writer, exists
from boundcert.errors import RefusedInput


@dataclass(frozen=True)
class Store:
    """An opened results file.

    Attributes
    ----------
    writer : None for a complete file, which needs no more.
    kept : the samples that are finished.
    summary : of a complete file.
    """

    writer: Writer | None
    kept: tuple[Sample, ...] = ()
    summary: Summary | None = None


def check_target(path: Path, resume: bool) -> None:
    """Refuse early what :func:`open_store` would refuse after the model is loaded.

    Raises
    ------
    RefusedInput
    """
    if path.is_dir():
        raise RefusedInput(f"{path}: is a folder; name a file")
    if path.is_file():
        if not resume:
            raise exists(path)
    elif not path.exists():
        if not path.parent.is_dir():
            raise RefusedInput(f"{path}: cannot be written: there is no folder {path.parent}")
        if not os.access(path.parent, os.W_OK):
            raise RefusedInput(f"{path}: cannot be written: the folder is read-only")


def open_store(path: Path, run: Run, places: Sequence[int], resume: bool) -> Store:
    """A file that holds ``run``'s record and whatever samples are finished.

    Parameters
    ----------
    places : the indices of the run's samples in order.
    resume : whether an existing file is continued; without it, it is refused.

    Raises
    ------
    RefusedInput
        The file exists, is from another run (what differs is named), or cannot be used.
    """
    if resume and path.is_file():
        return _continued(path, run, places)
    if resume and path.exists():
        raise RefusedInput(f"{path}: is no regular file, so --resume cannot read it")
    writer = Writer(path)
    try:
        writer.write([run])
    except BaseException:
        writer.close()
        raise
    return Store(writer)


def _continued(path: Path, run: Run, places: Sequence[int]) -> Store:
    contents = read(path)
    if contents.run is None:
        # Only the beginning of this very run's first line may be dropped: any other bytes are
        # somebody's file.
        if not to_line(run).encode().startswith(contents.tail):
            raise RefusedInput(f"{path}: is no boundcert results file; --resume leaves it alone")
        writer = Writer(path, 0)
        writer.write([run])
        return Store(writer)
    differences = same_run(contents.run, run)
    if differences:
        raise RefusedInput(
            f"{path}: is from another run, with {'; '.join(differences)}; "
            "use the same command, or another --out"
        )
    _check_order(path, contents, places)
    if contents.summary is None:
        return Store(Writer(path, contents.size), contents.samples)
    if contents.tail:
        raise RefusedInput(f"{path}: goes on behind its summary; remove what follows it")
    return Store(None, contents.samples, contents.summary)


def _check_order(path: Path, contents: Contents, places: Sequence[int]) -> None:
    found = [sample.index for sample in contents.samples]
    if contents.summary is not None and len(found) != len(places):
        raise RefusedInput(
            f"{path}: has a summary but {len(found)} of {len(places)} samples; start again"
        )
    for k, index in enumerate(found):
        if k >= len(places) or places[k] != index:
            raise RefusedInput(
                f"{path}, line {k + 2}: sample {index} is out of place; the file was changed, "
                "start again with another --out"
            )
