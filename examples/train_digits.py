"""Train the small digit classifier that boundcert ships as its demo.

Needs torch, onnx and scikit-learn (for the 8x8 digits). From the root of a checkout::

    python examples/train_digits.py                 # rewrites boundcert/demo
    python examples/train_digits.py --out /tmp/demo # leaves the shipped files alone

It takes a few seconds on a CPU and writes ``digits.onnx`` (opset 17, dynamic batch, weights
inside the file) and ``digits.npz`` (the 500 held-out digits: ``x`` float32 (500, 1, 8, 8) in
[0, 1], ``y`` int64 (500,)).
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

HELD_OUT = 500
DEMO = Path(__file__).resolve().parents[1] / "boundcert" / "demo"


def load_split(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) in [0, 1] and labels (N,): to train on, then held out."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    y = digits.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(x))
    kept, held = order[HELD_OUT:], order[:HELD_OUT]
    return x[kept], y[kept], x[held], y[held]


def network() -> nn.Sequential:
    """Two convolutions and two fully connected layers, about 38,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def train(model: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> None:
    """Fit ``model`` in place to noisy copies of the images.

    Weight decay and the L1 penalty keep the layers' norms small, and the noise pushes the decision
    boundary away from the digits, so that certified radii come out visibly above zero.
    """
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    loss = nn.CrossEntropyLoss()
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=draw).split(64):
            clean = images[batch]
            noisy = (clean + 0.15 * torch.randn(clean.shape, generator=draw)).clamp(0, 1)
            optimiser.zero_grad()
            size = torch.stack([w.abs().sum() for w in model.parameters() if w.ndim > 1]).sum()
            (loss(model(noisy), labels[batch]) + 1e-4 * size).backward()
            optimiser.step()
        schedule.step()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Fraction of the images in ``x`` that ``model`` gives the class in ``y``."""
    with torch.no_grad():
        return float((model(torch.from_numpy(x)).argmax(1).numpy() == y).mean())


def export(model: nn.Module, path: Path) -> None:
    """Write ``model`` to ``path`` as one self-contained ONNX file."""
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated but writes opset 17 natively, whereas the newer
        # one writes opset 18 and converts down.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model.eval(),
            (torch.zeros(1, 1, 8, 8),),
            str(path),
            opset_version=17,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            dynamo=False,
        )


def main() -> None:
    """Train, report the held-out accuracy, and write the two files."""
    parser = argparse.ArgumentParser(description="Train boundcert's demo model.")
    parser.add_argument("--out", type=Path, default=DEMO, help="folder for the two files")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # batches this small only lose time, and repeatability, to threads
    x, y, held_x, held_y = load_split(args.seed)
    model = network()
    train(model, x, y, args.epochs, args.seed)
    print(f"held-out accuracy {accuracy(model, held_x, held_y):.1%} on {len(held_x)} digits")

    args.out.mkdir(parents=True, exist_ok=True)
    export(model, args.out / "digits.onnx")
    np.savez_compressed(args.out / "digits.npz", x=held_x, y=held_y)
    for name in ("digits.onnx", "digits.npz"):
        print(f"{name}: {(args.out / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
