"""The arithmetic that a model is computed in."""

from __future__ import annotations

import onnx

from boundcert.layers.arithmetic import BY_CODE, BY_NAME, Arithmetic
from boundcert.network.graph import Source


def arithmetic_of(source: Source) -> Arithmetic:
    """The coarsest among those of the input, of the weights and of casts."""
    model = onnx.ModelProto.FromString(source.model)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                kinds.add(attribute.i)
            elif attribute.HasField("t"):
                kinds.add(attribute.t.data_type)
    found = [BY_CODE[kind] for kind in kinds if kind in BY_CODE]
    return max((BY_NAME[source.dtype], *found), key=lambda arithmetic: arithmetic.unit)
