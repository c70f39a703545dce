"""Downloading one file: partial file, checksum, then an atomic rename into place.

Several processes may fetch the same file. Each writes to a partial file of its own; whichever
finishes puts a complete, checked file in place, and doing so twice changes nothing. What an
interrupted one leaves is called ``NAME.part``, and the next process claims it by renaming it,
which only one of them can succeed in.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import suppress
from pathlib import Path

from boundcert.data.catalogue import RemoteFile
from boundcert.data.transfer import transfer
from boundcert.errors import RefusedInput


def fetch(remote: RemoteFile, folder: Path) -> Path:
    """Download ``remote`` into ``folder`` and return the file's path.

    Raises
    ------
    RefusedInput
        The folder cannot be made, the transfer fails, or the bytes have the wrong checksum (the
        file is removed then; after a broken transfer the partial file stays for the next call).
    """
    target = folder / remote.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = _claim(target)
    except OSError as error:
        raise RefusedInput(
            f"{folder}: cannot be written ({error.strerror}); set BOUNDCERT_CACHE to a folder "
            "that can"
        ) from error
    try:
        _complete(remote, part)
        os.replace(part, target)
    finally:
        # Also on Ctrl-C. Nothing is left to hand back after success or a wrong checksum.
        with suppress(OSError):
            os.replace(part, _leftover(target))
    return target


def _leftover(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _claim(target: Path) -> Path:
    """A partial file that belongs to this call only, with what an earlier call left in it."""
    part = target.with_name(f"{target.name}.{uuid.uuid4().hex}.part")
    try:
        os.replace(_leftover(target), part)
    except FileNotFoundError:
        part.write_bytes(b"")
    return part


def _complete(remote: RemoteFile, part: Path) -> None:
    """Bring ``part`` to the full, checked file."""
    resumed = part.stat().st_size > 0
    if resumed and digest(part, remote.algorithm) == remote.digest:
        return
    limit = 2 * remote.size + 2**20  # room for a re-packed file, which the checksum then names
    transfer(remote.url, part, limit)
    found = digest(part, remote.algorithm)
    if resumed and found != remote.digest:  # the leftover may be the wrong half: start afresh
        part.write_bytes(b"")
        transfer(remote.url, part, limit)
        found = digest(part, remote.algorithm)
    if found != remote.digest:
        size = part.stat().st_size
        part.unlink()
        raise RefusedInput(
            f"{remote.url}: sent {size:,} bytes with {remote.algorithm} {found}, but "
            f"{remote.name} has {remote.digest}; the file was removed"
        )


def digest(path: Path, algorithm: str) -> str:
    """Hexadecimal checksum of a file."""
    # MD5 is only ever compared with a published sum; some builds forbid it for security uses.
    total = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as handle:
        while chunk := handle.read(2**20):
            total.update(chunk)
    return total.hexdigest()
