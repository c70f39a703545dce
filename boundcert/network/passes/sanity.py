"""Look at a model in plain Python before any native code or allocation trusts it.

A file may declare anything: a tensor of 10¹² entries in ten bytes, functions that call
themselves. The ONNX checker, shape inference and onnxruntime are native code that follows such
declarations; what is refused here never reaches them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx
import onnx.defs

from boundcert.errors import RefusedInput
from boundcert.network.passes.tensors import DEEPEST, check_tensors, graphs

#: Most entries one computed tensor may have (128 MiB in float64), and all of one sample's. A
#: model with larger weights may have tensors of that size: those bytes are in the file.
LARGEST_TENSOR, LARGEST_TOTAL = 2**24, 2**27
#: Most nodes that inlining functions may add: ten short functions that call each other can write
#: out a thousand million.
MOST_NODES = 10_000


def check_sizes(model: onnx.ModelProto, where: str) -> None:
    """Refuse declared sizes that are not there, and shapes no classifier has.

    Requires a parsed model with its external data loaded. Ensures that reading any of its
    tensors takes no more memory than the file itself.

    Raises
    ------
    RefusedInput
        Names the first tensor or input that is impossible.
    """
    for graph in graphs(model, where):
        _check_names(graph, where)
        if graph.sparse_initializer:
            name = graph.sparse_initializer[0].values.name
            raise RefusedInput(
                f"{where}: weight {name!r} is a sparse initialiser; export it as a dense one"
            )
        _check_attributes(graph, where)
        for value in graph.input:
            sizes = [d.dim_value for d in value.type.tensor_type.shape.dim]
            if math.prod(max(n, 1) for n in sizes) > LARGEST_TENSOR:
                raise RefusedInput(
                    f"{where}: input {value.name!r} declares shape {sizes}; "
                    f"at most {LARGEST_TENSOR} entries work"
                )
    for function in model.functions:
        _check_names(function, where)
        _check_attributes(function, where)
    check_tensors(model, where)


def check_operands(model: onnx.ModelProto, where: str) -> None:
    """Refuse nodes that leave out an operand which ONNX requires.

    The ONNX checker lets empty names pass, and onnxruntime's Max then reads a null pointer.
    """
    versions = {("" if e.domain == "ai.onnx" else e.domain): e.version for e in model.opset_import}
    bodies = [g.node for g in graphs(model, where)] + [f.node for f in model.functions]
    for node in (node for body in bodies for node in body):
        domain = "" if node.domain == "ai.onnx" else node.domain
        if not onnx.defs.has(node.op_type, domain):
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, versions.get(domain, 1), domain)
        except onnx.defs.SchemaError:
            continue  # the checker says so
        optional = onnx.defs.OpSchema.FormalParameterOption.Optional
        for kind, names, formal in (
            ("input", node.input, schema.inputs),
            ("output", node.output, schema.outputs),
        ):
            for k, name in enumerate(names):
                if not name and formal and formal[min(k, len(formal) - 1)].option != optional:
                    raise RefusedInput(
                        f"{where}: node {node.name or node.op_type!r} leaves out {kind} {k}, "
                        f"which {node.op_type} requires"
                    )


def check_functions(model: onnx.ModelProto, where: str) -> None:
    """Refuse local functions that call themselves or unfold without end.

    Ensures that inlining ends, with at most :data:`MOST_NODES` nodes.
    """
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size_of(key: tuple[str, str], callers: tuple[tuple[str, str], ...]) -> int:
        if key in callers or len(callers) > DEEPEST:
            raise RefusedInput(f"{where}: function {key[1]!r} calls itself, or is nested too deep")
        if key not in sizes:
            sizes[key] = sum(
                size_of((n.domain, n.op_type), (*callers, key))
                if (n.domain, n.op_type) in bodies
                else 1
                for n in _all_nodes(bodies[key].node)
            )
        return sizes[key]

    total = sum(
        size_of((n.domain, n.op_type), ()) if (n.domain, n.op_type) in bodies else 1
        for n in _all_nodes(model.graph.node)
    )
    most = MOST_NODES + sum(1 for _ in _all_nodes(model.graph.node))
    if total > most:
        raise RefusedInput(f"{where}: {total} nodes once functions are inlined; {most} work")


def check_shapes(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], where: str) -> None:
    """Refuse a model whose computed tensors, with these inferred shapes, are too large to hold."""
    weights = {t.name for t in model.graph.initializer}
    held = entries(model)
    most, total = max(LARGEST_TENSOR, held), 0
    for name, shape in shapes.items():
        if name in weights:
            continue
        total += math.prod(shape)
        if any(n < 0 for n in shape) or math.prod(shape) > most:
            raise RefusedInput(
                f"{where}: tensor {name!r} would have shape {list(shape)}; "
                f"at most {most} entries work"
            )
    if total > LARGEST_TOTAL + 4 * held:
        raise RefusedInput(
            f"{where}: the tensors of one sample have {total} entries; "
            f"{LARGEST_TOTAL + 4 * held} work"
        )


def entries(model: onnx.ModelProto) -> int:
    """Number of entries of all weights."""
    return sum(math.prod(t.dims) for t in model.graph.initializer)


def _all_nodes(nodes: object, depth: int = 0) -> Iterator[onnx.NodeProto]:
    for node in nodes:  # type: ignore[attr-defined]
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _all_nodes(inner.node, depth + 1)


def _check_names(graph: onnx.GraphProto | onnx.FunctionProto, where: str) -> None:
    """Refuse names that are no UTF-8, which protobuf hands over as bytes."""
    names: list[object] = []
    if isinstance(graph, onnx.GraphProto):
        names += [v.name for v in (*graph.initializer, *graph.input, *graph.output)]
    else:
        names += [graph.name, graph.domain, *graph.input, *graph.output]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [a.name for a in node.attribute]
    for name in names:
        if not isinstance(name, str):
            raise RefusedInput(f"{where}: the name {name!r} is not UTF-8; the file is damaged")


def _check_attributes(graph: onnx.GraphProto | onnx.FunctionProto, where: str) -> None:
    for node in graph.node:
        if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
            raise RefusedInput(
                f"{where}: node {node.name or node.op_type!r} holds a sparse tensor; "
                "export it as a dense one"
            )
