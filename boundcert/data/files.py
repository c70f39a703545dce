"""Reading bytes from files that may be missing, damaged or larger than they say."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import IO, cast

from boundcert.errors import RefusedInput

CHUNK = 2**20


def take(stream: IO[bytes], count: int, where: str) -> bytearray:
    """Exactly ``count`` bytes of ``stream``, read in pieces.

    In pieces because ``read(count)`` may set aside ``count`` bytes before it has seen one of them.
    """
    data = bytearray()
    while len(data) < count:
        piece = stream.read(min(CHUNK, count - len(data)))
        if not piece:
            raise RefusedInput(
                f"{where}: ends after {len(data):,} of {count:,} bytes; the file is cut short, "
                "fetch it again"
            )
        data += piece
    return data


def open_plain_or_gzip(path: Path) -> IO[bytes]:
    """Open ``path`` for reading, unpacking it if its first bytes are gzip's, whatever its name."""
    try:
        with open(path, "rb") as handle:
            packed = handle.read(2) == b"\x1f\x8b"
        return cast(IO[bytes], gzip.open(path, "rb") if packed else open(path, "rb"))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: BaseException) -> RefusedInput:
    """The refusal for a file that the system, or its own compression, does not let us read."""
    if isinstance(error, OSError) and error.strerror:
        return RefusedInput(f"{path}: cannot be read ({error.strerror})")
    return RefusedInput(f"{path}: is damaged ({error}); fetch or save it again")


# What reading a damaged gzip stream raises.
DAMAGE = (OSError, EOFError, zlib.error)


def size_of(path: Path) -> int:
    """Size of ``path`` in bytes."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise unreadable(path, error) from error
