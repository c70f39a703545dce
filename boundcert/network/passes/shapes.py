"""Static shapes for one sample: pin the batch, read what was inferred."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from boundcert.errors import RefusedInput
from boundcert.network.passes.choose import dims


def pin_input(
    model: onnx.ModelProto, where: str, name: str, shape: tuple[int, ...] | None
) -> onnx.ModelProto:
    """A copy with the input's shape static: a free first axis becomes 1.

    Raises RefusedInput for other free axes unless ``shape`` (a whole sample's) is given.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    value = next(v for v in result.graph.input if v.name == name)
    declared = dims(value)
    if shape is not None:
        if len(shape) != len(declared) or any(
            isinstance(d, int) and d > 0 and d != n for d, n in zip(declared, shape)
        ):
            raise RefusedInput(
                f"{where}: --input-shape {list(shape)} contradicts input {name!r} {declared}"
            )
        fixed = list(shape)
    else:
        fixed = []
        for axis, d in enumerate(declared):
            if isinstance(d, int) and d > 0:
                fixed.append(d)
            elif axis == 0:
                fixed.append(1)
            else:
                raise RefusedInput(
                    f"{where}: input {name!r} has shape {declared} with a free axis {axis}; "
                    "give one sample's shape with --input-shape 1,3,32,32"
                )
    set_shape(value, fixed)
    return result


def set_shape(value: onnx.ValueInfoProto, shape: list[int]) -> None:
    """Declare a static shape."""
    tensor = value.type.tensor_type
    tensor.ClearField("shape")
    for n in shape:
        tensor.shape.dim.add().dim_value = n
    tensor.shape.SetInParent()


def pin_fixed_batch(model: onnx.ModelProto, name: str, batch: int) -> onnx.ModelProto:
    """A copy for one sample of a model exported with a fixed batch.

    Constant Reshape targets that begin with the batch size begin with 1 instead; the import
    check against onnxruntime catches anything this misses.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    value = next(v for v in result.graph.input if v.name == name)
    shape = [int(d) for d in dims(value) if isinstance(d, int)]
    set_shape(value, [1, *shape[1:]])
    targets = {n.input[1] for n in result.graph.node if n.op_type == "Reshape" and len(n.input) > 1}
    for tensor in result.graph.initializer:
        _unbatch(tensor, tensor.name in targets, batch)
    for node in result.graph.node:
        if node.op_type == "Constant" and node.output[0] in targets:
            for attribute in node.attribute:
                _unbatch(attribute.t, attribute.name == "value", batch)
    return result


def _unbatch(tensor: onnx.TensorProto, is_target: bool, batch: int) -> None:
    if not is_target:
        return
    target = numpy_helper.to_array(tensor).copy()
    if target.ndim == 1 and target.size and target[0] == batch:
        target[0] = 1
        tensor.CopyFrom(numpy_helper.from_array(target, tensor.name))


def inferred_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Every tensor whose shape is fully known."""
    found = {}
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        shape = dims(value)
        if value.type.tensor_type.HasField("shape") and all(isinstance(d, int) for d in shape):
            found[value.name] = tuple(int(d) for d in shape if isinstance(d, int))
    for tensor in model.graph.initializer:
        found[tensor.name] = tuple(tensor.dims)
    return found
