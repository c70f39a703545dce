"""The deployed network: the same model in onnxruntime, from the user's data to a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from boundcert.errors import RefusedInput
from boundcert.network.graph import Source
from boundcert.network.read import first_line


def session(model: bytes, where: str, threads: int = 0) -> Any:
    """An onnxruntime session on the CPU.

    Raises
    ------
    RefusedInput
        onnxruntime does not take the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise RefusedInput(
            f"{where}: onnxruntime refuses the model: {first_line(error)}"
        ) from error


class Runtime:
    """onnxruntime on one network: logits and decisions for user data.

    Calls go one batch at a time where the model's batch axis is free and behaves (checked on
    first use), else in the size the model insists on.
    """

    def __init__(self, source: Source, input_shape: tuple[int, ...]) -> None:
        self.source = source
        self.shape = input_shape
        self.session = session(source.model, source.path)
        self._size: int | None = source.batch

    def prepare(self, x: np.ndarray) -> np.ndarray:
        """Data (N, *input_shape) as the model's input type, normalised in float32."""
        kind = np.dtype(self.source.dtype)
        values = np.asarray(x).astype(np.promote_types(kind, np.float32))
        before = self.source.preprocess
        if before is not None:
            mean, std = (np.asarray(v, dtype=values.dtype) for v in (before.mean, before.std))
            values = (values - mean) / std
        return values.astype(kind)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(N, *input_shape) → (N, C') float64 logits as the runtime computes them."""
        with np.errstate(over="ignore", invalid="ignore"):
            values = self.prepare(x)
        return self.outputs(values, [self.source.output])[0]

    def classify(self, x: np.ndarray) -> np.ndarray:
        """(N, *input_shape) → (N,) int64 classes; −1 where a logit is not finite."""
        z = self.logits(x)
        if self.source.decision == "sign":
            winner = (z[:, 0] > 0).astype(np.int64)
        else:
            winner = (-z if self.source.decision == "min" else z).argmax(axis=1)
        return np.where(np.isfinite(z).all(axis=1), winner, -1)

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
        name = [self.source.output]
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
