"""Small ONNX models for the tests, built by hand so that every attribute is under control."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def weights(*shape: int, seed: int = 0, kind: str = "float32") -> np.ndarray:
    """Gaussian weights, scaled so that layers keep the size of their input."""
    rng = np.random.default_rng((seed, *shape))
    fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    return (rng.standard_normal(shape) / np.sqrt(max(fan, 1))).astype(kind)


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None],
    constants: dict[str, np.ndarray] | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    kind: int = FLOAT,
    out_kind: int | None = None,
    rank: int = 2,
    functions: Sequence[onnx.FunctionProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model from input ``x`` to ``outputs``."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info(n, out_kind or kind, [None] * rank) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    made.ir_version = 8
    return made


def node(op: str, inputs: str, outputs: str = "y", **attributes: object) -> onnx.NodeProto:
    """A node from space-separated names ("-" for an input left out)."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


def save(made: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write the model to a file; its path."""
    path = folder / name
    path.write_bytes(made.SerializeToString())
    return path


def mlp(shape: Sequence[int | str | None] = ("N", 4), **options: object) -> onnx.ModelProto:
    """4 → 5 → 3 with a ReLU between."""
    nodes = [
        node("Gemm", "x w1 b1", "h", transB=1, name="first"),
        node("Relu", "h", "a", name="act"),
        node("Gemm", "a w2 b2", "y", transB=1, name="second"),
    ]
    constants = {
        "w1": weights(5, 4),
        "b1": weights(5, seed=1),
        "w2": weights(3, 5),
        "b2": weights(3, seed=2),
    }
    return model(nodes, shape, constants, **options)  # type: ignore[arg-type]


def cnn(shape: Sequence[int | str | None] = ("N", 2, 6, 6)) -> onnx.ModelProto:
    """Convolution, batch normalisation, pooling, a residual, shape arithmetic, softmax."""
    nodes = [
        node("Conv", "x k b", "c", pads=[1, 1, 1, 1], kernel_shape=[3, 3], name="conv"),
        node("BatchNormalization", "c s t m v", "n", epsilon=1e-3, name="norm"),
        node("Elu", "n", "e", alpha=0.5, name="elu"),
        node("LRN", "e", "r", size=3, alpha=0.1, beta=0.75, bias=1.0, name="lrn"),
        node("MaxPool", "r", "p", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, name="pool"),
        node("Tanh", "p", "g", name="gate"),
        node("Mul", "p g", "q", name="gated"),
        node("Shape", "q", "sh", name="shape"),
        node("Gather", "sh zero", "n0", axis=0, name="batch"),
        node("Unsqueeze", "n0 axis", "n1", name="row"),
        node("Concat", "n1 rest", "target", axis=0, name="target"),
        node("Reshape", "q target", "f", name="flat"),
        node("Gemm", "f w", "z", name="logits"),
        node("Softmax", "z", "y", axis=1, name="head"),
    ]
    constants = {
        "k": weights(3, 2, 3, 3),
        "b": weights(3),
        "s": np.full(3, 1.5, np.float32),
        "t": weights(3, seed=1),
        "m": weights(3, seed=2),
        "v": np.full(3, 0.5, np.float32),
        "zero": np.array(0),
        "axis": np.array([0]),
        "rest": np.array([-1]),
        "w": weights(27, 4),
    }
    return model(nodes, shape, constants)
