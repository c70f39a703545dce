"""One small case (or several) of every layer kind; listing a case here gives it all its tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boundcert.layers import registry
from boundcert.layers.base import Layer, NodeSpec
from boundcert.layers.blend import Blend

Operand = np.ndarray | tuple[int, ...] | None


@dataclass(frozen=True)
class Case:
    """A node to build: ``operands`` and ``attributes`` from a seeded generator."""

    name: str
    op: str
    make: Callable[[np.random.Generator], tuple[list[Operand], dict[str, object]]]
    shape: tuple[int, ...] | None = None
    opset: int = 18
    #: where the layer is defined: inputs are moved into [low, high]
    low: float = -np.inf
    high: float = np.inf
    #: the layer of an output shape, where no ONNX operator is one
    layer: Callable[[tuple[int, ...]], Layer] | None = None

    def build(self, rng: np.random.Generator) -> tuple[Layer, list[tuple[int, ...]]]:
        operands, attributes = self.make(rng)
        shapes = [o for o in operands if isinstance(o, tuple)]
        out = self.shape or shapes[0]
        if self.layer is not None:
            return self.layer(out), shapes
        spec = NodeSpec(self.op, self.name, self.opset, attributes, tuple(operands), out)
        return registry.build(spec), shapes


IMAGE = (1, 3, 6, 5)
SIGNAL = (1, 2, 9)


def _weight(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape) * 10.0 ** rng.uniform(-1.5, 1.0)


def _plain(shape: tuple[int, ...] = IMAGE, **attributes: object) -> Callable:
    return lambda rng: ([shape], dict(attributes))


def _with(shape: tuple[int, ...], *weights: tuple[int, ...], **attributes: object) -> Callable:
    return lambda rng: ([shape, *(_weight(rng, *w) for w in weights)], dict(attributes))


def _two(first: tuple[int, ...], second: tuple[int, ...], **attributes: object) -> Callable:
    return lambda rng: ([first, second], dict(attributes))


def _norm(rng: np.random.Generator) -> tuple[list[Operand], dict[str, object]]:
    parts = [_weight(rng, 3), _weight(rng, 3), _weight(rng, 3), rng.random(3) + 0.01]
    return [IMAGE, *parts], {"epsilon": 1e-5}


AFFINE = [
    Case("gemm", "Gemm", _with((1, 7), (7, 5), (5,), alpha=0.5, beta=2.0), (1, 5)),
    Case("gemm_transposed", "Gemm", _with((1, 7), (5, 7), (1, 5), transB=1), (1, 5)),
    Case("matmul", "MatMul", _with((1, 4, 7), (7, 5)), (1, 4, 5)),
    Case("matmul_stack", "MatMul", _with((4, 7), (3, 7, 5)), (3, 4, 5)),
    Case("matmul_left", "MatMul", lambda r: ([_weight(r, 5, 4), (1, 4, 7)], {}), (1, 5, 7)),
    Case("conv", "Conv", _with(IMAGE, (4, 3, 3, 3), (4,)), (1, 4, 4, 3)),
    Case(
        "conv_strided",
        "Conv",
        _with(IMAGE, (4, 3, 3, 2), strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
        (1, 4, 4, 4),
    ),
    Case(
        "conv_same",
        "Conv",
        _with(IMAGE, (4, 3, 4, 3), strides=[3, 2], auto_pad="SAME_UPPER"),
        (1, 4, 2, 3),
    ),
    Case(
        "conv_grouped",
        "Conv",
        _with((1, 4, 5, 5), (6, 2, 3, 3), group=2, pads=[2, 2, 2, 2]),
        (1, 6, 7, 7),
    ),
    Case("conv_1d", "Conv", _with(SIGNAL, (3, 2, 4), strides=[2], pads=[1, 2]), (1, 3, 5)),
    Case(
        "conv_wide_pad", "Conv", _with((1, 1, 3, 3), (2, 1, 3, 3), pads=[4, 4, 4, 4]), (1, 2, 9, 9)
    ),
    Case(
        "deconv",
        "ConvTranspose",
        _with(IMAGE, (3, 2, 3, 3), strides=[2, 2], pads=[1, 0, 0, 1]),
        (1, 2, 12, 10),
    ),
    Case(
        "deconv_grouped",
        "ConvTranspose",
        _with((1, 4, 3, 3), (4, 2, 2, 2), group=2, dilations=[2, 2]),
        (1, 4, 5, 5),
    ),
    Case("batch_norm", "BatchNormalization", _norm),
    Case("add_constant", "Add", _with(IMAGE, (3, 1, 1))),
    Case("sub_from", "Sub", lambda r: ([_weight(r, 1, 5), IMAGE], {})),
    Case("mul_constant", "Mul", _with(IMAGE, (3, 1, 5))),
    Case("mul_wider", "Mul", _with((1, 3, 1, 5), (3, 6, 5)), IMAGE),
    Case("div_constant", "Div", _with(IMAGE, (3, 6, 1))),
    Case("neg", "Neg", _plain()),
    Case("average_pool", "AveragePool", _plain(kernel_shape=[2, 2], strides=[2, 2]), (1, 3, 3, 2)),
    Case("average_overlap", "AveragePool", _plain(kernel_shape=[3, 3], pads=[1, 1, 1, 1]), IMAGE),
    Case(
        "average_ceil",
        "AveragePool",
        _plain(
            kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, pads=[1, 0, 0, 1], count_include_pad=1
        ),
        (1, 3, 3, 3),
    ),
    Case(
        "average_3d",
        "AveragePool",
        _plain((1, 1, 4, 3, 3), kernel_shape=[3, 1, 2], pads=[1, 0, 0, 1, 0, 1]),
        (1, 1, 4, 3, 3),
    ),
    Case("global_average", "GlobalAveragePool", _plain(), (1, 3, 1, 1)),
    Case(
        "reduce_mean", "ReduceMean", lambda r: ([IMAGE, np.array([2, -1])], {"keepdims": 0}), (1, 3)
    ),
    Case("reduce_sum", "ReduceSum", lambda r: ([IMAGE, np.array([1])], {}), (1, 1, 6, 5)),
    Case("reshape", "Reshape", _plain(), (1, 90)),
    Case("transpose", "Transpose", _plain(perm=[0, 2, 3, 1]), (1, 6, 5, 3)),
    Case(
        "slice",
        "Slice",
        lambda r: (
            [IMAGE, np.array([4, 0]), np.array([0, 5]), np.array([2, 3]), np.array([-2, 2])],
            {},
        ),
        (1, 3, 2, 3),
    ),
    Case("split", "Split", _plain(axis=3, output=1, outputs=2), (1, 3, 6, 2)),
    Case(
        "pad",
        "Pad",
        lambda r: ([IMAGE, np.array([0, 0, 1, 0, 0, 0, 2, 1]), np.array(0.5)], {}),
        (1, 3, 9, 6),
    ),
    Case(
        "pad_reflect",
        "Pad",
        lambda r: ([IMAGE, np.array([0, 0, 2, 1, 0, 0, 2, 1])], {"mode": "reflect"}),
        (1, 3, 10, 7),
    ),
]

_LRN = {"alpha": 0.7, "beta": 0.75, "bias": 1.0}

NONLINEAR = [
    *(
        Case(op.lower(), op, _plain())
        for op in ("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Abs", "Erf")
    ),
    Case("leaky", "LeakyRelu", _plain(alpha=0.3)),
    Case("leaky_steep", "LeakyRelu", _plain(alpha=-2.5)),
    Case("prelu", "PRelu", _with(IMAGE, (3, 1, 1))),
    Case("elu", "Elu", _plain(alpha=1.7)),
    Case("selu", "Selu", _plain()),
    Case("celu", "Celu", _plain(alpha=0.4)),
    Case("hard_sigmoid", "HardSigmoid", _plain(alpha=-0.6, beta=0.2)),
    Case("hard_swish", "HardSwish", _plain()),
    Case("gelu", "Gelu", _plain()),
    Case("gelu_tanh", "Gelu", _plain(approximate="tanh")),
    Case("swish", "Swish", _plain(alpha=0.6), opset=24),
    Case("mish", "Mish", _plain()),
    Case("clip", "Clip", lambda r: ([IMAGE, np.array(-0.3), np.array(0.6)], {})),
    Case("clip_above", "Clip", lambda r: ([IMAGE, None, np.array(0.6)], {})),
    Case("square", "Pow", lambda r: ([IMAGE, np.array(2.0)], {})),
    Case("cube", "Pow", lambda r: ([IMAGE, np.array(3.0)], {})),
    Case("power", "Pow", lambda r: ([IMAGE, np.array(1.5)], {}), low=0.0),
    Case("inverse", "Pow", lambda r: ([IMAGE, np.array(-1.0)], {}), low=1e-3),
    Case("sqrt", "Sqrt", _plain(), low=1e-3),
    Case("exp", "Exp", _plain(), high=50.0),
    Case("reciprocal", "Div", lambda r: ([np.array(-2.0), IMAGE], {}), low=1e-3),
    Case("max_pool", "MaxPool", _plain(kernel_shape=[2, 2], strides=[2, 2]), (1, 3, 3, 2)),
    Case(
        "max_overlap",
        "MaxPool",
        _plain(kernel_shape=[3, 3], strides=[2, 1], pads=[1, 1, 1, 1]),
        (1, 3, 3, 5),
    ),
    Case("max_dilated", "MaxPool", _plain(kernel_shape=[2, 2], dilations=[2, 2]), (1, 3, 4, 3)),
    Case(
        "max_1d", "MaxPool", _plain(SIGNAL, kernel_shape=[3], strides=[2], ceil_mode=1), (1, 2, 4)
    ),
    Case("max_3d", "MaxPool", _plain((1, 2, 3, 3, 4), kernel_shape=[2, 2, 3]), (1, 2, 2, 2, 2)),
    Case(
        "max_3d_wide", "MaxPool", _plain((1, 1, 3, 3, 3), kernel_shape=[3, 3, 2]), (1, 1, 1, 1, 2)
    ),
    Case(
        "max_ceil_pads",
        "MaxPool",
        _plain((1, 2, 6, 7), kernel_shape=[3, 2], strides=[3, 3], ceil_mode=1, pads=[1, 0, 1, 1]),
        (1, 2, 3, 3),
    ),
    Case(
        "max_dilated_pads",
        "MaxPool",
        _plain((1, 2, 6, 7), kernel_shape=[2, 3], dilations=[3, 2], pads=[2, 2, 1, 3]),
        (1, 2, 6, 8),
    ),
    Case(
        "max_one_axis",
        "MaxPool",
        _plain((1, 2, 6, 5), kernel_shape=[1, 3], strides=[2, 1]),
        (1, 2, 3, 3),
    ),
    Case("max_identity", "MaxPool", _plain((1, 2, 3, 3), kernel_shape=[1, 1]), (1, 2, 3, 3)),
    Case(
        "max_batch",
        "MaxPool",
        _plain((3, 2, 4, 4), kernel_shape=[2, 2], pads=[1, 0, 0, 1]),
        (3, 2, 4, 4),
    ),
    Case("global_max", "GlobalMaxPool", _plain(), (1, 3, 1, 1)),
    Case("lp_pool", "LpPool", _plain(kernel_shape=[2, 2], p=2), (1, 3, 5, 4)),
    Case("lp_pool_1", "LpPool", _plain(kernel_shape=[3, 2], strides=[3, 2], p=1), (1, 3, 2, 2)),
    Case("lp_pool_3", "LpPool", _plain(kernel_shape=[2, 2], p=3, strides=[2, 2]), (1, 3, 3, 2)),
    Case("global_lp", "GlobalLpPool", _plain(p=2), (1, 3, 1, 1)),
    Case("lrn", "LRN", _plain((1, 6, 2, 2), size=3, **_LRN)),
    Case("lrn_even", "LRN", _plain((1, 6, 2), size=4, **_LRN)),
    Case("lrn_steep", "LRN", _plain((1, 5, 2), size=5, alpha=3.0, beta=1.6, bias=0.2)),
    Case("softmax", "Softmax", _plain(axis=1)),
    Case("softmax_old", "Softmax", _plain(axis=2), opset=11),
]

MERGING = [
    Case("add", "Add", _two(IMAGE, IMAGE)),
    Case("add_broadcast", "Add", _two(IMAGE, (1, 3, 1, 1))),
    Case("sub", "Sub", _two((3, 6, 1), (1, 3, 1, 5)), IMAGE),
    Case("sum", "Sum", lambda r: ([IMAGE, IMAGE, (5,)], {})),
    Case("concat", "Concat", _two(IMAGE, (1, 2, 6, 5), axis=1), (1, 5, 6, 5)),
    Case("concat_last", "Concat", _two(IMAGE, IMAGE, axis=-1), (1, 3, 6, 10)),
    Case("gate", "Mul", _two(IMAGE, IMAGE)),
    Case("blend", "Blend", lambda r: ([IMAGE, IMAGE, IMAGE], {}), layer=Blend),
    Case("squeeze_excite", "Mul", _two(IMAGE, (1, 3, 1, 1))),
    Case("outer", "Mul", _two((1, 3, 6, 1), (1, 3, 1, 5)), IMAGE),
    Case("quotient", "Div", _two(IMAGE, IMAGE), low=0.05),
    Case("quotient_broadcast", "Div", _two(IMAGE, (1, 3, 1, 1)), low=0.05),
    Case("max", "Max", _two(IMAGE, (6, 5))),
    Case("min", "Min", _two(IMAGE, IMAGE)),
]

CASES = [*AFFINE, *NONLINEAR, *MERGING]
