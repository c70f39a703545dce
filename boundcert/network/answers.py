"""Whether the file, byte for byte, is the model that was read: onnxruntime's answers from either.

Comparing node by node is about the model as it was read: functions inlined, cut at the logits. This
is about the user's own file, which is what a certificate promises something of.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boundcert.errors import RefusedInput
from boundcert.network.graph import Network, Source
from boundcert.network.precision import arithmetic_of
from boundcert.network.runtime import Runtime

#: Two ways of a runtime to compute one output agree to this share of its size (and of the logits').
SHARE = 1e-3


def as_read(source: Source) -> Source:
    """The same of the model as it was read, up to its logits, in place of the file."""
    return replace(source, file=b"", beside=None)


def check_answers(network: Network, read: Source, rows: np.ndarray) -> None:
    """The file's own output must be what its head makes of the logits that were read.

    Both by onnxruntime: what is compared is not rounding but which function it is.

    Parameters
    ----------
    read : the model as read, for one sample.
    rows : (N, *input_shape) samples.

    Raises
    ------
    RefusedInput
        The outputs differ.
    """
    source = network.source
    if not source.file:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        theirs = Runtime(source, network.input_shape).answers(rows)
        logits = Runtime(read, network.input_shape).answers(rows)
        share = max(SHARE, 64 * arithmetic_of(source).unit)
        differs = _picks if source.pick else _scores
        wrong = differs(theirs, logits, source, share)
    if wrong.any():
        raise RefusedInput(
            f"{source.path}: onnxruntime computes another output {source.answer!r} from the file "
            "itself than from the model as it was read; the model is refused. Please report it "
            "with the model."
        )


def _scores(theirs: np.ndarray, logits: np.ndarray, source: Source, share: float) -> np.ndarray:
    """(N,) whether an output is not what the head makes of the logits."""
    ours = after_head(logits, source.head)
    if theirs.shape != ours.shape:
        return np.ones(len(logits), dtype=bool)
    size = np.abs(ours).max(axis=1) + (np.abs(logits).max(axis=1) if source.head else 0.0)
    allowed = share * size + 1e-5
    known = np.isfinite(ours).all(axis=1) & np.isfinite(allowed)
    return known & ~(np.abs(theirs - ours).max(axis=1) <= allowed)


def _picks(theirs: np.ndarray, logits: np.ndarray, source: Source, share: float) -> np.ndarray:
    """(N,) whether an output names another winner than the logits clearly have."""
    ordered = -logits if source.decision == "min" else logits
    winner = theirs.argmax(axis=1) if source.pick == "Hardmax" else theirs[:, 0]
    best = ordered.argmax(axis=1)
    gap = ordered.max(axis=1) - np.partition(ordered, -2, axis=1)[:, -2]
    clear = np.isfinite(logits).all(axis=1) & (gap > share * np.abs(logits).max(axis=1))
    return clear & (winner != best)


def after_head(logits: np.ndarray, head: str) -> np.ndarray:
    """(N, C) what a head of a name makes of logits, in float64."""
    if head == "Sigmoid":
        return np.exp(-np.logaddexp(0.0, -logits))
    if head in ("Softmax", "LogSoftmax"):
        apart = logits - logits.max(axis=1, keepdims=True)
        apart = apart - np.log(np.exp(apart).sum(axis=1, keepdims=True))
        return np.exp(apart) if head == "Softmax" else apart
    return logits
