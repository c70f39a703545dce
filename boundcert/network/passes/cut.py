"""Keep only the nodes between the chosen input and a chosen tensor."""

from __future__ import annotations

import onnx


def cut(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """A copy of the model whose single output is ``tensor``, without nodes it does not need."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    needed, keep = [tensor], set()
    while needed:
        name = needed.pop()
        node = made_by.get(name)
        if node is None or id(node) in keep:
            continue
        keep.add(id(node))
        needed.extend(_reads(node))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    kept = [i for i, node in enumerate(model.graph.node) if id(node) in keep]
    nodes = [result.graph.node[i] for i in kept]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del result.graph.node[:]
    result.graph.node.extend(copies)
    used = {name for node in copies for name in _reads(node)} | {tensor}
    weights = [t for t in model.graph.initializer if t.name in used]
    dropped = {t.name for t in model.graph.initializer} - used
    inputs = [v for v in model.graph.input if v.name not in dropped]
    del result.graph.initializer[:]
    result.graph.initializer.extend(weights)
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    del result.graph.output[:]
    result.graph.output.append(onnx.ValueInfoProto(name=tensor))
    return result


def _reads(node: onnx.NodeProto) -> list[str]:
    """Names a node reads, its subgraphs' outer names included."""
    names = [n for n in node.input if n]
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                names += _reads(inner)
    return names
