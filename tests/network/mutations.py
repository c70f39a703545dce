"""Damaged models: byte flips, truncations, and changes to the structure of a valid one."""

from __future__ import annotations

import random

import numpy as np
import onnx
from network.declarations import DECLARED
from onnx import helper, numpy_helper

#: Values that have broken importers before.
SIZES = (-(2**63), -(2**31), -5, -1, 0, 1, 2, 3, 7, 64, 1000, 10**6, 2**31 - 1, 10**12, 2**63 - 1)
FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e-30, 0.5, 3.0, 1e30)
TEXTS = ("", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET", "reflect", "tanh", "\x00", "DCR")
OPERATORS = """Abs Add ArgMax AveragePool BatchNormalization Cast Clip Concat Constant
    ConstantOfShape Conv ConvTranspose DepthToSpace Div Dropout Elu Expand Flatten Gather Gelu Gemm
    GlobalAveragePool GlobalLpPool GlobalMaxPool Identity If LRN LeakyRelu Log Loop LpPool MatMul
    Max MaxPool Min Mul NonZero OneHot PRelu Pad Pow Range Reciprocal ReduceMean ReduceSum Relu
    Reshape Resize Scan Shape Sigmoid Slice Softmax SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh
    Tile TopK Transpose Unsqueeze Where""".split()  # noqa: SIM905
ATTRIBUTES = """alpha approximate auto_pad axes axis beta bias blocksize ceil_mode
    count_include_pad dilations epsilon exclude_outside group kernel_shape keepdims mode
    noop_with_empty_axes output_padding output_shape p pads perm size spatial split storage_order
    strides to training_mode transA transB value""".split()  # noqa: SIM905


def mutate(data: bytes, seed: int, other: bytes = b"") -> bytes:
    """One damaged version of a serialised model, of which parts may come from another one."""
    rng = random.Random(seed)
    if rng.random() < 0.3:
        return _bytes(data, other or data, rng)
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(DECLARED if rng.random() < 0.4 else STRUCTURAL)(model, rng)
    return model.SerializeToString()


def _bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.2:
        return data[: rng.randrange(len(data))]
    if kind < 0.35:  # the beginning of one and the end of the other
        return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]
    if kind < 0.5:  # a piece of it again and again
        start = rng.randrange(len(data))
        piece = data[start : start + rng.choice((1, 8, 64, 512))]
        return data[:start] + piece * rng.choice((2, 20, 1000)) + data[start:]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        place = rng.randrange(len(changed))
        kind = rng.random()
        if kind < 0.6:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind < 0.8:
            changed[place] = rng.randrange(256)
        elif kind < 0.9:
            del changed[place : place + rng.randrange(1, 9)]
        else:
            changed[place:place] = rng.randbytes(rng.randrange(1, 9))
        if not changed:
            return b"\x08"
    return bytes(changed)


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto | None:
    return rng.choice(model.graph.node) if model.graph.node else None


def _names(model: onnx.ModelProto) -> list[str]:
    names = [t.name for t in model.graph.initializer] + [v.name for v in model.graph.input]
    return ["", "nowhere", *names, *(o for n in model.graph.node for o in n.output)]


def _operator(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is not None:
        node.op_type = rng.choice(OPERATORS)


def _delete_node(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.graph.node:
        del model.graph.node[rng.randrange(len(model.graph.node))]


def _duplicate_node(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is not None:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        place = rng.randrange(len(model.graph.node) + 1)
        model.graph.node.insert(place, copy)


def _swap_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _rewire(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is None:
        return
    ends = node.input if rng.random() < 0.7 else node.output
    name = rng.choice(_names(model))
    if ends and rng.random() < 0.8:
        ends[rng.randrange(len(ends))] = name
    else:
        ends.append(name)


def _drop_end(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is not None:
        ends = node.input if rng.random() < 0.7 else node.output
        if ends:
            del ends[rng.randrange(len(ends))]


def _attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is None:
        return
    if node.attribute and rng.random() < 0.6:
        place = rng.randrange(len(node.attribute))
        name = node.attribute[place].name
        del node.attribute[place]
    else:
        name = rng.choice(ATTRIBUTES)
    node.attribute.append(helper.make_attribute(name, _value(rng)))


def _value(rng: random.Random) -> object:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(SIZES)
    if kind == 1:
        return [rng.choice(SIZES[3:]) for _ in range(rng.randrange(1, 5))]
    if kind == 2:
        return rng.choice(FLOATS)
    if kind == 3:
        return rng.choice(TEXTS)
    if kind == 4:
        return [rng.choice(FLOATS) for _ in range(rng.randrange(1, 4))]
    return numpy_helper.from_array(np.array([rng.choice(SIZES)]))


def _attribute_kind(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is not None and node.attribute:
        attribute = rng.choice(node.attribute)
        attribute.type = rng.randrange(0, 15)
        if rng.random() < 0.3:
            attribute.ref_attr_name = "elsewhere"


def _dims(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.graph.initializer:
        tensor = rng.choice(model.graph.initializer)
        if tensor.dims and rng.random() < 0.7:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
        else:
            tensor.dims.append(rng.choice(SIZES))


def _weight(model: onnx.ModelProto, rng: random.Random) -> None:
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64)
    numbers = [t for t in model.graph.initializer if t.data_type in kinds]
    numbers = [t for t in numbers if t.data_location == t.DEFAULT]
    if numbers:
        tensor = rng.choice(numbers)
        values = numpy_helper.to_array(tensor).copy()
        if values.size:
            new = rng.choice(FLOATS if values.dtype.kind == "f" else SIZES)
            with np.errstate(over="ignore"):
                values.reshape(-1)[rng.randrange(values.size)] = np.array(new).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _weight_kind(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.graph.initializer:
        rng.choice(model.graph.initializer).data_type = rng.randrange(0, 26)


def _external(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.graph.initializer:
        tensor = rng.choice(model.graph.initializer)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (
            ("location", rng.choice(("w.bin", "../w", "/etc/passwd", ""))),
            ("offset", str(rng.choice(SIZES))),
            ("length", str(rng.choice(SIZES))),
        ):
            tensor.external_data.add(key=key, value=value)


def _input(model: onnx.ModelProto, rng: random.Random) -> None:
    if not model.graph.input:
        return
    tensor = rng.choice(model.graph.input).type.tensor_type
    kind = rng.randrange(4)
    if kind == 0:
        tensor.elem_type = rng.randrange(0, 26)
    elif kind == 1 and tensor.shape.dim:
        rng.choice(tensor.shape.dim).dim_value = rng.choice(SIZES)
    elif kind == 2:
        tensor.shape.dim.add().dim_value = rng.choice(SIZES)
    elif tensor.shape.dim:
        del tensor.shape.dim[rng.randrange(len(tensor.shape.dim))]


def _rename(model: onnx.ModelProto, rng: random.Random) -> None:
    things = [*model.graph.initializer, *model.graph.input, *model.graph.output]
    if things:
        rng.choice(things).name = rng.choice(_names(model))


def _versions(model: onnx.ModelProto, rng: random.Random) -> None:
    if model.opset_import and rng.random() < 0.8:
        model.opset_import[0].version = rng.choice((1, 6, 7, 9, 11, 12, 13, 15, 18, 20, 22, 99, -1))
    else:
        model.ir_version = rng.choice((0, 1, 3, 4, 8, 99))


def _domain(model: onnx.ModelProto, rng: random.Random) -> None:
    node = _node(model, rng)
    if node is not None:
        node.domain = rng.choice(("ai.onnx", "com.microsoft", "ai.onnx.ml", "elsewhere"))
        if rng.random() < 0.7:
            model.opset_import.append(helper.make_opsetid(node.domain, rng.choice((1, 13, 17))))


def _expand(model: onnx.ModelProto, rng: random.Random) -> None:
    """Something large in front of a node."""
    node = _node(model, rng)
    if node is None or not node.input:
        return
    sizes = np.array([rng.choice(SIZES[5:]) for _ in range(rng.randrange(1, 5))])
    model.graph.initializer.append(numpy_helper.from_array(sizes, "sizes"))
    op = rng.choice(("Expand", "Tile", "Reshape", "ConstantOfShape", "Pad"))
    inputs = ["sizes"] if op == "ConstantOfShape" else [node.input[0], "sizes"]
    place = list(model.graph.node).index(node)
    model.graph.node.insert(place, helper.make_node(op, inputs, ["large"]))
    model.graph.node[place + 1].input[0] = "large"


STRUCTURAL = (
    _operator,
    _delete_node,
    _duplicate_node,
    _swap_nodes,
    _rewire,
    _rewire,
    _drop_end,
    _attribute,
    _attribute,
    _attribute,
    _attribute_kind,
    _dims,
    _weight,
    _weight_kind,
    _external,
    _input,
    _rename,
    _versions,
    _domain,
    _expand,
)
