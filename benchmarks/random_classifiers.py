"""The dissertation's random classifiers: Table 3.1 (linear) and Table 4.2 (MLPs).

    python benchmarks/random_classifiers.py [--scale 0.1]

Linear classifiers: the certified radius must equal the exact distance. MLPs: no violation by any
confirmed attack; deviations (upper − lower) are printed as the tables do. Withdrawn are brackets
whose lower end counts as 0 because the float32 runtime changes class, by its rounding, a hair
inside the exact distance. ``--scale`` takes that share of the classifiers.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from common import show

import boundcert
from boundcert.errors import ViolatedCertificate


@dataclass(frozen=True)
class Setting:
    """One row of a table."""

    samples: int
    dimension: int
    classes: int
    inputs: float
    parameters: float
    units: int = 0
    layers: int = 0


LINEAR = (
    Setting(10, 2, 5, 1, 1),
    Setting(10, 20, 5, 1, 1),
    Setting(10, 2, 50, 1, 1),
    Setting(10, 2, 5, 10, 1),
    Setting(10, 2, 5, 1, 10),
)
MLPS = (
    Setting(10, 2, 5, 1, 1, 10, 3),
    Setting(10, 2, 5, 100, 1, 10, 3),
    Setting(10, 2, 5, 1, 100, 10, 3),
    Setting(10, 20, 5, 1, 1, 10, 3),
    Setting(10, 2, 5, 1, 1, 30, 3),
    Setting(10, 2, 50, 1, 1, 10, 3),
    Setting(10, 2, 5, 1, 1, 20, 3),
    Setting(100, 2, 5, 10, 1, 10, 3),
)


def classifier(setting: Setting, seed: int) -> torch.nn.Module:
    """Parameters and samples uniform in the row's intervals, tanh between layers."""
    torch.manual_seed(seed)
    sizes = [setting.dimension, *[setting.units] * setting.layers, setting.classes]
    parts: list[torch.nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [torch.nn.Linear(a, b), torch.nn.Tanh()]
    module = torch.nn.Sequential(*parts[:-1])
    for p in module.parameters():
        torch.nn.init.uniform_(p, -setting.parameters, setting.parameters)
    return module


def measure(setting: Setting, count: int) -> list[object]:
    gaps, violations, withdrawn, worst = [], 0, 0, 0.0
    for seed in range(count):
        module = classifier(setting, seed)
        network = boundcert.from_torch(module, torch.zeros(1, setting.dimension))
        rng = np.random.default_rng(seed)
        x = rng.uniform(-setting.inputs, setting.inputs, (setting.samples, setting.dimension))
        x = x.astype(np.float32)
        lower = boundcert.certify(network, x).lower
        if setting.layers == 0:
            worst = max(worst, _exactness(module, x.astype(np.float64), lower))
        try:
            chunks = boundcert.brackets(network, x, attacks=("deepfool", "fgs", "fgv"))
            found = [bracket for chunk in chunks for bracket in chunk]
        except ViolatedCertificate:
            violations += 1
            continue
        withdrawn += sum(b.lower == 0.0 < lower[b.index] for b in found)
        gaps += [b.upper - b.lower for b in found if b.upper is not None and b.lower > 0]
    spread = [float(f(gaps)) for f in (np.mean, np.median, np.std)]
    return [*spread, violations, withdrawn, worst if setting.layers == 0 else "-"]


def _exactness(module: torch.nn.Module, x: np.ndarray, lower: np.ndarray) -> float:
    """Largest relative difference between the certified and the exact distance."""
    weight, bias = (p.detach().double().numpy() for p in module.parameters())
    z = x @ weight.T + bias
    worst = 0.0
    for s in range(len(x)):
        c = int(z[s].argmax())
        gap = z[s, c] - np.delete(z[s], c)
        exact = (gap / np.linalg.norm(weight[c] - np.delete(weight, c, axis=0), axis=1)).min()
        worst = max(worst, abs(lower[s] - exact) / exact)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--table", choices=("3.1", "4.2"))
    options = parser.parse_args()
    count = max(int(100 * options.scale), 1)
    header = ["table", "row", "mean", "median", "std", "violations", "withdrawn"]
    header.append("|lower/exact - 1|")
    rows: list[list[object]] = []
    for name, settings in (("3.1 linear", LINEAR), ("4.2 MLP", MLPS)):
        if options.table and not name.startswith(options.table):
            continue
        for i, setting in enumerate(settings, start=1):
            rows.append([name, i, *measure(setting, count)])
    show(header, rows)


if __name__ == "__main__":
    main()
