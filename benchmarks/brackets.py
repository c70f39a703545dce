"""Brackets of all benchmark networks in L2 and L∞, beside the literal 2017 method.

    python benchmarks/brackets.py --models DIR --data-dir DIR [--samples N] [--attacked M]

The lower bounds are means over ``--samples`` inputs, the upper bounds over the first
``--attacked``. ``peck2017`` is NOT A CERTIFICATE: the last column counts where it lies above a
confirmed attack.
"""

from __future__ import annotations

import time

import numpy as np
from common import NETWORKS, arguments, show

import boundcert
from boundcert.errors import BoundcertError


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--attacked", type=int, default=100)
    parser.add_argument("--norms", default="l2,linf")
    options = parser.parse_args()
    rows: list[list[object]] = []
    for entry in NETWORKS:
        network = entry.network(options.models)
        x = entry.inputs(network, options.data_dir, options.samples or entry.samples)
        for norm in options.norms.split(","):
            start = time.perf_counter()
            lower = boundcert.certify(network, x, norm, semantics="exact").lower
            seconds = time.perf_counter() - start
            found = boundcert.attack(network, x[: options.attacked], norm).upper
            hit = ~np.isnan(found)
            low = lower[: len(found)][hit]
            violated = int((low > found[hit]).sum())
            literal, above = _peck(network, x, norm, found)
            rows.append(
                [
                    entry.file.split(".")[0],
                    norm,
                    len(x),
                    float(lower.mean()),
                    float(found[hit].mean()) if hit.any() else float("nan"),
                    int(hit.sum()),
                    violated,
                    1e3 * seconds / len(x),
                    literal,
                    above,
                ]
            )
            print(f"done: {entry.file} {norm}", flush=True)
    print()
    show(_HEADER, rows)


_HEADER = [
    "network",
    "norm",
    "samples",
    "mean lower",
    "mean upper",
    "attacked",
    "violations",
    "ms/sample",
    "peck2017 (not a certificate)",
    "above an attack",
]


def _peck(
    network: boundcert.Network, x: np.ndarray, norm: str, found: np.ndarray
) -> tuple[object, object]:
    try:
        bound = boundcert.certify(network, x[: len(found)], norm, "peck2017").lower
    except BoundcertError as error:
        return str(error).splitlines()[0][:40], "-"
    hit = ~np.isnan(found)
    return float(bound.mean()), int((bound[hit] > found[hit]).sum())


if __name__ == "__main__":
    main()
