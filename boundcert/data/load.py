"""``load_data``: from what the user wrote to a ``DataSet``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from boundcert.data.catalogue import SETS, NamedSet, names
from boundcert.data.cifar import read_cifar
from boundcert.data.dataset import DataSet
from boundcert.data.folder import read_folder
from boundcert.data.idx import read_idx_pair
from boundcert.data.locate import cache_dir, find
from boundcert.data.npz import read_npz
from boundcert.data.obtain import download as fetch_set
from boundcert.data.obtain import missing
from boundcert.data.table import read_csv
from boundcert.data.uci import read_uci
from boundcert.demo import data_path
from boundcert.errors import RefusedInput, UsageError

READERS: dict[str, Callable[[str, list[Path], tuple[str, ...]], DataSet]] = {
    "mnist": read_idx_pair,
    "fashion-mnist": read_idx_pair,
    "cifar10": read_cifar,
    "iris": read_uci,
    "wine": read_uci,
    "spambase": read_uci,
}
LABEL = "#label="


def load_data(
    spec: str | os.PathLike[str], data_dir: Path | None = None, download: bool = True
) -> DataSet:
    """Load the samples that ``spec`` names.

    Parameters
    ----------
    spec : str
        A name (see :func:`boundcert.data.names`; a name wins over a file called the same, which
        ``./name`` reaches), or the path of an ``.npz`` file, of a ``.csv`` file (with an optional
        ``#label=COLUMN``, ``none`` for unlabelled), or of a folder of images.
    data_dir : Path, optional
        Folder where a named set's files are looked for, in torchvision's layout, before the cache.
    download : bool
        Whether a named set that is in neither may be downloaded into the cache.

    Returns
    -------
    DataSet
        x (N, \\*sample shape) float32 and y (N,) int64 or ``None``. Of MNIST, Fashion-MNIST and
        CIFAR-10 it is the test set in official order; of the UCI sets, all rows.

    Raises
    ------
    RefusedInput
        Nothing of that name exists, or what it names cannot be used; the message says why.
    UsageError
        ``spec`` asks for random inputs, whose shape only the network knows, or gives a label
        column to something other than a CSV file.
    """
    text = os.fspath(spec)
    if text in SETS:
        return _load_named(SETS[text], data_dir, download)
    if text.split(":")[0] == "random" and not os.path.exists(text):
        raise UsageError(
            f"'{text}' needs a network's input shape; use boundcert.data.random_inputs"
        )
    return _load_path(text)


def _load_named(entry: NamedSet, data_dir: Path | None, download: bool) -> DataSet:
    if not entry.remote:
        shipped = read_npz(data_path())
        source = "500 held-out 8x8 digits of scikit-learn, shipped with boundcert, scaled to [0, 1]"
        return replace(shipped, name=entry.name, classes=entry.classes, source=source)
    roots = [cache_dir()]
    if data_dir is not None:
        if not os.path.isdir(data_dir):
            raise RefusedInput(f"{data_dir}: is not a folder, so {entry.name} cannot be read there")
        roots.insert(0, Path(data_dir))
    paths = next((found for root in roots if (found := find(entry, root))), None)
    if paths is None:
        if not download:
            raise missing(entry, roots)
        paths = fetch_set(entry.name)
    return READERS[entry.name](entry.name, paths, entry.classes)


def _load_path(text: str) -> DataSet:
    base, mark, label = text.partition(LABEL)
    path = Path(os.path.expanduser(base))  # Path.expanduser fails for an unknown ~user
    suffix = path.suffix.lower()
    if mark and suffix != ".csv":
        raise UsageError(f"'{text}': {LABEL}COLUMN belongs behind the name of a .csv file")
    if mark and not label:
        raise UsageError(f"'{text}': name a column, its index or none behind {LABEL}")
    # os.path rather than Path: its tests answer False for names that no system accepts.
    if os.path.isdir(path):
        return read_folder(path)
    if not os.path.isfile(path):
        near = difflib.get_close_matches(text.lower(), names(), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise RefusedInput(
            f"'{text}' is neither a data set nor a file or folder; {hint}"
            f"the data sets are {', '.join(names())}"
        )
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".csv":
        return read_csv(path, label or None)
    raise RefusedInput(
        f"{path}: ends in '{suffix}'; needs .npz, .csv or a folder of PNG or JPEG images"
    )
