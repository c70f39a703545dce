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


def settle_pools(model: onnx.ModelProto) -> bool:
    """Rewrite, in place, the pools whose inferred size is wrong; False if there are none.

    Requires inferred shapes. They are wrong behind such a pool, so what is behind one has to wait
    until they are inferred again.
    """
    shapes = inferred_shapes(model)
    behind: set[str] = set()
    for node in model.graph.node:
        if not behind.isdisjoint(node.input) or _settle(node, shapes, opset_of(model)):
            behind.update(name for name in node.output if name)
    return bool(behind)


def _settle(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], opset: int) -> bool:
    """Rewrite a pool whose inferred size is wrong; whether it was one."""
    if node.op_type not in POOLS or node.domain not in STANDARD or not node.input:
        return False
    data, out = shapes.get(node.input[0]), shapes.get(node.output[0])
    attributes = {a.name: a for a in node.attribute}
    if not data or not out or "ceil_mode" not in attributes or not attributes["ceil_mode"].i:
        return False
    plain = {name: helper.get_attribute_value(a) for name, a in attributes.items()}
    plain = {k: v.decode() if isinstance(v, bytes) else v for k, v in plain.items()}
    kernel = tuple(plain.get("kernel_shape", ()))
    spec = NodeSpec(node.op_type, node.name, opset, plain, (data,), out)
    try:
        windows = of_node(spec, kernel)
    except (Unsupported, TypeError):
        return False  # the layer will say what is wrong with it
    if windows.out == out[2:] or plain.get("count_include_pad", 0):
        return False
    _write_out(node, windows)
    return True


def _write_out(node: onnx.NodeProto, windows: Windows) -> None:
    behind = [max(a + s, 0) for a, s in zip(windows.after, windows.spill)]
    kept = [a for a in node.attribute if a.name not in ("ceil_mode", "pads", "auto_pad")]
    kept.append(helper.make_attribute("pads", [*windows.before, *behind]))
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del node.attribute[:]
    node.attribute.extend(copies)
