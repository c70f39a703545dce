"""The arithmetic that a model is computed in."""

from __future__ import annotations

import onnx

from boundcert.layers.arithmetic import BFLOAT16, BY_CODE, BY_NAME, FLOAT16, Arithmetic
from boundcert.network.graph import Source


def arithmetic_of(source: Source) -> Arithmetic:
    """As coarse as any of those of the input, of the weights and of casts."""
    model = onnx.ModelProto.FromString(source.model)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                kinds.add(attribute.i)
            elif attribute.HasField("t"):
                kinds.add(attribute.t.data_type)
            elif attribute.name in ("value_float", "value_floats"):
                kinds.add(onnx.TensorProto.FLOAT)
    found = {BY_NAME[source.dtype], *(BY_CODE[kind] for kind in kinds if kind in BY_CODE)}
    coarsest = max(found, key=lambda arithmetic: arithmetic.unit)
    tiny, largest = max(a.tiny for a in found), min(a.largest for a in found)
    # no type has got what two kinds of halves have
    name = "mixed" if {FLOAT16, BFLOAT16} <= found else coarsest.name
    return Arithmetic(name, coarsest.unit, tiny, largest)
