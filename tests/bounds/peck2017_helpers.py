"""Small ONNX chains, for operators that torch does not export as one node."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference

from boundcert.network.graph import Network
from boundcert.network.importer import import_bytes


def chain(shape: tuple[int, ...], *steps: tuple) -> Network:
    """A network of (operator, constants, attributes) steps, imported as any other model."""
    nodes, constants, value = [], [], "x"
    for i, (op, arrays, attributes) in enumerate(steps):
        names = [f"c{i}_{j}" for j in range(len(arrays))]
        constants += [
            numpy_helper.from_array(np.asarray(a, dtype=np.float32), n)
            for a, n in zip(arrays, names)
        ]
        nodes.append(helper.make_node(op, [value, *names], [f"v{i}"], name=f"n{i}", **attributes))
        value = f"v{i}"
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    # fills in the output shape, which the checker wants
    model = shape_inference.infer_shapes(model)
    return import_bytes(model.SerializeToString(), "chain")
