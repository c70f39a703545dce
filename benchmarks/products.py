"""Where the time of a method goes: matrix products and convolutions against everything else.

    python benchmarks/products.py --models DIR --data-dir DIR [--network NAME ...] [--norm l2 linf]
        [--method relax] [--samples 10]

Of the samples that a network classifies correctly the first are bounded in one batch, three times:
timed, under torch's profiler, and with the products' operations counted. Their rate is set against
that of the fastest matrix product here in float32, which scouts take; proofs take float64.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from common import NETWORKS, arguments, show
from measure import choose
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from boundcert.bounds.methods import Limits
from boundcert.prepared import Prepared

#: What torch calls them.
PRODUCTS = (
    *("mm", "addmm", "bmm", "baddbmm", "matmul", "dot", "mv"),
    *("convolution", "mkldnn_convolution", "slow_conv2d_forward", "thnn_conv2d"),
)
SIZE, REPEAT = 2048, 5


def main() -> None:
    options = _options()
    peaks = {kind: _peak(kind) for kind in (torch.float32, torch.float64)}
    text = ", ".join(f"{rate:.0f} in {str(kind)[6:]}" for kind, rate in peaks.items())
    print(f"{torch.get_num_threads()} threads; GFLOP/s of a product of {SIZE} x {SIZE}: {text}")
    rows = []
    for entry in NETWORKS:
        name = entry.file.rsplit(".", 1)[0]
        if entry.data != "random" and name in options.network:
            network = entry.network(options.models)
            images = choose(entry, network, options.data_dir, options.samples)
            for norm in options.norm:
                ready = Prepared(network, norm, options.method, "cpu", Limits(), None, "exact")
                ready(images.other)
                found = _shares(lambda: ready(images.rows))  # noqa: B023
                rows.append([name, norm, found[0] / options.samples, *found[1:]])
    header = ["network", "norm", "s/image", "% in products", "GFLOP", "GFLOP/s", "% of peak"]
    show(header, [[*row, 100 * row[-1] / peaks[torch.float32]] for row in rows])


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(samples=10)
    names = [entry.file.rsplit(".", 1)[0] for entry in NETWORKS if entry.data != "random"]
    parser.add_argument("--network", nargs="+", choices=names, default=names)
    parser.add_argument("--norm", nargs="+", default=["l2", "linf"])
    parser.add_argument("--method", default="relax")
    return parser.parse_args()


def _peak(kind: torch.dtype) -> float:
    """GFLOP/s of the fastest of some products."""
    a, b = torch.rand(2, SIZE, SIZE, dtype=kind)
    best = 0.0
    for _ in range(REPEAT):
        start = time.perf_counter()
        a @ b
        best = max(best, 2e-9 * SIZE**3 / (time.perf_counter() - start))
    return best


def _shares(run: Callable[[], object]) -> list[float]:
    """Seconds of a run, the share of products in %, their GFLOP, and GFLOP/s while they run."""
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    with profile(activities=[ProfilerActivity.CPU]) as found:
        start = time.perf_counter()
        run()
        profiled = time.perf_counter() - start
    names = {event: event.key.removeprefix("aten::").lstrip("_") for event in found.key_averages()}
    spent = sum(1e-6 * e.self_cpu_time_total for e, name in names.items() if name in PRODUCTS)
    with FlopCounterMode(display=False) as counter:
        run()
    work = 1e-9 * counter.get_total_flops()
    return [seconds, 100 * spent / profiled, work, work / spent if spent else 0.0]


if __name__ == "__main__":
    main()
