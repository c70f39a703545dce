"""Who says what class a sample is of: the model's own output, as onnxruntime computes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from boundcert.network.graph import Network
from boundcert.network.runtime import Runtime
from boundcert.prepared import Chunk


def runtime_of(network: Network) -> Runtime | None:
    """What answers for a network; None where it was made without a file."""
    source = network.source
    asked = source.file or source.model
    return Runtime(source, network.input_shape) if asked else None


def agreed(chunk: Chunk, runtime: Runtime | None, rows: torch.Tensor) -> Chunk:
    """The bounds of samples (B, *input_shape), of the classes that the runtime gives.

    A radius is about the class that was bounded. Where the runtime shows another one, rounding
    decides at the sample itself, and nothing is certified.
    """
    if runtime is None:
        return chunk
    seen = runtime.classify(rows.numpy().astype(np.float32))
    lower = np.where(seen == chunk.predicted, chunk.lower, np.minimum(chunk.lower, 0.0))
    return replace(chunk, lower=lower, predicted=seen)
