"""Downloading a named data set into the cache, in the layout that the loaders look for."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

from boundcert.data.catalogue import SETS, NamedSet, RemoteFile
from boundcert.data.files import DAMAGE, take, unreadable
from boundcert.data.locate import by_hand, cache_dir, find
from boundcert.errors import RefusedInput, UsageError


def download(name: str, root: Path | None = None) -> list[Path]:
    """Make sure that a named data set is on disk and return its files' paths.

    Parameters
    ----------
    name : str
        One of :func:`boundcert.data.names`.
    root : Path, optional
        Folder to look in and to download to; default the cache (``BOUNDCERT_CACHE``).

    Raises
    ------
    UsageError
        ``name`` is no named data set.
    RefusedInput
        The download failed; the message says how to put the files in place by hand.
    """
    if name not in SETS:
        raise UsageError(f"'{name}' is no named data set; the names are {', '.join(SETS)}")
    entry = SETS[name]
    if not entry.remote:
        from boundcert.demo import data_path

        return [data_path()]
    root = root or cache_dir()
    found = find(entry, root)
    if found is not None:
        return found
    try:
        return [_place(remote, root / entry.folders[0]) for remote in entry.remote]
    except RefusedInput as error:
        raise RefusedInput(
            f"{name} cannot be downloaded: {error}; {by_hand(entry, root)}"
        ) from error


def missing(entry: NamedSet, roots: list[Path]) -> RefusedInput:
    """The refusal for a set that is nowhere and must not be downloaded."""
    looked = " and ".join(str(root) for root in roots)
    return RefusedInput(
        f"{entry.name}: {' and '.join(entry.files)} not found in {looked}, and downloading is "
        f"switched off; {by_hand(entry, roots[0])}"
    )


def _place(remote: RemoteFile, folder: Path) -> Path:
    """Fetch ``remote`` into ``folder``; of an archive, keep only the member that is wanted."""
    from boundcert.data.fetch import fetch  # here: urllib takes longer to import than the rest

    path = fetch(remote, folder)
    if not remote.member:
        return path
    target = folder / remote.member.rsplit("/", 1)[-1]
    data = _member(path, remote)
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    part.write_bytes(data)
    os.replace(part, target)
    path.unlink(missing_ok=True)
    return target


def _member(path: Path, remote: RemoteFile) -> bytearray:
    """The checked bytes of the archive's one wanted member; nothing is unpacked to disk."""
    import tarfile

    where = f"{path}, {remote.member}"
    try:
        with tarfile.open(path, "r:gz") as archive:
            info = archive.getmember(remote.member)
            stream = archive.extractfile(info)
            if stream is None:
                raise RefusedInput(f"{where}: is not a file")
            data = take(stream, info.size, where)
    except KeyError:
        raise RefusedInput(f"{where}: is not in the archive") from None
    except (*DAMAGE, tarfile.TarError) as error:
        raise unreadable(path, error) from error
    if hashlib.sha256(data).hexdigest() != remote.member_digest:
        raise RefusedInput(f"{where}: has the wrong SHA-256")
    return data
