"""Appending records to a file so that a kill at any moment costs at most one line.

Whole lines go to the operating system in one unbuffered write, so nothing sits in this process
when it dies; what a full disk cut off is taken back.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from boundcert.certificates.lines import Record, to_line
from boundcert.errors import RefusedInput


class Writer:
    """A results file open for appending; use it as a context manager.

    Parameters
    ----------
    path : the file.
    keep : None to create it, refusing one that exists; else the number of bytes to keep of it.

    Raises
    ------
    RefusedInput
        It exists, cannot be opened, or another process is writing it.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        self.path = path
        self.created = keep is None
        self.size = keep or 0
        self._file = _open(path, self.created)
        self.regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        try:
            _lock(self._file, path)
            if keep is not None:
                os.ftruncate(self._file, keep)
        except OSError as error:
            os.close(self._file)
            raise _unwritable(path, error) from error
        except RefusedInput:
            os.close(self._file)
            raise

    def write(self, records: Iterable[Record]) -> None:
        """Append whole lines.

        Raises
        ------
        RefusedInput
            The disk is full or the file cannot be written; earlier lines are still whole.
        """
        data = "".join(map(to_line, records)).encode()
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            self._take_back()
            raise _unwritable(self.path, error, bool(self.size)) from error
        self.size += len(data)

    def _take_back(self) -> None:
        if not self.regular:
            return
        # best effort: a line cut short is recognised when the run is resumed
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self.size)
            if self.created and self.size == 0:
                self.path.unlink()

    def close(self) -> None:
        """Release the file; closing twice is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(path: Path, create: bool) -> int:
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
    try:
        if not create or _is_stream(path):
            return os.open(path, flags)
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise exists(path) from None
    except OSError as error:
        raise _unwritable(path, error) from error


def _is_stream(path: Path) -> bool:
    """Whether there is a pipe or device, which holds nothing that could be overwritten."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _lock(file: int, path: Path) -> None:
    """Two processes appending to one file would mix their samples."""
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks, the user has to see to it
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RefusedInput(f"{path}: another boundcert is writing this file; wait for it") from None
    except OSError:  # a file system or a device without locks
        return


def exists(path: Path) -> RefusedInput:
    """The refusal to overwrite a file."""
    return RefusedInput(
        f"{path}: exists already; --resume continues a run that was broken off, "
        "else give another name or remove the file"
    )


def _unwritable(path: Path, error: OSError, begun: bool = False) -> RefusedInput:
    rest = "; what was written is whole, --resume continues from there" if begun else ""
    return RefusedInput(f"{path}: cannot be written: {error.strerror or error}{rest}")
