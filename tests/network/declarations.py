"""Mutations of what a file declares: sizes, windows, names, references no classifier has.

Most leave the rest of the model valid, so that a declaration gets as far as it can.
"""

from __future__ import annotations

import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HUGE = ([2**40, 2**40], [2**31, 2**31, 4], [2**62], [0, 2**62], [-1, -1], [2**63 - 1], [2**24, 1])
WINDOW = (-(2**31), -1, 0, 1, 2, 5, 1000, 4096, 2**20, 2**31 - 1, 2**31, 2**40, 2**63 - 1)
OPSETS = (-(2**63), 0, 6, 21, 24, 99, 10**9, 2**63 - 1)
SIZES = ([10**3, 10**3], [2**12, 2**12], [2**24], [2**24 + 1], [2**26], [1, 10**6], [10**12], [-1])


def huge_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    """The whole shape of a weight or of the input."""
    places = [t.dims for t in model.graph.initializer]
    if places and rng.random() < 0.6:
        dims = rng.choice(places)
        del dims[:]
        dims.extend(rng.choice(HUGE))
    elif model.graph.input:
        shape = model.graph.input[0].type.tensor_type.shape
        del shape.dim[:]
        for n in rng.choice((*HUGE, *SIZES)):
            shape.dim.add().dim_value = n


def raw_length(model: onnx.ModelProto, rng: random.Random) -> None:
    """A weight with more, fewer or other kinds of bytes than its shape has."""
    if model.graph.initializer:
        tensor = rng.choice(model.graph.initializer)
        raw = bytes(tensor.raw_data)
        tensor.raw_data = rng.choice(
            (b"", raw[:-1], raw + b"\0" * 4, raw * 3, raw[: len(raw) // 2])
        )
        if rng.random() < 0.3:
            tensor.float_data.extend([1.0] * rng.randrange(1, 50))


def window(model: onnx.ModelProto, rng: random.Random) -> None:
    """Strides, pads, dilations and kernels of the right rank but of any size."""
    nodes = [n for n in model.graph.node if "Conv" in n.op_type or "Pool" in n.op_type]
    if nodes:
        node = rng.choice(nodes)
        name = rng.choice(("kernel_shape", "strides", "dilations", "pads", "output_padding"))
        rank = 1 if any(a.name == "output_padding" for a in node.attribute) else 2
        count = rank * (2 if name == "pads" else 1)
        small = rng.choice((1, 2))
        values = [rng.choice(WINDOW) if rng.random() < 0.5 else small for _ in range(count)]
        kept = [a for a in node.attribute if a.name != name]
        kept.append(helper.make_attribute(name, values))
        _replace(node.attribute, kept)


def strings(model: onnx.ModelProto, rng: random.Random) -> None:
    """A tensor of texts where numbers belong."""
    if model.graph.initializer:
        tensor = rng.choice(model.graph.initializer)
        count = int(np.prod([d for d in tensor.dims if 0 < d < 10**4], dtype=np.int64)) % 10**4
        texts = [rng.choice((b"", b"1", b"\xff\xfe", b"nan"))] * count
        tensor.CopyFrom(
            TensorProto(name=tensor.name, data_type=TensorProto.STRING, dims=tensor.dims)
        )
        tensor.string_data.extend(texts)


def chain(model: onnx.ModelProto, rng: random.Random) -> None:
    """A long chain of nodes in front of one."""
    node = _reader(model, rng)
    if node is None:
        return
    name, op = node.input[0], rng.choice(("Relu", "Neg", "Identity", "Abs", "Tanh", "Dropout"))
    place = list(model.graph.node).index(node)
    length = rng.choice((3, 30, 100))
    for k in range(length):
        made = helper.make_node(op, [name], [f"chain{k}"], name=f"chain{k}")
        model.graph.node.insert(place + k, made)
        name = f"chain{k}"
    node.input[0] = name


def grown(model: onnx.ModelProto, rng: random.Random) -> None:
    """A large constant, folded to one number and added to a node's operand."""
    node = _reader(model, rng)
    if node is None:
        return
    sizes = rng.choice(SIZES)
    initial = {
        "g_sizes": np.array(sizes),
        "g_total": np.array(int(np.prod(np.array(sizes, np.float64)))),
        "g_zero": np.array(0),
        "g_step": np.array(1),
        "g_one": np.ones([1] * len(sizes), np.float32),
        "g_values": np.array([0, 1]),
        "g_scales": np.array(sizes, np.float32),
        "g_pads": np.array([0] * len(sizes) + [n - 1 for n in sizes]),
    }
    op, inputs = rng.choice(
        (
            ("ConstantOfShape", "g_sizes"),
            ("Expand", "g_one g_sizes"),
            ("Tile", "g_one g_sizes"),
            ("Range", "g_zero g_total g_step"),
            ("OneHot", "g_zero g_total g_values"),
            ("Pad", "g_one g_pads"),
            ("Resize", "g_one  g_scales"),
            ("Reshape", "g_one g_sizes"),
        )
    )
    place = list(model.graph.node).index(node)
    made = [
        helper.make_node(op, inputs.split(" "), ["g_large"], name="g_large"),
        helper.make_node("Cast", ["g_large"], ["g_float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["g_float"], ["g_mean"], keepdims=0),
        helper.make_node("Add", [node.input[0], "g_mean"], ["g_sum"], name="g_sum"),
    ]
    for k, new in enumerate(made):
        model.graph.node.insert(place + k, new)
    node.input[0] = "g_sum"
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in initial.items())


def named_twice(model: onnx.ModelProto, rng: random.Random) -> None:
    """Outputs and weights that carry each other's names, cycles included."""
    nodes = model.graph.node
    if nodes and nodes[0].output and nodes[-1].output:
        node, other = rng.choice(nodes), rng.choice(nodes)
        if node.output and other.output:
            node.output[0] = other.output[0]
        if node.input and rng.random() < 0.5:
            node.input[0] = nodes[-1].output[0]
    if model.graph.initializer and rng.random() < 0.5:
        model.graph.initializer.append(rng.choice(model.graph.initializer))


def subgraph(model: onnx.ModelProto, rng: random.Random) -> None:
    """A branch whose own weights declare anything, in the graph or in a local function."""
    made = numpy_helper.from_array(np.ones(3, np.float32), "inner")
    if rng.random() < 0.7:
        _replace(made.dims, rng.choice(HUGE))
    nodes = [helper.make_node("Identity", ["inner"], ["out"])]
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    branch = helper.make_graph(nodes, "branch", [], out, [made])
    choice = helper.make_node("If", ["c"], ["b"], then_branch=branch, else_branch=branch)
    name = model.graph.output[0].name if model.graph.output else "y"
    truth = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    add = helper.make_node("Add", ["b", "a"], ["r"])
    if rng.random() < 0.5:
        model.graph.node.extend([truth, choice, helper.make_node("Add", ["b", name], ["r"])])
    else:
        opset = helper.make_opsetid("", max((o.version for o in model.opset_import), default=17))
        body = [truth, choice, add]
        function = helper.make_function("local", "F", ["a"], ["r"], body, [opset])
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("local", 1))
        model.graph.node.append(helper.make_node("F", [name], ["r"], domain="local"))
    if model.graph.output:
        model.graph.output[0].name = "r"


def opsets(model: onnx.ModelProto, rng: random.Random) -> None:
    """Versions that never were, and several of the same domain."""
    if model.opset_import and rng.random() < 0.6:
        model.opset_import[0].version = rng.choice(OPSETS)
    else:
        model.opset_import.append(helper.make_opsetid("", rng.choice(OPSETS)))


def extreme_weights(model: onnx.ModelProto, rng: random.Random) -> None:
    """A weight of nothing but one extreme value."""
    kinds = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
    tensors = [t for t in model.graph.initializer if t.data_type in kinds and len(t.raw_data)]
    if tensors:
        tensor = rng.choice(tensors)
        kind = kinds[tensor.data_type]
        value = rng.choice((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.0, 6e4))
        with np.errstate(over="ignore"):
            tensor.raw_data = np.full(len(tensor.raw_data) // kind().nbytes, value, kind).tobytes()


def wide(model: onnx.ModelProto, rng: random.Random) -> None:
    """A node of very many operands or outputs."""
    node = _reader(model, rng)
    if node is not None:
        count = rng.choice((20, 500))
        if rng.random() < 0.5:
            node.input.extend([node.input[0]] * count)
        else:
            node.output.extend(f"more{k}" for k in range(count))


def _reader(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto | None:
    nodes = [n for n in model.graph.node if n.input]
    return rng.choice(nodes) if nodes else None


def _replace(field, values) -> None:  # type: ignore[no-untyped-def]
    copies = [
        type(v).FromString(v.SerializeToString()) if hasattr(v, "CopyFrom") else v for v in values
    ]
    del field[:]
    field.extend(copies)


DECLARED = (
    huge_dims,
    raw_length,
    window,
    window,
    strings,
    chain,
    grown,
    grown,
    named_twice,
    subgraph,
    opsets,
    extreme_weights,
    wide,
)
