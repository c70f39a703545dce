"""Time that a climb may take."""

from __future__ import annotations

import time

from boundcert.kernels.compiling import compiling


class OutOfTime(Exception):
    """The time is used up; what was begun is given up, what is proved stays."""


class Clock:
    """Counts from its making; ``seconds`` None: as much time as it needs.

    Time that kernels take to be compiled, when they are first used on a machine, does not count.

    Attributes
    ----------
    step : seconds that the last step took.
    frame : seconds that a plain frame of one sample took.
    reserve : seconds to be kept for finishing.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.start, self.seconds = time.monotonic() - compiling(), seconds
        self.step = self.frame = self.reserve = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - compiling() - self.start

    @property
    def over(self) -> bool:
        """Whether another step as long as the last would take too long."""
        return self.seconds is not None and self.elapsed + self.step > self.seconds

    @property
    def short(self) -> bool:
        """Whether no more is left than the reserve."""
        return self.seconds is not None and self.elapsed > self.seconds - self.reserve

    def share(self, part: float) -> Clock:
        """A clock that ends when this share of the time left is used up."""
        if self.seconds is None:
            return Clock()
        return Clock(max(0.0, self.seconds - self.elapsed) * part)

    def check(self) -> None:
        """Give up if the time is used up.

        Raises
        ------
        OutOfTime
        """
        if self.seconds is not None and self.elapsed > self.seconds:
            raise OutOfTime
