"""What ``boundcert inspect`` shows of a network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape

from boundcert.certificates import ModelOptions
from boundcert.errors import RefusedInput
from boundcert.network.check import check_against_runtime
from boundcert.network.graph import Network
from boundcert.norms import Norm
from boundcert.report import new_table, rounded, say
from boundcert.run import load_model


@dataclass(frozen=True)
class NodeFacts:
    """One node; ``gain`` bounds its operator norm, None for layers without a single one."""

    name: str
    op: str
    shape: tuple[int, ...]
    parameters: int
    gain: float | None


@dataclass(frozen=True)
class ModelFacts:
    """A model; ``check`` is None when onnxruntime agrees, else what it disagrees on."""

    model: str
    sha256: str
    norm: str
    input_shape: tuple[int, ...]
    classes: int
    decision: str
    parameters: int
    check: str | None
    nodes: tuple[NodeFacts, ...]


def model_facts(options: ModelOptions, norm: str) -> ModelFacts:
    """Load a model, compare it with onnxruntime, and describe its nodes.

    Raises
    ------
    RefusedInput, UnsupportedModel, UsageError
    """
    kind = Norm.of(norm)
    network = load_model(options, check=False)
    try:
        check_against_runtime(network)
        problem = None
    except RefusedInput as error:
        problem = str(error)
    nodes = _nodes(network, kind)
    source = network.source
    return ModelFacts(
        str(options.path),
        source.sha256,
        kind.value,
        network.input_shape,
        network.classes,
        source.decision,
        network.parameters,
        problem,
        nodes,
    )


def _nodes(network: Network, norm: Norm) -> tuple[NodeFacts, ...]:
    found = []
    for node in network.nodes:
        gain = None if node.layer is None else node.layer.gain(norm)
        stored = [getattr(node.layer, name, None) for name in ("weight", "bias")]
        count = sum(v.numel() for v in stored if isinstance(v, torch.Tensor))
        found.append(
            NodeFacts(node.name, node.op, node.shape, count, None if gain is None else float(gain))
        )
    return tuple(found)


def facts_json(facts: ModelFacts) -> dict[str, Any]:
    """The facts as plain values, without NaN or infinity."""
    value: dict[str, Any] = {"type": "model", **asdict(facts)}
    for node in value["nodes"]:
        gain = node["gain"]
        node["gain"] = gain if gain is not None and abs(gain) < float("inf") else None
    return value


def print_facts(console: Console, facts: ModelFacts) -> None:
    """The facts as a table."""
    say(console, facts.model)
    table = new_table()
    for name in ("node", "op"):
        table.add_column(name, overflow="fold")
    for name in ("shape", "parameters", f"operator norm ({facts.norm})"):
        table.add_column(name, justify="right")
    for node in facts.nodes:
        shape = "x".join(map(str, node.shape)) or "scalar"
        gain = rounded(node.gain, up=True)
        table.add_row(escape(node.name), escape(node.op), shape, f"{node.parameters:,}", gain)
    console.print(table)
    shape = "x".join(map(str, facts.input_shape)) or "scalar"
    say(
        console,
        f"{len(facts.nodes)} nodes, {facts.parameters:,} parameters, input {shape}, "
        f"{facts.classes} classes, decision {facts.decision}",
    )
    say(console, f"sha256 {facts.sha256}")
    say(console, f"onnxruntime check: {'FAILED' if facts.check else 'passed'}")
