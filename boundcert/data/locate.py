"""Finding a named data set's files on disk."""

from __future__ import annotations

import os
from pathlib import Path

from boundcert.data.catalogue import NamedSet


def cache_dir() -> Path:
    """Folder of downloaded data: ``$BOUNDCERT_CACHE``, else ``boundcert`` in the user's cache."""
    own = os.environ.get("BOUNDCERT_CACHE")
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "boundcert"


def find(entry: NamedSet, root: Path) -> list[Path] | None:
    """All of the set's files in the first of its folders below ``root`` that has them all.

    A file named ``*.gz`` may also lie there unpacked, without the suffix.
    """
    for folder in entry.folders:
        spellings = [
            (root / folder / n, root / folder / n.removesuffix(".gz")) for n in entry.files
        ]
        found = [next((path for path in pair if path.is_file()), None) for pair in spellings]
        paths = [path for path in found if path is not None]
        if len(paths) == len(entry.files):
            return paths
    return None


def by_hand(entry: NamedSet, root: Path) -> str:
    """Instruction for putting the set's files under ``root`` without boundcert's download."""
    sources = ", ".join(remote.url for remote in entry.remote)
    unpack = " and unpack it" if entry.remote[0].member else ""
    return (
        f"to do it by hand, get {sources}{unpack}, put {' and '.join(entry.files)} into "
        f"{root / entry.folders[0]}, and give {root} as the data folder"
    )
