"""What the benchmarks share: where networks and data are, and how tables are printed."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import boundcert
from boundcert.network.graph import Network


@dataclass(frozen=True)
class Benchmark:
    """A network with the data and the normalisation it expects."""

    file: str
    data: str
    samples: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    decision: str | None = None

    def network(self, models: Path) -> Network:
        return boundcert.load_onnx(
            models / self.file, mean=self.mean, std=self.std, decision=self.decision
        )

    def inputs(self, network: Network, data_dir: Path | None, samples: int) -> np.ndarray:
        if self.data == "random":
            rng = np.random.default_rng(0)
            shape = (samples, *network.input_shape)
            return rng.uniform(-0.5, 0.5, shape).astype(np.float32)
        return boundcert.load_data(self.data, data_dir).x[:samples]


#: Third-party networks, by file name.
NETWORKS = (
    Benchmark("lenet5-mnist.onnx", "mnist", 1000),
    Benchmark("mnist-net_256x2.onnx", "mnist", 1000),
    Benchmark("Convnet_maxpool.onnx", "mnist", 1000),
    Benchmark("ffnnSIGMOID__Point_6x200.onnx", "mnist", 1000),
    Benchmark("cifar_base_kw.onnx", "cifar10", 1000, (0.485, 0.456, 0.406), (0.225,)),
    Benchmark(
        "resnet_2b.onnx", "cifar10", 1000, (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)
    ),
    Benchmark("ACASXU_run2a_1_1_batch_2000.onnx", "random", 1000, decision="min"),
)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options all benchmarks take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--models", type=Path, required=False, default=Path("models"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--samples", type=int, default=None)
    return parser


def show(header: list[str], rows: list[list[object]]) -> None:
    """A plain table."""
    text = [header, *[[f"{c:.5g}" if isinstance(c, float) else str(c) for c in r] for r in rows]]
    widths = [max(len(r[i]) for r in text) for i in range(len(header))]
    for row in text:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths)), flush=True)
