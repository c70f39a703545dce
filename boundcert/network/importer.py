"""ONNX model → :class:`Network`: the passes in order, then one layer a node."""

from __future__ import annotations

import math
from pathlib import Path

import onnx

from boundcert.errors import RefusedInput, UsageError
from boundcert.layers.base import numel
from boundcert.network.build import build_graph
from boundcert.network.gates import with_gates
from boundcert.network.graph import Network, Source, append
from boundcert.network.heads import head_substitute, logit
from boundcert.network.passes.choose import FLOAT_TYPES, choose_ends, dims
from boundcert.network.passes.cut import cut
from boundcert.network.passes.fold import fold
from boundcert.network.passes.heads import Head, find_head
from boundcert.network.passes.shapes import inferred_shapes, pin_fixed_batch, pin_input
from boundcert.network.passes.tidy import tidy
from boundcert.network.passes.work import check_work
from boundcert.network.read import Origin, check_model, parse_model, read_model


def import_file(path: Path, **options: object) -> Network:
    """:func:`import_model` on a file."""
    model, origin = read_model(path)
    return import_model(model, str(path), origin, **options)  # type: ignore[arg-type]


def import_bytes(data: bytes, where: str = "model", **options: object) -> Network:
    """:func:`import_model` on serialised bytes (no external data)."""
    model = parse_model(data, where)
    check_model(model, where)
    return import_model(model, where, Origin(data), **options)  # type: ignore[arg-type]


def import_model(
    model: onnx.ModelProto,
    where: str,
    origin: Origin,
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    decision: str | None = None,
    threshold: float | None = None,
) -> Network:
    """Build the network from its input to its logits, without comparing it to a runtime.

    Parameters
    ----------
    model, where, origin : checked model, its name in messages, what it was read from.
    input_name, output_name : the choice where the model has several.
    input_shape : one sample's shape where the model leaves axes free.
    decision : ``"max"`` or ``"min"``; by default what the model's head says, else max. A single
        output decides by ``threshold``.
    threshold : a single output of the model is of class 1 above it; by default 0.5 behind a
        sigmoid, else 0.

    Raises
    ------
    RefusedInput, UnsupportedModel
    UsageError
        The decision or the threshold does not fit the model's output.
    """
    model = tidy(model, where)
    value, output = choose_ends(model, where, input_name, output_name)
    pinned, batch = _pin(cut(model, output), where, value, output, input_shape)
    folded = fold(pinned, where)
    check_work(folded, where)
    head = find_head(folded, output, inferred_shapes(folded), decision)
    if not any(head.logits in node.output for node in model.graph.node):
        head = Head(output)  # folding made a tensor that onnxruntime could not be asked for
    nodes = with_gates(build_graph(cut(folded, head.logits), where, value.name, head.logits))
    logits = nodes[-1].shape
    count = numel(logits)
    if count == 0 or count != max(logits, default=1):
        raise RefusedInput(
            f"{where}: output {head.logits!r} has shape {list(logits)} for one sample; "
            "a classifier gives one vector of logits"
        )
    rule = _rule(where, head, count, decision)
    above = _threshold(where, head, count, threshold)
    behind = f"{head.logits} behind {head.scores}" if head.scores else ""
    slack = head_substitute(behind, head.logits, head.scores, count, rule == "min", above)
    source = Source(
        path=where,
        sha256=origin.sha256,
        model=_serialised(cut(model, head.logits), where),
        input=value.name,
        output=head.logits,
        dtype=FLOAT_TYPES[value.type.tensor_type.elem_type],
        batch=batch,
        decision=rule,
        file=origin.data,
        beside=origin.beside,
        answer=output,
        head=head.scores,
        pick=head.pick,
        threshold=above or 0.0,
    )
    on_logits = logit(above) if head.scores == "Sigmoid" and above is not None else above
    made = append(nodes, rule, behind, on_logits or 0.0)
    return Network(made, source, () if slack is None else (slack,))


def _rule(where: str, head: Head, count: int, decision: str | None) -> str:
    """How the logits decide."""
    own = {"ArgMin": "min", "ArgMax": "max", "Hardmax": "max"}.get(head.pick)
    if own is not None and decision not in (None, own):
        raise UsageError(f"{where}: the model itself takes the {own} of its logits, not the other")
    return "sign" if count == 1 else decision or own or "max"


def _threshold(where: str, head: Head, count: int, threshold: float | None) -> float | None:
    """Above which number a single output is of class 1; None for several outputs."""
    if count > 1:
        if threshold is not None:
            raise UsageError(f"{where}: a threshold is for one output; the model has {count}")
        return None
    if threshold is None:
        return 0.5 if head.scores == "Sigmoid" else 0.0
    if not math.isfinite(threshold) or (head.scores == "Sigmoid" and not 0 < threshold < 1):
        between = "between 0 and 1" if head.scores == "Sigmoid" else "finite"
        raise UsageError(f"{where}: threshold {threshold} must be {between}")
    return threshold


def _serialised(model: onnx.ModelProto, where: str) -> bytes:
    try:
        return model.SerializeToString()
    except Exception as error:
        raise RefusedInput(
            f"{where}: the model with its external weights exceeds the 2 GiB that protobuf holds"
        ) from error


def _pin(
    model: onnx.ModelProto,
    where: str,
    value: onnx.ValueInfoProto,
    output: str,
    shape: tuple[int, ...] | None,
) -> tuple[onnx.ModelProto, int | None]:
    """One sample's model, and the batch size the original insists on (None: free)."""
    declared = dims(value)
    pinned = pin_input(model, where, value.name, shape)
    first = declared[0] if declared else 1
    if not isinstance(first, int) or first <= 0:
        return pinned, None
    if first > 1 and _leading(pinned, where, output) == first:
        # N rows in, N rows out: a batch, unless the model does not work on one row
        single = pin_fixed_batch(pinned, value.name, first)
        if _leading(single, where, output) == 1:
            return single, first
    return pinned, 1


def _leading(model: onnx.ModelProto, where: str, output: str) -> int | None:
    """First size of the output's shape of rank two or more; None where shapes do not work out."""
    try:
        shape = inferred_shapes(fold(model, where)).get(output, ())
    except RefusedInput:
        return None
    return shape[0] if len(shape) >= 2 else None
