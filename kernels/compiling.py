"""How long Numba has been compiling."""

from __future__ import annotations

import time
from functools import cache

from numba.core import event


class _Listener(event.Listener):
    """Adds up the time from the start of a compilation to its end; inner ones are part of it."""

    def __init__(self) -> None:
        self.depth, self.began, self.total = 0, 0.0, 0.0

    def on_start(self, event: event.Event) -> None:
        if self.depth == 0:
            self.began = time.monotonic()
        self.depth += 1

    def on_end(self, event: event.Event) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.total += time.monotonic() - self.began


@cache
def _listener() -> _Listener:
    listener = _Listener()
    event.register("numba:compile", listener)
    return listener


def compiling() -> float:
    """Seconds that this process has spent compiling kernels since this was first asked."""
    return _listener().total
