"""What named data sets there are and which of them are on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boundcert.data.catalogue import SETS
from boundcert.data.files import size_of
from boundcert.data.locate import cache_dir, find
from boundcert.demo import data_path
from boundcert.errors import UsageError

ABSENT = "not downloaded"


@dataclass(frozen=True)
class Record:
    """One named data set.

    ``shape`` is one sample's; ``where`` is the folder with its files or ``not downloaded``;
    ``bytes`` is their size on disk, or the size of the download when they are absent.
    """

    name: str
    samples: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    where: str
    bytes: int


def describe(name: str, data_dir: Path | None = None) -> Record:
    """Record of one named data set, looked for in ``data_dir`` and then in the cache.

    Raises
    ------
    UsageError
        ``name`` is no named data set.
    """
    if name not in SETS:
        raise UsageError(f"'{name}' is no named data set; the names are {', '.join(SETS)}")
    entry = SETS[name]
    if not entry.remote:
        paths, where = [data_path()], "shipped with boundcert"
    else:
        roots = [cache_dir()] if data_dir is None else [Path(data_dir), cache_dir()]
        paths = next((found for root in roots if (found := find(entry, root))), [])
        where = str(paths[0].parent) if paths else ABSENT
    size = sum(map(size_of, paths)) if paths else sum(file.size for file in entry.remote)
    return Record(name, entry.samples, entry.shape, entry.classes, where, size)


def inventory(data_dir: Path | None = None) -> list[Record]:
    """Records of all named data sets, in the order of :func:`boundcert.data.names`."""
    return [describe(name, data_dir) for name in SETS]
