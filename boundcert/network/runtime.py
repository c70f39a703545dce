"""The deployed network: the same model in onnxruntime, from the user's data to a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from boundcert.errors import RefusedInput
from boundcert.network.graph import Source
from boundcert.network.read import first_line

#: The optimisation levels of onnxruntime, from none to all.
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def session(model: bytes | Path, where: str, threads: int = 0, level: str = LEVELS[-1]) -> Any:
    """An onnxruntime session on the CPU; of a path where weights lie beside the file.

    Raises
    ------
    RefusedInput
        onnxruntime does not take the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    data = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RefusedInput(
            f"{where}: onnxruntime refuses the model: {first_line(error)}"
        ) from error


class Runtime:
    """onnxruntime on a network's own file, byte for byte: answers and decisions for user data.

    Calls go one batch at a time where the model's batch axis is free and behaves (checked on
    first use), else in the size the model insists on; one sample at a time where samples may see
    each other.
    """

    def __init__(self, source: Source, input_shape: tuple[int, ...], **options: Any) -> None:
        self.source = source
        self.shape = input_shape
        self.answer = source.answer if source.file else source.output
        self.session = session(source.beside or source.file or source.model, source.path, **options)
        self._size: int | None = source.batch or (1 if source.alone else None)

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Data (N, *input_shape) as the model's input type, normalised in float32."""
        kind = np.dtype(self.source.dtype)
        values = np.asarray(x).astype(np.promote_types(kind, np.float32))
        before = self.source.preprocess
        if before is not None:
            mean, std = (np.asarray(v, dtype=values.dtype) for v in (before.mean, before.std))
            values = (values - mean) / std
        return values.astype(kind)

    def answers(self, x: np.ndarray) -> np.ndarray:
        """(N, *input_shape) → (N, n) float64, the model's own output as the runtime computes it."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.prepare(x)
        return self.outputs(values, [self.answer])[0]

    def classify(self, x: np.ndarray) -> np.ndarray:
        """(N, *input_shape) → (N,) int64 classes that the model's own output shows.

        Its arg max, the first of equals (or arg min), whether a single output is above the
        threshold, or the index that the output is; −1 where it is not finite.
        """
        y = self.answers(x)
        if self.source.pick.startswith("Arg"):
            winner = y[:, 0]
        elif self.source.decision == "sign":
            winner = y[:, 0] > self.source.threshold
        else:
            least = self.source.decision == "min" and not self.source.pick
            winner = (-y if least else y).argmax(axis=1)
        finite = np.isfinite(y).all(axis=1)
        return np.where(finite, np.where(finite, winner, -1), -1).astype(np.int64)

    def outputs(self, values: np.ndarray, names: list[str]) -> list[np.ndarray]:
        """Named tensors, flattened a sample: list of (N, n) float64."""
        size = self._batch_size(values)
        parts: list[list[np.ndarray]] = [[] for _ in names]
        for start in range(0, len(values), size):
            rows = values[start : start + size]
            count = len(rows)
            fixed = self.source.batch
            if fixed is not None and count < fixed:
                rows = np.concatenate([rows, np.repeat(rows[:1], fixed - count, axis=0)])
            for k, out in enumerate(self._call(rows, names)):
                whole = np.asarray(out, dtype=np.float64)
                parts[k].append(whole.reshape(len(rows), -1)[:count])
        return [np.concatenate(p) if p else np.zeros((0, 0)) for p in parts]

    def _call(self, rows: np.ndarray, names: list[str]) -> list[np.ndarray]:
        """One run on (b, *input_shape): the sample axis is the model's own first axis."""
        feed = rows.reshape(len(rows) * self.shape[0], *self.shape[1:]) if self.shape else rows[0]
        try:
            return self.session.run(names, {self.source.input: feed})
        except Exception as error:
            raise RefusedInput(
                f"{self.source.path}: onnxruntime fails on input shape {feed.shape}: "
                f"{first_line(error)}"
            ) from error

    def _batch_size(self, values: np.ndarray) -> int:
        if self._size is None:
            self._size = 64 if self._batches(values) else 1
        return self._size

    def _batches(self, values: np.ndarray) -> bool:
        """Whether two samples at once give what they give one at a time."""
        if self.shape[:1] != (1,):
            return False
        # two samples that surely differ, or a model that mixes them could go unnoticed
        other = (0.5 - 0.7 * values[:1, ..., ::-1]).astype(values.dtype)
        pair = np.concatenate([values[:1], other])
        name = [self.answer]
        try:
            both = np.asarray(self._call(pair, name)[0], dtype=np.float64)
            single = [np.asarray(self._call(pair[k : k + 1], name)[0]).reshape(-1) for k in (0, 1)]
        except RefusedInput:
            return False
        if both.shape[:1] != (2,):
            return False
        return all(
            np.allclose(both[k].reshape(-1), single[k], rtol=1e-3, atol=1e-5) for k in (0, 1)
        )


def with_outputs(model: bytes, names: list[str]) -> bytes:
    """The serialised model with further tensors among its outputs."""
    proto = onnx.ModelProto.FromString(model)
    present = {v.name for v in proto.graph.output}
    made = {name for node in proto.graph.node for name in node.output}
    for name in names:
        if name in made and name not in present:
            proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return proto.SerializeToString()
