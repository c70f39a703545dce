"""Every tensor that a file holds, and whether what it declares of them can be and is there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import onnx

from boundcert.errors import RefusedInput

#: Most entries a weight may have; it also has to be there.
LARGEST_WEIGHT = 2**31
#: The deepest nesting of subgraphs.
DEEPEST = 16
#: Bits an entry of each element type takes in raw data.
BITS: dict[int, int] = {
    onnx.TensorProto.FLOAT: 32,
    onnx.TensorProto.UINT8: 8,
    onnx.TensorProto.INT8: 8,
    onnx.TensorProto.UINT16: 16,
    onnx.TensorProto.INT16: 16,
    onnx.TensorProto.INT32: 32,
    onnx.TensorProto.INT64: 64,
    onnx.TensorProto.BOOL: 8,
    onnx.TensorProto.FLOAT16: 16,
    onnx.TensorProto.DOUBLE: 64,
    onnx.TensorProto.UINT32: 32,
    onnx.TensorProto.UINT64: 64,
    onnx.TensorProto.BFLOAT16: 16,
}
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def graphs(model: onnx.ModelProto, where: str) -> Iterator[onnx.GraphProto]:
    """The model's graph and all subgraphs, those in local functions included."""
    yield model.graph
    yield from _inside(model.graph.node, where, 1)
    for function in model.functions:
        yield from _inside(function.node, where, 1)


def _inside(nodes: object, where: str, depth: int) -> Iterator[onnx.GraphProto]:
    for node in nodes:  # type: ignore[attr-defined]
        for attribute in node.attribute:
            for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                if depth > DEEPEST:
                    raise RefusedInput(f"{where}: subgraphs are nested more than {DEEPEST} deep")
                yield graph
                yield from _inside(graph.node, where, depth + 1)


def check_tensors(model: onnx.ModelProto, where: str) -> None:
    """Refuse a tensor that is not of the size it declares, or of no kind that can be read.

    Requires external data to be loaded. Raises RefusedInput, with the tensor's name.
    """
    for tensor, label in _held(model, where):
        count = _count(tensor, label)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise RefusedInput(f"{label} is external data that was not loaded")
        if tensor.data_type == onnx.TensorProto.STRING:
            present = count
        elif tensor.HasField("raw_data"):
            present = len(tensor.raw_data) * 8 // _bits(tensor, label)
        else:
            _bits(tensor, label)
            present = max(len(getattr(tensor, name)) for name in _FIELDS)
        if present != count:
            raise RefusedInput(
                f"{label} declares shape {list(tensor.dims)} but holds {present} values; "
                "the file is damaged"
            )


def check_external(model: onnx.ModelProto, where: str, room: int) -> bool:
    """Say of every external tensor how many bytes it has: those that its shape needs.

    One without a stated length would be read to the end of its file, however long that is.
    Returns whether there are any.

    Raises
    ------
    RefusedInput
        A stated length differs, or all of them together need more than ``room`` bytes.
    """
    found = False
    for tensor, label in _held(model, where):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        found = True
        needed = _count(tensor, label) * _bits(tensor, label) // 8
        stated = [str(entry.value) for entry in tensor.external_data if entry.key == "length"]
        if not stated:
            tensor.external_data.add(key="length", value=str(needed))
        elif stated != [str(needed)]:
            raise RefusedInput(
                f"{label} of shape {list(tensor.dims)} takes {needed} bytes, but its external "
                f"data is of length {', '.join(stated)[:80]}; the file is damaged"
            )
        room -= needed
        if room < 0:
            raise RefusedInput(
                f"{where}: the model with its external weights exceeds the 2 GiB that protobuf "
                "holds"
            )
    return found


def _held(model: onnx.ModelProto, where: str) -> Iterator[tuple[onnx.TensorProto, str]]:
    """Weights and tensors among attributes, with what a message begins with."""
    bodies = [f.node for f in model.functions]
    for graph in graphs(model, where):
        for tensor in graph.initializer:
            yield tensor, f"{where}: weight {tensor.name!r}"
        bodies.append(graph.node)
    for node in (node for body in bodies for node in body):
        for attribute in node.attribute:
            own = [attribute.t] if attribute.HasField("t") else []
            for tensor in (*own, *attribute.tensors):
                place = f"of node {node.name or node.op_type!r}"
                yield tensor, f"{where}: weight {tensor.name!r} {place}"


def _count(tensor: onnx.TensorProto, label: str) -> int:
    if any(n < 0 for n in tensor.dims):
        raise RefusedInput(f"{label} has a negative size: {list(tensor.dims)}")
    count = math.prod(tensor.dims)
    if count > LARGEST_WEIGHT:
        raise RefusedInput(f"{label} declares {list(tensor.dims)} entries, which cannot be")
    return count


def _bits(tensor: onnx.TensorProto, label: str) -> int:
    if tensor.data_type not in BITS:
        kind = onnx.TensorProto.DataType.keys()
        name = kind[tensor.data_type] if 0 <= tensor.data_type < len(kind) else tensor.data_type
        raise RefusedInput(f"{label} has element type {name}; real numbers of 8 to 64 bits work")
    return BITS[tensor.data_type]
