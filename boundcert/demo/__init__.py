"""The demo: a small digit classifier and its 500 held-out digits, shipped inside the package.

``examples/train_digits.py`` in the repository made both files.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def model_path() -> Path:
    """Path of ``digits.onnx``: input (batch, 1, 8, 8) in [0, 1], output (batch, 10) logits."""
    return Path(str(files(__name__) / "digits.onnx"))


def data_path() -> Path:
    """Path of ``digits.npz``: ``x`` float32 (500, 1, 8, 8) in [0, 1] and ``y`` int64 (500,)."""
    return Path(str(files(__name__) / "digits.npz"))
