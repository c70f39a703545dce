"""Time of the walk on all MNIST test images against onnxruntime's forward pass, in one run.

    python benchmarks/walk_speed.py --models DIR --data-dir DIR

Prints both times (medians of alternating runs), their ratio, the mean radius, the one-off time for
operator norms and the process's peak memory.
"""

from __future__ import annotations

import resource
import time

import numpy as np
from common import NETWORKS, arguments

from boundcert.prepared import Prepared, chunks


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--network", default="lenet5-mnist.onnx")
    parser.add_argument("--norm", default="l2")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    entry = next(n for n in NETWORKS if n.file == options.network)
    network = entry.network(options.models)
    x = entry.inputs(network, options.data_dir, options.samples or 10_000)
    rows = network.prepare(x)

    start = time.perf_counter()
    ready = Prepared(network, options.norm, "walk", semantics="exact")
    ready(rows[: next(chunks(network, len(rows)))[1]])
    setup = time.perf_counter() - start

    from boundcert.network.runtime import Runtime

    runtime = Runtime(network.source, network.input_shape)
    data = rows.numpy().astype(np.float32)
    runtime.answers(data[:100])
    walks, runs = [], []
    lower = np.zeros(0)
    for _ in range(options.repeat):
        start = time.perf_counter()
        runtime.answers(data)
        runs.append(time.perf_counter() - start)
        start = time.perf_counter()
        parts = [ready(rows[a:b])[0] for a, b in chunks(network, len(rows))]
        walks.append(time.perf_counter() - start)
        lower = np.concatenate(parts)
    walk, run = float(np.median(walks)), float(np.median(runs))
    print(f"network            {entry.file}, {len(x)} samples, {options.norm}")
    print(f"mean lower         {lower.mean():.6g}   (first 100: {lower[:100].mean():.6g})")
    print(f"smallest, largest  {lower.min():.4g}, {lower.max():.4g}")
    print(f"once per network   {setup:.2f} s (operator norms, compilation)")
    print(f"walk               {walk:.2f} s of {walks}")
    print(f"onnxruntime        {run:.2f} s of {runs}")
    print(f"ratio              {walk / run:.2f} (pairwise {[w / r for w, r in zip(walks, runs)]})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory        {peak:.0f} MiB")


if __name__ == "__main__":
    main()
