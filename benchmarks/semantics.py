"""What it costs that radii hold for the deployed network: radius lost, and time.

    python benchmarks/semantics.py --models DIR --data-dir DIR [--network NAME ...]
        [--norm l2 linf] [--method walk relax] [--samples 10] [--repeat 2]

Radii are those of the first samples in the test set's order, once about real numbers and once
about the network in its own precision; times are the fastest of ``--repeat`` runs after one more.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from common import NETWORKS, arguments, show

from boundcert.network.graph import Network
from boundcert.prepared import Prepared


def main() -> None:
    options = _options()
    rows: list[list[object]] = []
    for entry in NETWORKS:
        name = entry.file.rsplit(".", 1)[0]
        if name not in options.network:
            continue
        network = entry.network(options.models)
        x = network.prepare(entry.inputs(network, options.data_dir, options.samples))
        for norm in options.norm:
            for method in options.method:
                rows.append([name, norm, method, *_compare(network, x, norm, method, options)])
    print(f"\n{options.samples} samples, {torch.get_num_threads()} threads")
    header = ["network", "norm", "method", "exact", "deployed", "lost %", "most %", "s", "time x"]
    show(header, rows)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(samples=10)
    names = [entry.file.rsplit(".", 1)[0] for entry in NETWORKS]
    parser.add_argument("--network", nargs="+", choices=names, default=names)
    parser.add_argument("--norm", nargs="+", default=["l2", "linf"])
    parser.add_argument("--method", nargs="+", default=["walk", "relax"])
    parser.add_argument("--repeat", type=int, default=2, help="runs; the fastest counts")
    return parser.parse_args()


def _compare(
    network: Network, x: torch.Tensor, norm: str, method: str, options: argparse.Namespace
) -> list[object]:
    """Mean radii, what is lost of them and at most of one, seconds, and the ratio of times."""
    radii, times = [], []
    for semantics in ("exact", "deployed"):
        ready = Prepared(network, norm, method, semantics=semantics)
        lower, seconds = ready(x).lower, []
        for _ in range(options.repeat):
            start = time.perf_counter()
            ready(x)
            seconds.append(time.perf_counter() - start)
        radii.append(lower)
        times.append(min(seconds))
    exact, deployed = radii
    some = exact > 0
    most = float(np.max(1 - deployed[some] / exact[some])) if some.any() else 0.0
    lost = 1 - deployed.mean() / exact.mean() if some.any() else 0.0
    means = [float(exact.mean()), float(deployed.mean())]
    return [*means, 100 * lost, 100 * most, times[1], times[1] / times[0]]


if __name__ == "__main__":
    main()
