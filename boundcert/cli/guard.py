"""Every error of a command as one message and its exit code."""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, ParamSpec

import typer

from boundcert.errors import BoundcertError

INTERRUPTED = 130
#: What the system answers where nothing more can be written: no fault of boundcert's.
NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO})
Given = ParamSpec("Given")


def guarded(command: Callable[Given, None]) -> Callable[Given, None]:
    """``command`` without tracebacks: errors end in a line on stderr and an exit code.

    ``BOUNDCERT_DEBUG=1`` in the environment shows the traceback as well.
    """

    @functools.wraps(command)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> None:
        with _CtrlC() as ctrl_c:
            try:
                command(*args, **kwargs)
                sys.stdout.flush()  # at exit nobody could say that it fails
            except (typer.Exit, typer.Abort):
                raise
            except BaseException as error:
                if ctrl_c.pressed or isinstance(error, KeyboardInterrupt):
                    _stop("interrupted; --resume continues a run that has an --out", INTERRUPTED)
                _end(error)

    return run


class _CtrlC:
    """Remembers Ctrl-C: compiled code turns its KeyboardInterrupt into other errors."""

    def __init__(self) -> None:
        self.pressed = False
        self.main = threading.current_thread() is threading.main_thread()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        raise KeyboardInterrupt

    def __enter__(self) -> _CtrlC:
        if self.main:  # signals are only ever handled there
            self.before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self.main:
            signal.signal(signal.SIGINT, self.before)


def _end(error: BaseException) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        # whoever read our output has gone: nothing is left to say
        _drop_output()
        raise typer.Exit(1)
    if isinstance(error, BoundcertError):
        _stop(str(error), error.exit_code)
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        _drop_output()
        _stop(
            f"cannot write: {error.strerror}; make room for standard output and for compiled "
            "kernels (NUMBA_CACHE_DIR says where); --resume continues a run that has an --out",
            1,
        )
    if isinstance(error, OSError) and error.filename is not None:
        _stop(f"{error.filename}: {error.strerror}", 1)
    if isinstance(error, MemoryError):
        _stop("out of memory; take fewer samples or a smaller model", 1)
    if not isinstance(error, Exception):
        raise error
    told = str(error).strip() or "no message"
    _stop(
        f"internal error, please report it with the command and the model: "
        f"{type(error).__name__}: {told} (BOUNDCERT_DEBUG=1 shows where)",
        1,
    )


def _drop_output() -> None:
    """What standard output did not take is not tried again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stop(message: str, code: int) -> NoReturn:
    if os.environ.get("BOUNDCERT_DEBUG") == "1":
        traceback.print_exc()
    print(f"boundcert: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(code)
