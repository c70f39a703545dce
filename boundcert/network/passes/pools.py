"""Give pools with ceil_mode the output size that runtimes compute.

Before opset 22 onnx's shape inference also counts a last window that starts in the padding behind
the data; onnxruntime and PyTorch leave it out. Such a pool is rewritten without ceil_mode, with
as much padding behind as its last real window reaches.
"""

from __future__ import annotations

import onnx
from onnx import helper

from boundcert.layers.base import NodeSpec, Unsupported
from boundcert.layers.windows import Windows, of_node
from boundcert.network.passes.shapes import inferred_shapes
from boundcert.network.read import STANDARD, opset_of

POOLS = ("MaxPool", "AveragePool", "LpPool")


def settle_first_pool(model: onnx.ModelProto) -> bool:
    """Rewrite, in place, the first pool whose inferred size is wrong; False if there is none.

    Requires inferred shapes, which are wrong behind the first such pool only.
    """
    shapes = inferred_shapes(model)
    for node in model.graph.node:
        if node.op_type not in POOLS or node.domain not in STANDARD or not node.input:
            continue
        data, out = shapes.get(node.input[0]), shapes.get(node.output[0])
        attributes = {a.name: a for a in node.attribute}
        if not data or not out or "ceil_mode" not in attributes or not attributes["ceil_mode"].i:
            continue
        plain = {name: helper.get_attribute_value(a) for name, a in attributes.items()}
        plain = {k: v.decode() if isinstance(v, bytes) else v for k, v in plain.items()}
        kernel = tuple(plain.get("kernel_shape", ()))
        spec = NodeSpec(node.op_type, node.name, opset_of(model), plain, (data,), out)
        try:
            windows = of_node(spec, kernel)
        except (Unsupported, TypeError):
            continue  # the layer will say what is wrong with it
        if windows.out != out[2:] and not plain.get("count_include_pad", 0):
            _write_out(node, windows)
            return True
    return False


def _write_out(node: onnx.NodeProto, windows: Windows) -> None:
    behind = [max(a + s, 0) for a, s in zip(windows.after, windows.spill)]
    kept = [a for a in node.attribute if a.name not in ("ceil_mode", "pads", "auto_pad")]
    kept.append(helper.make_attribute("pads", [*windows.before, *behind]))
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node.attribute[:]
    node.attribute.extend(copies)
