"""How a method's time grows with samples, width and depth, per parameter.

    python benchmarks/growth.py [--method walk] [--norm l2] [--scale 1.0]

``--scale`` multiplies the numbers of samples (500 to 8,000, else 1,000).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import show

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


def measure(network: boundcert.Network, samples: int, norm: str, method: str) -> float:
    rows = network.prepare(np.random.default_rng(0).random((samples, 100)))
    ready = Prepared(network, norm, method, semantics="exact")
    ready(rows[:8])
    start = time.perf_counter()
    for a, b in chunks(network, len(rows)):
        ready(rows[a:b])
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--method", default="walk")
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    way, usual = (options.norm, options.method), max(2, round(1000 * options.scale))
    base = mlp(256, 4)
    rows: list[list[object]] = []
    for samples in (usual // 2, usual, 2 * usual, 4 * usual, 8 * usual):
        seconds = measure(base, samples, *way)
        rows.append(["samples", samples, base.parameters, seconds, 1e6 * seconds / samples])
    for width in (128, 256, 512, 1024):
        network = mlp(width, 4)
        seconds = measure(network, usual, *way)
        rows.append(["width", width, network.parameters, seconds, 1e6 * seconds / usual])
    for depth in (2, 4, 8, 16, 32):
        network = mlp(256, depth)
        seconds = measure(network, usual, *way)
        rows.append(["depth", depth, network.parameters, seconds, 1e6 * seconds / usual])
    for row in rows:
        parameters = row[2]
        assert isinstance(parameters, int)
        row.append(float(row[4]) * 1e3 / parameters)  # type: ignore[arg-type]
    show(["grows", "to", "parameters", "seconds", "us/sample", "ns/sample/parameter"], rows)


if __name__ == "__main__":
    main()
