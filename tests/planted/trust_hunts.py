"""Hunts on whole model files: what is certified holds for what onnxruntime makes of the file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from network.models import model, node

from boundcert import certify
from boundcert.network.importer import import_bytes
from boundcert.network.runtime import Runtime


def certified(data: bytes, x: np.ndarray, method: str = "relax") -> tuple[Runtime, float, int]:
    """onnxruntime on the file, and the radius and class of one sample."""
    network = import_bytes(data)
    found = certify(network, x, method=method)
    runtime = Runtime(network.source, network.input_shape)
    return runtime, float(found.lower[0]), int(found.predicted[0])


def two_logits(slopes: tuple[float, float], margin: float, behind: onnx.NodeProto) -> bytes:
    """Two logits over one number, 0 and ``margin`` at 0, and a head."""
    constants = {"w": np.float32([slopes]), "b": np.float32([0.0, margin])}
    return model([node("Gemm", "x w b", "z"), behind], ["N", 1], constants).SerializeToString()


def heads(seed: int) -> None:
    """No head makes equals of outputs within the radius, nor lets the first of such win."""
    op = ("Softmax", "LogSoftmax")[seed % 2]
    data = two_logits((1e-3, -1e-3), 1e-3, node(op, "z", axis=1))
    runtime, radius, label = certified(data, np.zeros((1, 1)))
    x = radius * (1 - np.linspace(1e-9, 2e-3, 2001))[:, None, None]
    assert (runtime.classify(x) == label).all()


def saturation(seed: int) -> None:
    """Two sigmoids that rise together stay apart up to the radius, and then are both 1."""
    data = two_logits((1.0, 0.99), 1.0 + seed % 4, node("Sigmoid", "z"))
    runtime, radius, label = certified(data, np.zeros((1, 1)))
    assert radius > 1
    x = min(radius, 60.0) * np.linspace(-1, 1, 2001)[:, None, None]
    assert (runtime.classify(x) == label).all()


TRUST_HUNTS: Mapping[str, Callable[[int], None]] = {"heads": heads, "saturation": saturation}
