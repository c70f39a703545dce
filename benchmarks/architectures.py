"""`relax` beside auto_LiRPA on small networks of many kinds, trained on the spot.

    python benchmarks/architectures.py --data-dir DIR [--kind silu highway ...] [--norm l2 linf]
        [--method relax] [--samples 6] [--rival-method CROWN] [--repeat 2]

Each is trained for two epochs on MNIST's test images behind the first 1,000, from a fixed seed, and
exported as PyTorch writes it. What is measured, and how, is told in ``rivals.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import comparison_tables as tables
import torch
from common import Benchmark, arguments
from measure import choose, say
from rival import START
from rivals import compare
from torch import nn

import boundcert

#: Images in front that are not trained on, size of a batch, passes over the others.
HELD, BATCH, EPOCHS = 1000, 128, 2


class Gated(nn.Module):
    """f(Ax)⊙g(Bx)."""

    def __init__(self, size: int, out: int, f: Callable, g: Callable) -> None:  # type: ignore[type-arg]
        super().__init__()
        self.one, self.other, self.f, self.g = nn.Linear(size, out), nn.Linear(size, out), f, g

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(self.one(x)) * self.g(self.other(x))


class Highway(nn.Module):
    """t⊙h + (1 − t)⊙x."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner, self.gate = nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.gate(x) - 1)
        return gate * torch.relu(self.inner(x)) + (1 - gate) * x


def dense(activation: Callable[[], nn.Module], width: int, depth: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(784, width), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def convolutional(activation: Callable[[], nn.Module], *pools: nn.Module) -> nn.Module:
    first, second = pools or (nn.Identity(), nn.Identity())
    stride = 1 if pools else 2
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride, 1), activation(), first),
        *(nn.Conv2d(8, 16, 3, stride, 1), activation(), second),
        *(nn.Flatten(), nn.Linear(784, 10)),
    )


def _gated(f: Callable, g: Callable) -> nn.Module:  # type: ignore[type-arg]
    both = Gated(784, 64, f, g), Gated(64, 64, f, g)
    return nn.Sequential(nn.Flatten(), *both, nn.Linear(64, 10))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "relu-6x100": lambda: dense(nn.ReLU, 100, 6),
    "relu-9x200": lambda: dense(nn.ReLU, 200, 9),
    "tanh-3x128": lambda: dense(nn.Tanh, 128, 3),
    "tanh-6x100": lambda: dense(nn.Tanh, 100, 6),
    "sigmoid-3x128": lambda: dense(nn.Sigmoid, 128, 3),
    "silu-3x128": lambda: dense(nn.SiLU, 128, 3),
    "gelu-3x128": lambda: dense(nn.GELU, 128, 3),
    "softplus-3x128": lambda: dense(nn.Softplus, 128, 3),
    "highway": lambda: nn.Sequential(
        *(nn.Flatten(), nn.Linear(784, 64), nn.ReLU()),
        *(Highway(64), Highway(64), Highway(64), nn.Linear(64, 10)),
    ),
    "gated-linear": lambda: _gated(nn.Identity(), torch.sigmoid),
    "gated-tanh": lambda: _gated(torch.tanh, torch.sigmoid),
    "bilinear": lambda: nn.Sequential(
        nn.Flatten(), Gated(784, 64, nn.Identity(), nn.Identity()), nn.Linear(64, 10)
    ),
    "conv-relu": lambda: convolutional(nn.ReLU),
    "conv-tanh-average": lambda: convolutional(nn.Tanh, nn.AvgPool2d(2), nn.AvgPool2d(2)),
    "conv-silu": lambda: convolutional(nn.SiLU),
    "conv-relu-max": lambda: convolutional(nn.ReLU, nn.MaxPool2d(2), nn.MaxPool2d(2)),
}


class Trained(nn.Module):
    """A module, as the rival takes it."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module, self.shape = module, shape

    @property
    def convolutional(self) -> bool:
        return any(isinstance(m, nn.Conv2d) for m in self.modules())

    def data(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.reshape(len(rows), *self.shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.module(x)
        return out


def trained(kind: str, data_dir: Path | None) -> Trained:
    """A network of a kind, from a fixed seed."""
    data = boundcert.load_data("mnist", data_dir)
    assert data.y is not None
    x, y = torch.as_tensor(data.x[HELD:]).float(), torch.as_tensor(data.y[HELD:])
    x = x.reshape(len(x), 1, 28, 28)
    torch.manual_seed(0)
    module = KINDS[kind]()
    adam = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.cross_entropy(module(x[batch]), y[batch])
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
    return Trained(module.eval(), (1, 28, 28))


def main() -> None:
    options = _options()
    found = importlib.util.find_spec("auto_LiRPA") is not None
    results = []
    for kind in options.kind:
        say(f"{kind}: training")
        module = trained(kind, options.data_dir)
        network = boundcert.from_torch(module.module, torch.zeros(1, *module.shape))
        entry = Benchmark(kind, "mnist", HELD)
        images = choose(entry, network, options.data_dir, options.samples)
        for norm in options.norm:
            results.append(compare(kind, network, images, norm, options, found, module))
    print(f"\n{options.samples} images, {torch.get_num_threads()} threads")
    tables.radii_and_times(results, options.rival_method)


def _options() -> argparse.Namespace:
    parser = arguments(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(samples=6, attack=False)
    parser.add_argument("--kind", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--norm", nargs="+", choices=tuple(START), default=["l2", "linf"])
    parser.add_argument("--method", default="relax", help="ours")
    parser.add_argument("--rival-method", nargs="+", default=["CROWN"])
    parser.add_argument("--repeat", type=int, default=2, help="runs; the fastest counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
