"""Keep only the nodes between the chosen input and a chosen tensor."""

from __future__ import annotations

import onnx


def cut(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """A copy of the model whose single output is ``tensor``, without what it does not need."""
    nodes = list(model.graph.node)
    made_by = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    needed, keep = [tensor], set()
    while needed:
        k = made_by.get(needed.pop())
        if k is None or k in keep:
            continue
        keep.add(k)
        needed.extend(_reads(nodes[k]))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    copies = [onnx.NodeProto.FromString(nodes[k].SerializeToString()) for k in sorted(keep)]
    used = {name for node in copies for name in _reads(node)} | {tensor}
    del graph.node[:]
    graph.node.extend(copies)
    for k in reversed(range(len(graph.initializer))):
        if graph.initializer[k].name not in used:
            del graph.initializer[k]
    described = {v.name: v for v in [*model.graph.value_info, *model.graph.output]}
    del graph.output[:]
    graph.output.append(described.get(tensor, onnx.ValueInfoProto(name=tensor)))
    return result


def _reads(node: onnx.NodeProto) -> list[str]:
    """Names a node reads, its subgraphs' outer names included."""
    names = [n for n in node.input if n]
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            names += [v.name for v in graph.output]
            for inner in graph.node:
                names += _reads(inner)
    return names
