"""The two public ways in: an ONNX file, or a torch module."""

from __future__ import annotations

import copy
import inspect
import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from boundcert.errors import RefusedInput, UsageError
from boundcert.network.check import check_against_runtime
from boundcert.network.graph import Network, Preprocess, put_in_front
from boundcert.network.importer import import_bytes, import_file
from boundcert.network.read import first_line

if TYPE_CHECKING:
    import torch


def load_onnx(
    path: str | os.PathLike[str],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input: str | None = None,
    output: str | None = None,
    input_shape: Sequence[int] | None = None,
    decision: str | None = None,
    threshold: float | None = None,
    check: bool = True,
) -> Network:
    """Read an ONNX classifier and compare it with onnxruntime.

    Parameters
    ----------
    path : the model file (opset 7 or newer; external data beside it).
    mean, std : the normalisation (x − mean)/std that the model expects of its input, one number
        or one a channel. It becomes the network's first layer, so every radius is in the units
        of the data as given, not of the normalised input.
    input, output : names, where the model has several.
    input_shape : one sample's full input shape, where the model leaves axes free.
    decision : ``"max"`` (default) or ``"min"``: which output wins.
    threshold : a model's single output is of class 1 above it; by default 0.5 behind a sigmoid,
        else 0.
    check : compare with onnxruntime on random inputs of several scales.

    Returns
    -------
    Network : immutable, float64.

    Raises
    ------
    RefusedInput, UnsupportedModel
        What was found, in which file, node and shape, and what would work.
    UsageError
        Arguments that contradict each other.
    """
    if decision not in (None, "max", "min"):
        raise UsageError(f"decision {decision!r} is unknown; use 'max' or 'min'")
    options = {
        "input_name": input,
        "output_name": output,
        "input_shape": None if input_shape is None else tuple(input_shape),
        "decision": decision,
        "threshold": threshold,
    }
    network = import_file(Path(path), **options)
    if mean is not None or std is not None:
        network = put_in_front(network, normalisation(network.input_shape, mean, std))
    if check:
        check_against_runtime(network)
    return network


def from_torch(module: torch.nn.Module, example: torch.Tensor, **options: object) -> Network:
    """Export a torch module in evaluation mode and import the result.

    Parameters
    ----------
    module : a classifier from (1, …) inputs to (1, C) logits.
    example : one input, batch axis included; only its shape matters.
    options : as for :func:`load_onnx` (``mean``, ``std``, ``decision``).

    Raises
    ------
    RefusedInput, UnsupportedModel
        The export fails, or its result cannot be bounded.
    """
    import torch

    mean, std, decision = (options.pop(k, None) for k in ("mean", "std", "decision"))
    if options:
        raise UsageError(f"unknown option(s) {', '.join(options)}; use mean, std or decision")
    buffer = io.BytesIO()
    # torch 2.4 knows one exporter and no such argument
    newer = "dynamo" in inspect.signature(torch.onnx.export).parameters
    exporter: dict[str, Any] = {"dynamo": False} if newer else {}
    try:
        # a copy: the caller's module keeps its device and its training mode
        copied = copy.deepcopy(module).cpu().eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                copied,
                (example[:1].detach().cpu(),),
                buffer,  # type: ignore[arg-type]
                opset_version=17,
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
                **exporter,
            )
    except Exception as error:
        raise RefusedInput(
            f"torch.onnx.export fails on {type(module).__name__}: {first_line(error)}"
        ) from error
    network = import_bytes(buffer.getvalue(), type(module).__name__, decision=decision)
    if mean is not None or std is not None:
        network = put_in_front(network, normalisation(network.input_shape, mean, std))  # type: ignore[arg-type]
    check_against_runtime(network)
    return network


def normalisation(
    shape: tuple[int, ...], mean: Sequence[float] | None, std: Sequence[float] | None
) -> Preprocess:
    """``--mean`` and ``--std`` as arrays over a model's input.

    One number serves all entries; several go along the channel axis (axis 1, or the last axis
    where only that one has their length).

    Raises
    ------
    UsageError
        Their number fits no axis, or a std is not positive.
    """
    means = [0.0] if mean is None else [float(v) for v in np.atleast_1d(mean)]
    stds = [1.0] if std is None else [float(v) for v in np.atleast_1d(std)]
    if not all(math.isfinite(v) for v in [*means, *stds]) or min(stds) <= 0:
        raise UsageError(f"mean {means} and std {stds} must be finite, std positive")
    return Preprocess(_along(shape, means, "mean"), _along(shape, stds, "std"))


def _along(shape: tuple[int, ...], values: list[float], name: str) -> np.ndarray:
    if len(values) == 1:
        return np.full([1] * len(shape), values[0])
    for axis in (1, len(shape) - 1):
        if axis < len(shape) and shape[axis] == len(values):
            sizes = [1] * len(shape)
            sizes[axis] = len(values)
            return np.asarray(values).reshape(sizes)
    raise UsageError(
        f"{len(values)} values of {name} fit no channel axis of the model's input {list(shape)}; "
        "give one value, or one a channel"
    )
