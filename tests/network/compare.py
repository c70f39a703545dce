"""Reference results for an imported network: the original model in onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import torch

from boundcert.network.check import check_against_runtime
from boundcert.network.graph import Network
from boundcert.network.importer import import_bytes


def runtime(model: onnx.ModelProto | bytes, x: np.ndarray, output: str | None = None) -> np.ndarray:
    """The original model on (N, …) samples, exactly as stored."""
    import onnxruntime

    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = None if output is None else [output]
    return session.run(names, {session.get_inputs()[0].name: x})[0]


def imported(model: onnx.ModelProto | bytes, **options: object) -> Network:
    """Imported and compared with onnxruntime node by node."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    network = import_bytes(data, **options)
    check_against_runtime(network)
    return network


def logits(network: Network, x: np.ndarray) -> np.ndarray:
    """Float64 logits of (N, *input_shape) samples."""
    return network.logits(network.prepare(x)).numpy()


def samples(network: Network, count: int = 5, seed: int = 0) -> np.ndarray:
    """Random samples (N, *input_shape) in the model's own type."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, *network.input_shape)).astype(network.source.dtype)


def assert_same(network: Network, expected: np.ndarray, x: np.ndarray, rtol: float = 1e-4) -> None:
    """The network's logits at x are the expected ones."""
    ours = logits(network, x)
    assert ours.shape == expected.reshape(len(x), -1).shape
    np.testing.assert_allclose(ours, expected.reshape(len(x), -1), rtol=rtol, atol=rtol)


def plain(x: np.ndarray) -> torch.Tensor:
    """Samples with the leading batch axis of the model instead of boundcert's."""
    return torch.from_numpy(x.reshape(len(x), *x.shape[2:]))
