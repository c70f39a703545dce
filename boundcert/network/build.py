"""ONNX graph with static shapes → nodes of a :class:`~boundcert.network.graph.Network`.

Knows nothing of classifiers: any model from one data tensor to another becomes a list of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from boundcert.errors import RefusedInput, UnsupportedModel
from boundcert.layers import registry
from boundcert.layers.base import Layer, NodeSpec, Unsupported
from boundcert.layers.diagonal import diagonal
from boundcert.layers.structure import Select
from boundcert.network.graph import Node
from boundcert.network.passes.shapes import inferred_shapes
from boundcert.network.read import STANDARD, first_line, opset_of

Shape = tuple[int, ...]
#: What building or evaluating a layer may trip over when a file's attributes do not fit.
FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def build_graph(model: onnx.ModelProto, where: str, source: str, target: str) -> list[Node]:
    """The nodes from one data tensor to another, in topological order, the target last.

    Parameters
    ----------
    model : folded, with inferred shapes for one sample.
    where : its name in messages.
    source, target : names of the input and of the tensor to compute.

    Raises
    ------
    UnsupportedModel
        Lists every node that no layer takes: operator, name, shape, and what would work.
    RefusedInput
        The target does not depend on the source.
    """
    builder = _Builder(model, where, source)
    for node in model.graph.node:
        builder.take(node)
    if builder.refused:
        raise UnsupportedModel(
            f"{where}: {len(builder.refused)} node(s) cannot be bounded:\n  "
            + "\n  ".join(builder.refused)
            + f"\nOperators that work: {', '.join(registry.supported())}"
        )
    for node in model.graph.node:
        if target in node.output and target not in builder.position and _depends(node, builder):
            raise RefusedInput(
                f"{where}: output {target!r} is what {_label(node)} ({node.op_type}) gives besides "
                "its value (a mask or indices); no layer computes it"
            )
    if target not in builder.position:
        raise RefusedInput(f"{where}: output {target!r} does not depend on input {source!r}")
    return _needed(builder.nodes, builder.position[target])


@dataclass
class _Builder:
    """State of one pass over the nodes."""

    model: onnx.ModelProto
    where: str
    source: str
    nodes: list[Node] = field(default_factory=list)
    #: tensor name → its place in ``nodes``
    position: dict[str, int] = field(default_factory=dict)
    #: tensors behind a refused node, about which nothing more can be said
    unknown: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes = inferred_shapes(self.model)
        self.opset = opset_of(self.model)
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.put(Node(self.source, "Input", None, (), self.shapes[self.source], self.source))

    def put(self, node: Node) -> int:
        """Append a node; its place."""
        if node.tensor:
            self.position[node.tensor] = len(self.nodes)
        self.nodes.append(node)
        return len(self.nodes) - 1

    def take(self, node: onnx.NodeProto) -> None:
        """Append the layers of one ONNX node, or note why there are none."""
        try:
            if node.op_type == "Constant" and node.domain in STANDARD:
                self.constants[node.output[0]] = _constant_value(node)
            elif not self.unknown.isdisjoint(node.input):
                # what is behind a refused node is only worth a line if it fails by itself
                _check_operator(node)
                self.unknown.update(name for name in node.output if name)
            else:
                for which in _outputs(node):
                    self.add(node, which)
        except Unsupported as error:
            self.refused.append(f"{_label(node)} {self.shape_text(node)}: {error}")
            self.unknown.update(name for name in node.output if name)

    def add(self, node: onnx.NodeProto, which: int) -> None:
        """Append the layer of one output of a node."""
        _check_operator(node)
        spec = self.spec(node, which)
        if not any(isinstance(operand, tuple) for operand in spec.operands):
            raise Unsupported("computes from constants only, and could not be folded")
        materialised: dict[int, int] = {}
        if registry.wants_data(spec):
            operands = list(spec.operands)
            for k, value in enumerate(operands):
                if isinstance(value, np.ndarray):
                    materialised[k] = self.constant_node(value, node)
                    operands[k] = value.shape
            spec = NodeSpec(
                spec.op, spec.name, spec.opset, spec.attributes, tuple(operands), spec.shape
            )
        inputs = tuple(
            materialised[k] if k in materialised else self.position[name]
            for k, name in enumerate(node.input)
            if k in materialised or name in self.position
        )
        layer = _build(spec)
        _try_out(layer, [self.nodes[i].shape for i in inputs], spec.shape)
        self.put(Node(_label(node), node.op_type, layer, inputs, spec.shape, node.output[which]))

    def constant_node(self, value: np.ndarray, node: onnx.NodeProto) -> int:
        """A constant as a value of the graph: nothing of the input (gain 0) plus the constant.

        For operators whose layer merges computed operands, such as Concat.
        """
        shape = value.shape
        nothing = torch.full((value.size,), -1, dtype=torch.int64)
        name = f"{_label(node)}/constant"
        none = self.put(
            Node(name, "Nothing", Select(self.nodes[0].shape, shape, nothing), (0,), shape)
        )
        shift = diagonal(shape, shape, 1.0, np.asarray(value, dtype=np.float64))
        return self.put(Node(name, "Constant", shift, (none,), shape))

    def spec(self, node: onnx.NodeProto, which: int) -> NodeSpec:
        """The node without ONNX objects."""
        operands: list[np.ndarray | Shape | None] = []
        for name in node.input:
            if not name:
                operands.append(None)
            elif name in self.constants:
                operands.append(self.constants[name])
            elif name in self.position:
                operands.append(self.nodes[self.position[name]].shape)
            else:
                raise Unsupported(f"reads {name!r}, which no supported node computes")
        output = node.output[which]
        if output not in self.shapes:
            raise Unsupported("the shape of its output cannot be inferred for one sample")
        shape = self.shapes[output]
        if 0 in shape:
            raise Unsupported(f"its output of shape {list(shape)} is empty")
        attributes = _attributes(node)
        if node.op_type == "Split":
            attributes |= {"output": which, "outputs": len(node.output)}
        if node.op_type == "BatchNormalization" and sum(map(bool, node.output)) > 1:
            attributes["training_mode"] = 1  # how it was said before opset 14
        return NodeSpec(node.op_type, node.name, self.opset, attributes, tuple(operands), shape)

    def shape_text(self, node: onnx.NodeProto) -> str:
        """``(Op, input shape -> output shape)`` as far as known."""
        names = (*node.input[:1], *node.output[:1])
        known = [str(list(self.shapes[n])) if n in self.shapes else "?" for n in names]
        domain = f"{node.domain}::" if node.domain not in STANDARD else ""
        return f"({domain}{node.op_type}, {' -> '.join(known)})"


def _depends(node: onnx.NodeProto, builder: _Builder) -> bool:
    return any(name in builder.position for name in node.input)


def _check_operator(node: onnx.NodeProto) -> None:
    if node.domain not in STANDARD:
        raise Unsupported(
            f"operators of domain {node.domain!r} are unknown; standard ONNX ones work"
        )
    if node.op_type not in registry.supported():
        raise Unsupported("no bound is known for this operator")


def _outputs(node: onnx.NodeProto) -> Iterator[int]:
    """The outputs to compute: all of a Split, else the first (others are no float functions)."""
    for which, name in enumerate(node.output):
        if name and (which == 0 or node.op_type == "Split"):
            yield which


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    found: dict[str, object] = {}
    for attribute in node.attribute:
        try:
            value = onnx.helper.get_attribute_value(attribute)
            found[attribute.name] = value.decode() if isinstance(value, bytes) else value
        except Exception as error:
            raise Unsupported(
                f"attribute {attribute.name!r} is damaged ({first_line(error)})"
            ) from error
    return found


def _build(spec: NodeSpec) -> Layer:
    """:func:`registry.build`, where whatever trips over a file's attributes is the file's fault."""
    try:
        return registry.build(spec)
    except FAULTS as e:
        raise Unsupported(f"its attributes or constants do not fit ({first_line(e)})") from e


def _try_out(layer: Layer, shapes: list[Shape], expected: Shape) -> None:
    """Evaluate the layer once: what it gives must have the shape that onnx inferred."""
    try:
        with torch.no_grad():
            out = layer.forward(*(torch.zeros(1, *s, dtype=torch.float64) for s in shapes))
    except FAULTS as error:
        raise Unsupported(f"cannot be evaluated on {shapes} ({first_line(error)})") from error
    if tuple(out.shape[1:]) != expected:
        raise Unsupported(f"gives shape {list(out.shape[1:])} where onnx infers {list(expected)}")


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


def _constant_value(node: onnx.NodeProto) -> np.ndarray:
    attribute = node.attribute[0]
    try:
        if attribute.name == "value":
            return numpy_helper.to_array(attribute.t)
        if attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
            kind = np.int64 if attribute.name.startswith("value_int") else np.float32
            return np.asarray(onnx.helper.get_attribute_value(attribute), dtype=kind)
    except Exception as error:
        raise Unsupported(f"its value is damaged ({first_line(error)})") from error
    raise Unsupported(f"its {attribute.name} is not a number")


def _label(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}({', '.join(node.output[:1])})"
