"""All layer kinds, by ONNX operator type and number of computed operands.

A new kind is one file with a :class:`~boundcert.layers.base.Layer` subclass and one entry here.
"""

from __future__ import annotations

import numpy as np

from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Layer, NodeSpec, Unsupported
from boundcert.layers.conv import Conv, ConvTranspose
from boundcert.layers.dense import Dense
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.extremum import Extremum
from boundcert.layers.lp_pool import LpPool
from boundcert.layers.lrn import LRN
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.merge import Add, Concat
from boundcert.layers.product import Product, Quotient
from boundcert.layers.reduce import AveragePool, Reduce
from boundcert.layers.softmax import Softmax
from boundcert.layers.structure import Reshape, Select, Transpose

#: Kinds with one computed operand.
UNARY: tuple[type[Layer], ...] = (
    AveragePool,
    Conv,
    ConvTranspose,
    Dense,
    Diagonal,
    Elementwise,
    LpPool,
    LRN,
    MaxPool,
    Reduce,
    Reshape,
    Select,
    Softmax,
    Transpose,
)
#: Kinds with several.
MERGING: tuple[type[Layer], ...] = (Add, Concat, Extremum, Product, Quotient)

#: Kinds that map affinely.
LINEAR: tuple[type[Layer], ...] = (Affine, Add, Concat)

_UNARY = {op: kind for kind in UNARY for op in kind.ops}
_MERGING = {op: kind for kind in MERGING for op in kind.ops}


def supported() -> tuple[str, ...]:
    """Every operator type that some layer takes."""
    return tuple(sorted({*_UNARY, *_MERGING}))


def build(spec: NodeSpec) -> Layer:
    """The layer for a node.

    Raises
    ------
    Unsupported
        No layer takes this operator, or not with these attributes or operands.
    """
    if _computed(spec) == 1 and spec.op in _UNARY:
        return _UNARY[spec.op].build(spec)
    if spec.op in _MERGING:
        return _MERGING[spec.op].build(spec)
    if spec.op in _UNARY:
        raise Unsupported("has several computed operands; all but one must be constants")
    raise Unsupported("no bound is known for this operator")


def wants_data(spec: NodeSpec) -> bool:
    """Whether the node's constant operands have to become values of the graph first.

    So where a layer that merges computed operands has to take it: Concat with a constant, the
    maximum of data and a constant, a constant array divided by data.
    """
    constants = [operand for operand in spec.operands if isinstance(operand, np.ndarray)]
    if not constants or spec.op not in _MERGING:
        return False
    if _computed(spec) > 1 or spec.op not in _UNARY:
        return True
    divides = spec.op == "Div" and isinstance(spec.operands[0], np.ndarray)
    return divides and (constants[0].size != 1 or spec.operands[1] != spec.shape)


def _computed(spec: NodeSpec) -> int:
    return sum(isinstance(operand, tuple) for operand in spec.operands)
