"""How a method's time grows with samples, width and depth, per parameter.

    python benchmarks/growth.py [--method walk] [--norm l2] [--repeat 1]
        [--samples 500 1000 2000 4000 8000] [--each 1000]
        [--widths 128 256 512 1024] [--depths 2 4 8 16 32]

Networks of other widths and depths than 256 and 4 get ``--each`` samples. The fastest of
``--repeat`` runs counts. ``relax`` takes hundreds of times as long as ``walk``: give it fewer.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import show
from measure import say

import boundcert
from boundcert.prepared import Prepared, chunks


def mlp(width: int, depth: int) -> boundcert.Network:
    torch.manual_seed(0)
    parts: list[torch.nn.Module] = [torch.nn.Linear(100, width), torch.nn.ReLU()]
    for _ in range(depth - 1):
        parts += [torch.nn.Linear(width, width), torch.nn.ReLU()]
    return boundcert.from_torch(
        torch.nn.Sequential(*parts, torch.nn.Linear(width, 10)), torch.zeros(1, 100)
    )


def measure(ready: Prepared, samples: int) -> float:
    """Seconds of one run over so many samples."""
    rows = ready.network.prepare(np.random.default_rng(0).random((samples, 100)))
    start = time.perf_counter()
    for a, b in chunks(ready.network, len(rows)):
        ready(rows[a:b])
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--method", default="walk")
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--samples", type=int, nargs="*", default=[500, 1000, 2000, 4000, 8000])
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--widths", type=int, nargs="*", default=[128, 256, 512, 1024])
    parser.add_argument("--depths", type=int, nargs="*", default=[2, 4, 8, 16, 32])
    options = parser.parse_args()
    cases = [("samples", n, 256, 4, n) for n in options.samples]
    cases += [("width", n, n, 4, options.each) for n in options.widths]
    cases += [("depth", n, 256, n, options.each) for n in options.depths]
    rows: list[list[object]] = []
    for grows, to, width, depth, samples in cases:
        say(f"{grows} {to}")
        network = mlp(width, depth)
        ready = Prepared(network, options.norm, options.method, semantics="exact")
        measure(ready, min(8, samples))
        seconds = min(measure(ready, samples) for _ in range(options.repeat))
        each = seconds / samples
        cost = [seconds, 1e6 * each, 1e9 * each / network.parameters]
        rows.append([grows, to, network.parameters, *cost])
    show(["grows", "to", "parameters", "seconds", "us/sample", "ns/sample/parameter"], rows)


if __name__ == "__main__":
    main()
