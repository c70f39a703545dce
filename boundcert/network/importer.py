"""ONNX model → :class:`Network`: the passes in order, then one layer a node."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from boundcert.errors import RefusedInput, UnsupportedModel
from boundcert.layers import registry
from boundcert.layers.base import NodeSpec, Unsupported, numel
from boundcert.network.graph import Network, Node, Preprocess, Source, append, put_in_front
from boundcert.network.passes.choose import FLOAT_TYPES, choose_ends, dims
from boundcert.network.passes.cut import cut
from boundcert.network.passes.heads import find_head
from boundcert.network.passes.shapes import fold, inferred_shapes, pin_fixed_batch, pin_input
from boundcert.network.read import check_model, first_line, parse_model, read_model


def import_file(path: Path, **options: object) -> Network:
    """:func:`import_model` on a file."""
    model, digest = read_model(path)
    return import_model(model, str(path), digest, **options)  # type: ignore[arg-type]


def import_bytes(data: bytes, where: str = "model", **options: object) -> Network:
    """:func:`import_model` on serialised bytes (no external data)."""
    model = parse_model(data, where)
    check_model(model, where)
    return import_model(model, where, hashlib.sha256(data).hexdigest(), **options)  # type: ignore[arg-type]


def import_model(
    model: onnx.ModelProto,
    where: str,
    digest: str,
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    decision: str | None = None,
    preprocess: Preprocess | None = None,
) -> Network:
    """Build the network from its input to its logits, without comparing it to a runtime.

    Parameters
    ----------
    model, where, digest : checked model, its name in messages, the SHA-256 of its file.
    input_name, output_name : the choice where the model has several.
    input_shape : one sample's shape where the model leaves axes free.
    decision : ``"max"`` or ``"min"``; by default what the model's head says, else max. A single
        output always decides by its sign.
    preprocess : normalisation to put in front.

    Raises
    ------
    RefusedInput, UnsupportedModel
    """
    value, output = choose_ends(model, where, input_name, output_name)
    pinned, batch = _pin(model, where, value, output, input_shape)
    head = find_head(pinned, output, inferred_shapes(_infer(pinned)))
    folded = fold(cut(pinned, head.logits), where)
    nodes = _nodes(folded, where, value.name, head.logits)
    logits = nodes[-1].shape
    if numel(logits) == 0 or numel(logits) != max(logits, default=1):
        raise RefusedInput(
            f"{where}: output {head.logits!r} has shape {list(logits)} for one sample; "
            "a classifier gives one vector of logits"
        )
    rule = decision or ("min" if head.least_wins else "max")
    rule = "sign" if numel(logits) == 1 else rule
    source = Source(
        path=where,
        sha256=digest,
        model=cut(model, head.logits).SerializeToString(),
        input=value.name,
        output=head.logits,
        dtype=FLOAT_TYPES[value.type.tensor_type.elem_type],
        batch=batch,
        decision=rule,
    )
    network = Network(append(nodes, rule), source)
    return network if preprocess is None else put_in_front(network, preprocess)


def _infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """Shapes as far as they follow without folding; whatever fails stays unknown."""
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:
        return model


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
    out = next(v for v in model.graph.output if v.name == output)
    out_shape = inferred_shapes(_infer(pinned)).get(output) or tuple(dims(out))
    if first > 1 and len(out_shape) >= 2 and out_shape[0] == first:
        return pin_fixed_batch(pinned, value.name, first), first
    return pinned, 1


def _nodes(model: onnx.ModelProto, where: str, source: str, target: str) -> list[Node]:
    """One node for each computed value the target needs, in topological order."""
    shapes = inferred_shapes(model)
    constants = {t.name: _array(t, where) for t in model.graph.initializer}
    opset = max((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), default=1)
    nodes = [Node(source, "Input", None, (), shapes[source], source)]
    position = {source: 0}
    refused: list[str] = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = _constant_value(node, where)
            continue
        if all(not name or name in constants for name in node.input) and node.input:
            refused.append(f"{_label(node)}: constant, but could not be folded")
            continue
        for which, name in enumerate(node.output):
            if not name or name in position:
                continue
            if which and node.op_type != "Split":
                continue
            try:
                spec = _spec(node, which, opset, shapes, constants, position, nodes)
                layer = registry.build(spec)
            except Unsupported as error:
                refused.append(f"{_label(node)} {_shape_text(shapes, node)}: {error}")
                # carry on behind it, so that every unsupported node is listed
                position[name] = len(nodes)
                nodes.append(Node(_label(node), node.op_type, None, (0,), shapes.get(name, ()), name))
                continue
            inputs = tuple(position[i] for i in node.input if i in position)
            position[name] = len(nodes)
            nodes.append(Node(_label(node), node.op_type, layer, inputs, spec.shape, name))
    if refused:
        listed = "\n  ".join(refused)
        raise UnsupportedModel(
            f"{where}: {len(refused)} node(s) cannot be bounded:\n  {listed}"
        )
    if target not in position:
        raise RefusedInput(f"{where}: output {target!r} does not depend on input {source!r}")
    return _needed(nodes, position[target])


def _needed(nodes: list[Node], target: int) -> list[Node]:
    """Only what the target depends on, renumbered, the target last."""
    keep = {0, target}
    for k in range(target, 0, -1):
        if k in keep:
            keep.update(nodes[k].inputs)
    order = sorted(keep)
    where = {old: new for new, old in enumerate(order)}
    return [
        Node(n.name, n.op, n.layer, tuple(where[i] for i in n.inputs), n.shape, n.tensor)
        for n in (nodes[k] for k in order)
    ]


def _spec(
    node: onnx.NodeProto,
    which: int,
    opset: int,
    shapes: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray],
    position: dict[str, int],
    nodes: list[Node],
) -> NodeSpec:
    if node.domain not in ("", "ai.onnx"):
        raise Unsupported(f"operators of domain {node.domain!r} are unknown; standard ONNX ones work")
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    if node.op_type == "Split":
        attributes |= {"output": which, "outputs": len(node.output)}
    operands: list[np.ndarray | tuple[int, ...] | None] = []
    for name in node.input:
        if not name:
            operands.append(None)
        elif name in constants:
            operands.append(constants[name])
        elif name in position:
            operands.append(nodes[position[name]].shape)
        else:
            raise Unsupported(f"input {name!r} is never computed")
    output = node.output[which]
    if output not in shapes:
        raise Unsupported("the shape of its output cannot be inferred for one sample")
    if any(n == 0 for n in shapes[output]):
        raise Unsupported(f"its output of shape {list(shapes[output])} is empty")
    return NodeSpec(node.op_type, node.name, opset, attributes, tuple(operands), shapes[output])


def _array(tensor: onnx.TensorProto, where: str) -> np.ndarray:
    try:
        return numpy_helper.to_array(tensor)
    except Exception as error:
        raise RefusedInput(f"{where}: weight {tensor.name!r} is damaged: {first_line(error)}") from error


def _constant_value(node: onnx.NodeProto, where: str) -> np.ndarray:
    attribute = node.attribute[0]
    if attribute.name == "value":
        return _array(attribute.t, where)
    value = onnx.helper.get_attribute_value(attribute)
    kind = np.int64 if attribute.name.startswith("value_int") else np.float32
    if attribute.name not in ("value_int", "value_ints", "value_float", "value_floats"):
        raise RefusedInput(f"{where}: constant {node.output[0]!r} ({attribute.name}) is not a number")
    return np.asarray(value, dtype=kind)


def _label(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}({node.output[0]})"


def _shape_text(shapes: dict[str, tuple[int, ...]], node: onnx.NodeProto) -> str:
    known = [list(shapes[n]) if n in shapes else "?" for n in (*node.input[:1], *node.output[:1])]
    return f"({node.op_type}, {' -> '.join(map(str, known))})"
