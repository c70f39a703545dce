"""Radii and times of boundcert beside auto_LiRPA's, measured live on the same images.

    python benchmarks/rivals.py --models DIR --data-dir DIR [--network NAME ...] [--norm l2 linf]
        [--method relax] [--samples 10] [--rival-method CROWN CROWN-Optimized] [--attack]
        [--repeat 2] [--peer FILE] [--out FILE.json]

The images are the first ``--samples`` that a network classifies correctly, in the test set's
order, as one batch. Ours is one call of ``--method``; what is done once per network (operator
norms) is a column of its own. The rival's radius is the largest at which it proves every logit
difference positive over the pure ball, in pixel units, by bisection to relative 1e-3 in float32;
its time is that of the whole bisection. Both are warmed up on another image first. The rival's
graph holds the normalisation inside its first layer, and whether images go one by one and
how it stores convolutions is whatever a first bound shows to be quicker for it.

``equal-radius time ratio`` is the rival's time over that of the cheapest of ``walk``, ``--method``
and, where neither is enough, ``auto``, whose radii are at least 0.999 of the rival's on every
image. Without auto_LiRPA (it is no dependency: install it beside boundcert, or put its sources on
PYTHONPATH) only ours is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import comparison_tables as tables
import numpy as np
import torch
from common import NETWORKS, Benchmark, arguments
from comparison import Comparison
from measure import Images, choose, measure_ours, say
from rival import START, measure_rival

import boundcert
from boundcert.network.graph import Network

#: The order of the table, cheap networks first.
NAMES = (
    "mnist-net_256x2",
    "Convnet_maxpool",
    "ffnnSIGMOID__Point_6x200",
    "cifar_base_kw",
    "resnet_2b",
    "lenet5-mnist",
)


def main() -> None:
    options = _options()
    found = importlib.util.find_spec("auto_LiRPA") is not None
    if not found:
        say("auto_LiRPA is not importable: only ours is measured, compared with nothing")
    peer = json.loads(options.peer.read_text()) if options.peer else {}
    results = []
    for name in options.network:
        entry = next(n for n in NETWORKS if _stem(n) == name)
        network = entry.network(options.models)
        images = choose(entry, network, options.data_dir, options.samples)
        for norm in options.norm:
            results.append(compare(name, network, images, norm, options, found))
            if options.out:  # after each: long runs are interrupted
                options.out.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    print(f"\n{options.samples} images, {torch.get_num_threads()} threads")
    tables.radii_and_times(results, options.rival_method)
    if options.attack:
        tables.attacks(results)
    if options.peer:
        tables.peers(results, peer, options.peer.name, options.rival_method)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(samples=10)
    parser.add_argument("--network", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--norm", nargs="+", choices=tuple(START), default=["l2", "linf"])
    parser.add_argument("--method", default="relax", help="ours")
    parser.add_argument(
        "--rival-method", nargs="+", default=["CROWN"], help="methods of compute_bounds"
    )
    parser.add_argument("--attack", action="store_true", help="also an upper bound of the radii")
    parser.add_argument("--repeat", type=int, default=2, help="runs; the fastest counts")
    parser.add_argument("--peer", type=Path, help="radii measured earlier, to compare with")
    parser.add_argument("--out", type=Path, help="everything, per image, as JSON")
    return parser.parse_args()


def _stem(entry: Benchmark) -> str:
    return entry.file.rsplit(".", 1)[0]


def compare(
    name: str,
    network: Network,
    images: Images,
    norm: str,
    options: argparse.Namespace,
    rival: bool,
    module: Any = None,
) -> Comparison:
    """All methods of both on one network, one after the other, so that they meet one machine."""
    result = Comparison(name, norm, images.places, options.method)

    def ours(method: str) -> None:
        say(f"{name} {norm}: {method}")
        result.ours[method] = measure_ours(network, images, norm, method, options.repeat)

    for method in dict.fromkeys(("walk", options.method)):
        ours(method)
    for method in options.rival_method if rival else ():
        say(f"{name} {norm}: auto_LiRPA {method}")
        try:
            found = measure_rival(network, images, norm, method, options.repeat, module)
        except Exception as error:  # the rival's limits are not ours to list
            result.failures[method] = f"{type(error).__name__}: {error}".splitlines()[0]
            say(f"  fails: {result.failures[method]}")
            continue
        result.rivals[method] = found
        if result.equal(found) is None and "auto" not in result.ours:
            ours("auto")
    if options.attack:
        say(f"{name} {norm}: attack")
        x = images.rows.numpy().astype(np.float32)
        result.attack = boundcert.attack(network, x, norm).upper.tolist()
    return result


if __name__ == "__main__":
    main()
