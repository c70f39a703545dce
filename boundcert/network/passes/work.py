"""Refuse work that no classifier of this size asks for, before any of it is done.

A node of a few bytes may slide a window of a million entries over an image of a million: each of
its tensors is bearable, what evaluating it takes is not. Weights have to be in the file, so a
model may ask for more the more of them it has.
"""

from __future__ import annotations

import math

import onnx

from boundcert.errors import RefusedInput
from boundcert.network.passes.sanity import entries
from boundcert.network.passes.shapes import inferred_shapes
from boundcert.network.read import STANDARD

#: Most entries that the windows of one node may have, written out side by side as evaluation
#: does (512 MiB in float64), and more for every weight.
LARGEST_PATCHES, PATCHES_A_WEIGHT = 2**26, 4
#: Most multiplications for one sample, and more for every weight: eight times those of VGG-19.
LARGEST_WORK, WORK_A_WEIGHT = 2**34, 2**10

Shape = tuple[int, ...]


def check_work(model: onnx.ModelProto, where: str) -> None:
    """Refuse windows that take too much memory, and a model that takes too much time.

    Requires inferred shapes; what has none is left to its layer to refuse.

    Raises
    ------
    RefusedInput
        Names the first node that is too much.
    """
    shapes, held = inferred_shapes(model), entries(model)
    patches_most = LARGEST_PATCHES + PATCHES_A_WEIGHT * held
    work_most, total = LARGEST_WORK + WORK_A_WEIGHT * held, 0
    for node in model.graph.node:
        operands = [shapes.get(name, ()) for name in node.input]
        out = shapes.get(node.output[0]) if node.output else None
        if out is None or node.domain not in STANDARD:
            continue
        patches, work = _effort(node, operands, out)
        total += work
        if patches > patches_most or total > work_most:
            raise RefusedInput(
                f"{where}: node {node.name or node.op_type!r} ({node.op_type}, output shape "
                f"{list(out)}) is too much for a network of {held} weights: its windows have "
                f"{patches} entries, {patches_most} work; up to it one sample takes {total} "
                f"multiplications, {work_most} work"
            )


def _effort(node: onnx.NodeProto, operands: list[Shape], out: Shape) -> tuple[int, int]:
    """Entries of all windows, and multiplications."""
    count = math.prod(out)
    first, second = (*operands, (), ())[:2]
    stated = {a.name: list(a.ints) or [a.i] for a in node.attribute}
    window = 1
    if node.op_type in ("Conv", "ConvTranspose") and min(map(len, (first, second, out))) > 2:
        window = math.prod(second[2:])
        # the wide side of a transposed convolution is the one in front
        narrow, wide = (first, out) if node.op_type == "Conv" else (out, first)
        patches = wide[0] * math.prod(wide[2:]) * narrow[1] * window
        return patches, math.prod(wide) * second[1] * window
    if node.op_type in ("MatMul", "Gemm") and first:
        return count, count * (first[0] if stated.get("transA", [0])[0] else first[-1])
    if node.op_type in ("MaxPool", "AveragePool", "LpPool", "LRN"):
        window = math.prod(max(n, 1) for n in stated.get("kernel_shape", stated.get("size", [1])))
    return count * window, count * window
