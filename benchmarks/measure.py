"""What is measured of a method, and how: images, radii, times, and what spoils times."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from common import Benchmark

import boundcert
from boundcert.network.graph import Network
from boundcert.prepared import Prepared, chunks

#: Relative difference of radii that counts as none; bisections stop there.
TOLERANCE = 1e-3

#: Seconds after which one run is enough; else the fastest of ``--repeat`` counts.
ENOUGH = 20.0

T = TypeVar("T")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Watch:
    """How many cores other processes keep busy meanwhile, on average: what spoils times."""

    def __init__(self) -> None:
        self.start = self._now()

    def others(self) -> float:
        """Since the start; nan where the system does not say (it does on Linux)."""
        seconds, busy = (b - a for a, b in zip(self.start, self._now()))
        return max(busy, 0.0) / seconds

    @staticmethod
    def _now() -> tuple[float, float]:
        try:
            words = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
            tick = os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return time.perf_counter(), math.nan
        ticks = [int(w) for w in words]  # user nice system idle iowait irq softirq steal
        busy = (sum(ticks) - ticks[3] - ticks[4]) / tick
        return time.perf_counter(), busy - time.process_time()


@dataclass(frozen=True)
class Images:
    """Samples a network classifies correctly, their places, and another one to warm up on."""

    rows: torch.Tensor
    label: torch.Tensor
    places: list[int]
    other: torch.Tensor
    other_label: torch.Tensor


def choose(entry: Benchmark, network: Network, data_dir: Path | None, samples: int) -> Images:
    """The first correctly classified samples, and the one after them."""
    data = boundcert.load_data(entry.data, data_dir)
    assert data.y is not None
    wanted = min(4 * samples + 20, len(data))
    rows, y = network.prepare(data.x[:wanted]), torch.as_tensor(data.y[:wanted])
    with torch.no_grad():
        right = network.logits(rows).argmax(dim=1) == y
    places = right.nonzero().flatten()[: samples + 1]
    if len(places) <= samples:
        raise SystemExit(f"{entry.file}: fewer than {samples + 1} of {wanted} images are right")
    kept, last = places[:-1], places[-1:]
    return Images(rows[kept], y[kept], kept.tolist(), rows[last], y[last])


@dataclass
class Measured:
    """Radii of one method, and times.

    Attributes
    ----------
    seconds, setup : for one image, and once per network.
    others : cores that other processes kept busy meanwhile.
    """

    method: str
    radii: list[float]
    seconds: float
    setup: float
    others: float
    note: str = ""

    @property
    def mean(self) -> float:
        return float(np.mean(self.radii))

    def reaches(self, other: Measured) -> bool:
        """Whether the other's radii are equalled on every image; a nan equals nothing."""
        return bool((np.array(self.radii) >= (1.0 - TOLERANCE) * np.array(other.radii)).all())


def timed(run: Callable[[], T], repeat: int) -> tuple[T, float]:
    """What the function returns, and the seconds of its fastest run."""
    best = math.inf
    for _ in range(max(repeat, 1)):
        start = time.perf_counter()
        value = run()
        best = min(best, time.perf_counter() - start)
        if best > ENOUGH:
            break
    return value, best


def measure_ours(network: Network, images: Images, norm: str, method: str, repeat: int) -> Measured:
    watch, start = Watch(), time.perf_counter()
    # the rival's radii, too, are about real numbers
    ready = Prepared(network, norm, method, semantics="exact")
    setup = time.perf_counter() - start
    ready(images.other)
    rows = images.rows

    def run() -> np.ndarray:
        return np.concatenate([ready(rows[a:b]).lower for a, b in chunks(network, len(rows))])

    radii, seconds = timed(run, repeat)
    return Measured(method, radii.tolist(), seconds / len(rows), setup, watch.others())
