"""Certificate files: how much of a radius they prove, how large they are, how long a check takes.

    python benchmarks/certificates.py --models DIR --data-dir DIR [--network NAME ...]
        [--norm l2 linf] [--method relax] [--budget 10] [--samples 10]

The samples are the first that a network classifies correctly. ``found`` is the mean radius that
the method finds, as one batch; ``proved`` the mean share of it that the files prove, and the
least; ``KiB`` is the mean size of a file. Times are seconds a sample: of finding, of
writing (which proves, too, and may look for the largest provable radius), of checking.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import NETWORKS, arguments, show
from measure import choose

from boundcert.bounds.methods import Limits
from boundcert.certificates import ModelOptions
from boundcert.checker import Certificate, Checker, decode, encode, sample_hash
from boundcert.prepared import Prepared
from boundcert.proofs import largest, reading_of

HEADER = ["network", "norm", "found", "proved", "least", "KiB", "find s", "write s", "check s"]


def main() -> None:
    options = _options()
    rows = []
    for entry in NETWORKS:
        name = entry.file.split(".")[0]
        if entry.data == "random" or (options.network and name not in options.network):
            continue
        for norm in options.norm:
            rows.append([name, norm, *measure(entry, norm, options)])
            show([*HEADER, "check/find"], rows[-1:])
    print()
    show([*HEADER, "check/find"], rows)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(samples=10)
    parser.add_argument("--network", nargs="+", help="names, of all by default")
    parser.add_argument("--norm", nargs="+", default=["l2", "linf"])
    parser.add_argument("--method", default="relax")
    parser.add_argument("--budget", type=float, default=10.0)
    return parser.parse_args()


def measure(entry: object, norm: str, options: argparse.Namespace) -> list[object]:
    """One line of the table behind network and norm."""
    network = entry.network(options.models)  # type: ignore[attr-defined]
    images = choose(entry, network, options.data_dir, options.samples)  # type: ignore[arg-type]
    method = Prepared(network, norm, options.method, "cpu", Limits(options.budget, None))
    method(images.other)
    start = time.perf_counter()
    found = method(images.rows)
    finding = (time.perf_counter() - start) / options.samples
    checker = Checker((options.models / entry.file).read_bytes())  # type: ignore[attr-defined]
    reading = reading_of(ModelOptions(mean=entry.mean, std=entry.std), network.input_shape)  # type: ignore[attr-defined]
    shares, sizes, writing, checking = [], [], 0.0, 0.0
    for k, row in enumerate(images.rows.numpy()):
        claim = Certificate(
            k, checker.digest, sample_hash(row), int(found.predicted[k]), norm,
            float(found.lower[k]), None, "deployed", reading,
        )  # fmt: skip
        start = time.perf_counter()
        proved = largest(checker, claim, row, options.budget, found.rungs[k] != "relax")
        middle = time.perf_counter()
        if proved is None:
            shares.append(0.0)
            continue
        data = encode(proved)
        why = checker.check(decode(data), row)
        if why is not None:
            raise SystemExit(f"{entry.file}, sample {k}: {why}")  # type: ignore[attr-defined]
        writing, checking = writing + middle - start, checking + time.perf_counter() - middle
        shares.append(proved.radius / claim.radius)
        sizes.append(len(data) / 1024)
    times = [finding, writing / options.samples, checking / options.samples]
    ratio = f"{times[2] / times[0]:.2f}"
    mean = float(np.mean(found.lower))
    share = [f"{float(np.mean(shares)):.4f}", f"{min(shares):.4f}", f"{np.mean(sizes):.1f}"]
    return [mean, *share, *(f"{t:.3f}" for t in times), ratio]


if __name__ == "__main__":
    main()
