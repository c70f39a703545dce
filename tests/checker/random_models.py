"""Random ONNX models over all that the checker reads."""

from __future__ import annotations

import math

import numpy as np
import onnx
from network.models import model, node
from onnx import TensorProto

BENDS = """Relu Relu LeakyRelu PRelu Clip HardSigmoid Sigmoid Tanh Softplus Softsign Elu Abs Selu
    Celu Erf Exp Pow HardSwish Mish Gelu""".split()  # noqa: SIM905
#: Activations as exporters write them out, of x; and such as are none.
WRITTEN = (
    *("s = Sigmoid x; Mul x s", "t = Mul x 1.7; s = Sigmoid t; Mul s x"),
    *(
        "p = Softplus x; t = Tanh p; Mul x t",
        "t = Div x 1.41421356; e = Erf t; s = Add e 1; p = Mul x s; Mul p 0.5",
    ),
    "c = Pow x 3; k = Mul c 0.044715; u = Add x k; t = Mul u 0.79788456; h = Tanh t; s = Add h 1; "
    "p = Mul x 0.5; Mul p s",
    *("t = Mul x 0.5; h = Tanh t; s = Add h 1; p = Mul x s; Mul p 0.6", "Mul x x"),
    *("s = Softplus x; p = Add s 0.3; Log p", "s = Softplus x; p = Add s 0.1; Sqrt p"),
    *("s = Abs x; p = Add s 0.2; Pow p -0.7", "s = Abs x; p = Add s 0.4; Reciprocal p"),
    *("s = Abs x; p = Add s 0.5; Div x p", "s = Tanh x; Max x s", "s = Neg x; Min s x 0.5"),
    *("s = Sigmoid x; Mul s s", "t = Tanh x; s = Sigmoid x; Mul t s", "s = Relu x; Mul s x"),
)


class _Maker:
    """Appends nodes to a chain, or to a branch of it; ``shape`` is that of the last value."""

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator, scale: float) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.shape, self.rng, self.scale, self.last = shape, rng, scale, "x"

    def constant(self, value: object, kind: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype=kind)
        return name

    def weight(self, *shape: int) -> str:
        size = self.scale / math.sqrt(max(math.prod(shape[1:]), 1))
        return self.constant(self.rng.standard_normal(shape) * size)

    def near_one(self, *shape: int) -> str:
        return self.constant(self.rng.choice([-1.5, -0.5, 0.5, 1.5], shape))

    def put(self, op: str, *operands: str, shape: tuple[int, ...] | None = None, **about: object):  # type: ignore[no-untyped-def]
        name = f"n{len(self.nodes)}"
        inputs = " ".join((self.last, *operands))
        self.nodes.append(node(op, inputs, name, **about))
        self.last, self.shape = name, shape or self.shape

    def pick(self, *kinds: str) -> str:
        return str(self.rng.choice(kinds))

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def bend(self) -> None:
        kind = self.pick(*BENDS)
        if kind == "PRelu":
            self.put(kind, self.constant(self.rng.choice([-0.5, 0.1, 2.0], self.shape[1:])))
        elif kind == "Clip":
            ends = sorted(self.rng.standard_normal(2))
            self.put(kind, self.constant(ends[0] - 0.1), self.constant(ends[1]))
        elif kind == "HardSigmoid":
            self.put(kind, alpha=self.rng.choice([-0.7, 0.2, 3.0]), beta=0.4)
        elif kind == "Pow":
            self.put("Clip", self.constant(-2.0), self.constant(2.0))
            self.put(kind, self.constant(self.rng.choice([2.0, 3.0, 4.0])))
        elif kind == "Exp":
            self.put("Clip", self.constant(-3.0), self.constant(1.5))
            self.put(kind)
        elif kind == "Gelu":
            self.put(kind, approximate=self.pick("none", "tanh"))
        elif kind in ("Selu", "Celu"):
            self.put(kind, alpha=self.rng.choice([0.3, 1.0, 1.7]))
        elif kind in ("LeakyRelu", "Elu"):
            self.put(kind, alpha=self.rng.choice([0.0, 0.1, 1.7]))
        else:
            self.put(kind)

    def arithmetic(self) -> None:
        kind = self.pick("Add", "Sub", "Mul", "Div", "Neg")
        shape = (self.shape[1], *([1] * (len(self.shape) - 2)))
        if kind in ("Mul", "Div"):
            self.put(kind, self.near_one(*shape))
        else:
            self.put(kind, *(() if kind == "Neg" else (self.weight(*shape),)))

    def dense(self, width: int) -> None:
        n = self.shape[1]
        if self.rng.random() < 0.5:
            parts = self.weight(width, n), self.weight(width)
            self.put("Gemm", *parts, shape=(1, width), transB=1, alpha=0.7, beta=2.0)
        else:
            self.put("MatMul", self.weight(n, width), shape=(1, width))

    def normalise(self) -> None:
        c = self.shape[1]
        parts = self.near_one(c), self.weight(c), self.weight(c)
        self.put("BatchNormalization", *parts, self.constant(self.rng.random(c)), epsilon=0.1)

    def branch(self) -> None:
        """A residual, a difference, or both side by side."""
        before, kind = self.last, self.pick("Add", "Sub", "Sum", "Concat")
        self.bend() if self.rng.random() < 0.5 else self.arithmetic()
        if kind == "Concat":
            shape = (1, 2 * self.shape[1], *self.shape[2:])
            self.put(kind, before, shape=shape, axis=1)
        else:
            self.put(kind, before)

    def written(self) -> None:
        """An activation in several nodes, or a product that is none."""
        names = {"x": self.last}
        for step in str(self.rng.choice(WRITTEN)).split("; "):
            out, _, rest = step.rpartition(" = ")
            op, *operands = rest.split()
            numbers = [o for o in operands if o not in names]
            names |= {o: self.constant(float(o)) for o in numbers}
            self.last, *others = (names[o] for o in operands)
            self.put(op, *others)
            names[out] = self.last

    def share(self) -> None:
        """Of the last axis; or of the channels."""
        if self.shape[-1] > 1 and self.rng.random() < 0.5:
            self.put("Softmax", axis=-1)
        elif len(self.shape) == 4:
            self.put("LRN", size=3, alpha=self.rng.choice([0.1, 2.0]), beta=0.75, bias=1.5)

    def gate(self) -> None:
        """A product of two branches, or a highway."""
        x, highway = self.last, self.rng.random() < 0.5
        self.bend()
        inner, self.last = self.last, x
        self.arithmetic()
        self.put(self.pick("Sigmoid", "Sigmoid", "Tanh", "Identity"))
        gate = self.last
        if not highway:
            # one number for all, or broadcast along an axis
            if self.rng.random() < 0.3 and len(self.shape) == 4:
                self.put("GlobalAveragePool")
            self.put("Mul", inner)
            return
        self.put("Mul", inner)
        opened, self.last = self.last, self.constant(np.float32(1.0))
        self.put("Sub", gate)
        self.put("Mul", x)
        self.put("Add", opened)

    def move(self) -> None:
        """Entries moved about, or left out."""
        n, rank = self.shape[1], len(self.shape)
        kind = self.pick("Slice", "Gather", "Split", "Pad", "Concat", "Transpose", "Dropout")
        if kind == "Slice":
            parts = (self.constant([v], np.int64) for v in (-1, -n - 9, 1, -1))
            self.put(kind, *parts)
        elif kind == "Gather":
            index = [0, *self.rng.integers(-n, n, 2)]
            shape = (1, 3, *self.shape[2:])
            self.put(kind, self.constant(index, np.int64), shape=shape, axis=1)
        elif kind == "Split" and n > 1:
            self.put(kind, self.constant([1, n - 1], np.int64), axis=1)
            self.nodes[-1].output.append(f"rest{len(self.nodes)}")
            self.last, self.shape = self.nodes[-1].output[1], (1, n - 1, *self.shape[2:])
        elif kind == "Pad":
            pads = np.zeros(2 * rank, dtype=np.int64)
            pads[-1], pads[rank - 1] = 1, self.whole(-1, 2) if self.shape[-1] > 2 else 0
            shape = (*self.shape[:-1], int(self.shape[-1] + pads.sum()))
            mode = self.pick("constant", "edge") if rank > 2 else "constant"
            fill = (self.constant(0.5),) if mode == "constant" else ()
            self.put(kind, self.constant(pads, np.int64), *fill, shape=shape, mode=mode)
        elif kind == "Concat":
            shape = (1, n + 1, *self.shape[2:])
            self.put(kind, self.weight(1, 1, *self.shape[2:]), shape=shape, axis=1)
        elif kind == "Transpose" and rank == 4:
            c, h, w = self.shape[1:]
            self.put(kind, shape=(1, c, w, h), perm=[0, 1, 3, 2])
        else:
            self.put("Dropout")

    def window(self) -> None:
        """A convolution, or a pool."""
        kind = self.pick("Conv", "Conv", "MaxPool", "AveragePool", "GlobalAveragePool")
        _, c, *size = self.shape
        if kind.startswith("Global"):
            self.put(self.pick(kind, "GlobalMaxPool"), shape=(1, c, 1, 1))
            return
        kernel = [min(self.whole(1, 4), size[0]), min(2, size[1])]
        strides = [self.whole(1, 3), self.whole(1, 3)]
        auto = self.pick("NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
        about: dict[str, object] = {"kernel_shape": kernel, "strides": strides, "auto_pad": auto}
        pads = [0, 0, 0, 0]
        if auto == "NOTSET":
            pads = [self.whole(0, k) for k in (*kernel, *kernel)]
            about["pads"] = pads
        sums = [pads[0] + pads[2], pads[1] + pads[3]]
        out = [(n + p - k) // s + 1 for n, p, k, s in zip(size, sums, kernel, strides)]
        if auto.startswith("SAME"):
            out = [-(-n // s) for n, s in zip(size, strides)]
        if kind == "Conv":
            groups = c if self.rng.random() < 0.3 else 1
            filters = groups * self.whole(1, 3)
            parts = self.weight(filters, c // groups, *kernel), self.weight(filters)
            self.put(kind, *parts, shape=(1, filters, *out), group=groups, **about)
        else:
            if kind == "AveragePool":
                about["count_include_pad"] = self.whole(0, 2)
            self.put(kind, shape=(1, c, *out), **about)

    def block(self) -> None:
        steps = [self.bend, self.bend, self.arithmetic, self.normalise, self.branch, self.move]
        steps += [self.written, self.gate, self.share]
        steps.append(self.window if len(self.shape) == 4 else lambda: self.dense(self.whole(2, 6)))
        steps.append(steps[-1])
        steps[self.whole(0, len(steps))]()


def random_model(seed: int, scale: float = 1.0, kind: str = "float32") -> onnx.ModelProto:
    """A vector or a small image through random nodes to one to four logits, maybe with a head."""
    rng = np.random.default_rng(seed)
    image = rng.random() < 0.5
    shape = (1, 2, 5, 4) if image else (1, int(rng.integers(1, 6)))
    m = _Maker(shape, rng, scale)
    for _ in range(int(rng.integers(1, 6))):
        m.block()
    if image:
        m.put("Flatten", shape=(1, math.prod(m.shape)))
    m.bend()
    m.dense(int(rng.choice([1, 2, 3, 4])))
    if rng.random() < 0.4:
        m.put(m.pick("Sigmoid", "Softmax", "LogSoftmax") if m.shape[1] > 1 else "Sigmoid")
    code = TensorProto.DOUBLE if kind == "float64" else TensorProto.FLOAT
    stored = {k: v.astype(kind) if v.dtype.kind == "f" else v for k, v in m.constants.items()}
    return model(m.nodes, shape, stored, outputs=[m.last], kind=code, opset=20)


def gated_model(seed: int) -> onnx.ModelProto:
    """Products of two dense layers' activations, or highways, to three logits."""
    rng = np.random.default_rng(seed)
    m = _Maker((1, 4), rng, 1.0)
    for _ in range(2):
        x = m.last
        m.dense(4)
        m.put(m.pick("Sigmoid", "Tanh", "Identity"))
        gate, m.last, m.shape = m.last, x, (1, 4)
        m.dense(4)
        m.put("Mul", gate)
        if rng.random() < 0.5:
            opened, m.last = m.last, m.constant(np.float32(1.0))
            m.put("Sub", gate)
            m.put("Mul", x)
            m.put("Add", opened)
    m.dense(3)
    return model(m.nodes, (1, 4), m.constants, outputs=[m.last])


def pooled_model(seed: int, convolved: bool = False) -> onnx.ModelProto:
    """Maxima over windows, some of which meet, to three logits; maybe of a convolution."""
    m = _Maker((1, 2, 5, 4), np.random.default_rng(seed), 1.0)
    if convolved:
        m.put("Conv", m.weight(2, 2, 3, 3), pads=[1, 1, 1, 1])
    m.put("MaxPool", shape=(1, 2, 2, 2), kernel_shape=[3, 2], strides=[2, 2])
    m.put("Flatten", shape=(1, 8))
    m.dense(3)
    return model(m.nodes, (1, 2, 5, 4), m.constants, outputs=[m.last])


def dense_model(seed: int) -> onnx.ModelProto:
    """Wide layers of ReLUs, whose inputs cannot all be far out together, to three logits."""
    m = _Maker((1, 4), np.random.default_rng(seed), 1.0)
    for width in (16, 16):
        m.dense(width)
        m.put("Relu")
    m.dense(3)
    return model(m.nodes, (1, 4), m.constants, outputs=[m.last])


def input_shape(made: onnx.ModelProto) -> tuple[int, ...]:
    """Of the model's first input."""
    dims = made.graph.input[0].type.tensor_type.shape.dim
    return tuple(d.dim_value or 1 for d in dims)
