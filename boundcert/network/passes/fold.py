"""Fold constants and shape arithmetic with onnxscript, and infer every shape."""

from __future__ import annotations

import itertools
import logging
import math
import warnings
from typing import Any

import onnx
import onnx.shape_inference

from boundcert.errors import RefusedInput
from boundcert.network.passes.pools import settle_pools
from boundcert.network.passes.sanity import check_shapes, entries
from boundcert.network.passes.shapes import inferred_shapes
from boundcert.network.read import STANDARD, first_line

#: Operators that may be evaluated on constants: shape arithmetic and cheap array functions.
#: The reference evaluator runs in Python, so anything heavier (a convolution of constants, a
#: loop) could take for ever in a hostile file; it is listed as not foldable instead.
FOLDABLE = frozenset(
    """Abs Add And Cast CastLike Ceil Clip Concat ConstantOfShape Cos DequantizeLinear Div Equal
    Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm Greater
    GreaterOrEqual Identity Less LessOrEqual Log MatMul Max Mean Min Mod Mul Neg NonZero Not OneHot
    Or Pad Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape
    Round ScatterElements ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Sqrt Squeeze Sub Sum
    Tanh Tile Transpose Trilu Unsqueeze Where Xor""".split()  # noqa: SIM905
)
#: Their result is no larger than their input, so an unknown output shape is no danger.
SHRINKING = frozenset({"NonZero"})
#: The reference evaluator takes their indices one by one, each as long as so many entries.
ONE_BY_ONE = frozenset({"GatherElements", "GatherND", "ScatterElements", "ScatterND"})
SLOWER = 16
#: Most entries that all folded constants may have, and more in a model of larger weights. Every
#: tool on the way copies them, so one byte here is twenty of memory.
LARGEST_FOLDED = 2**22
#: Most entries of all vectors, any of which may be a shape, for what they hold to be propagated:
#: onnx does so entry by entry, at a hundred bytes each.
MOST_PROPAGATED = 2**18
#: Most pools with ceil_mode, one behind the other: shapes are inferred anew after each.
MOST_SETTLED = 32


def infer(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Shapes by onnx, every one of them checked to be possible.

    Raises
    ------
    RefusedInput
        Shape inference fails, or some tensor would be too large to hold.
    """
    inferred = _inferred(model, where, with_data=False)
    vectors = sum(math.prod(s) for s in inferred_shapes(inferred).values() if len(s) < 2)
    return inferred if vectors > MOST_PROPAGATED else _inferred(model, where, with_data=True)


def _inferred(model: onnx.ModelProto, where: str, with_data: bool) -> onnx.ModelProto:
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=with_data)
    except Exception as error:
        raise RefusedInput(f"{where}: shapes do not fit together: {first_line(error)}") from error
    check_shapes(inferred, inferred_shapes(inferred), where)
    return inferred


def settled(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """:func:`infer`, with the pools rewritten whose size onnx gets wrong."""
    inferred = infer(model, where)
    for rounds in itertools.count():
        if not settle_pools(inferred):
            break
        if rounds == MOST_SETTLED:
            raise RefusedInput(
                f"{where}: more than {MOST_SETTLED} pools with ceil_mode follow one another"
            )
        del inferred.graph.value_info[:]
        for output in inferred.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = infer(inferred, where)
    return inferred


def fold(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """Fold constants and shape arithmetic, drop unused nodes, infer shapes.

    Requires a tidied model whose input has a static shape. Ensures: nodes with constant operands
    only are gone as far as :data:`FOLDABLE` goes, and no tensor is too large.

    Raises
    ------
    RefusedInput
        The tools fail on the model.
    """
    from onnxscript import ir, optimizer

    logger = logging.getLogger("onnxscript.optimizer")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            limit = LARGEST_FOLDED + 4 * entries(model)
            graph = ir.serde.deserialize_model(settled(model, where))
            optimizer.fold_constants(
                graph,
                onnx_shape_inference=True,
                output_size_limit=limit,
                should_fold=Budget(limit).may_fold,
            )
            optimizer.remove_unused_nodes(graph)
            folded = ir.serde.serialize_model(graph)
    except RefusedInput:
        raise
    except Exception as error:
        raise RefusedInput(
            f"{where}: constants or shapes could not be worked out: {first_line(error)}"
        ) from error
    finally:
        logger.setLevel(level)
    return settled(folded, where)


class Budget:
    """Which nodes to evaluate on constants: known operator, known size, bearable in total."""

    def __init__(self, entries: int) -> None:
        self.left = entries

    def may_fold(self, node: Any) -> bool:
        """Asked by onnxscript before it evaluates a node."""
        if node.domain not in STANDARD or node.op_type not in FOLDABLE:
            return False
        shape = _size(node.outputs[0])
        if shape is None:
            return node.op_type in SHRINKING
        cost = math.prod(shape)
        if node.op_type in ONE_BY_ONE:
            cost = SLOWER * max(math.prod(_size(v) or []) for v in (*node.inputs, *node.outputs))
        if node.op_type in ("MatMul", "Gemm"):
            cost *= max(_size(node.inputs[0]) or [self.left]) // 64 + 1
        self.left -= cost
        return self.left >= 0


def _size(value: Any) -> list[int] | None:
    shape = value.shape
    if shape is None or not all(isinstance(n, int) for n in shape):
        return None
    return list(shape)
