"""What counts as time."""

from __future__ import annotations

import time

from numba.core import event

from boundcert.bounds.clock import Clock


def test_compiling_does_not_count() -> None:
    """Nor does what is compiled meanwhile count twice."""
    began, clock = time.monotonic(), Clock(60.0)
    with event.trigger_event("numba:compile"), event.trigger_event("numba:compile"):
        time.sleep(0.2)
    assert clock.elapsed <= time.monotonic() - began - 0.2
    assert clock.elapsed >= 0.0


def test_other_time_counts() -> None:
    clock = Clock(0.01)
    time.sleep(0.02)
    assert clock.elapsed >= 0.02 and clock.over
