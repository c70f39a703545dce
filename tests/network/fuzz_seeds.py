"""The valid models that fuzzing starts from."""

from __future__ import annotations

import numpy as np
import onnx
from network.models import cnn, mlp, model, node, weights
from onnx import TensorProto, helper, numpy_helper

from boundcert.demo import model_path


def seeds() -> list[bytes]:
    """Serialised: an MLP, a CNN, many operators, 1-D windows, float16, a function, the demo."""
    made = [mlp(), cnn(), _many(), _windows(), _half(), _function()]
    return [m.SerializeToString() for m in made] + [model_path().read_bytes()]


def _many():  # type: ignore[no-untyped-def]
    nodes = [
        node("Slice", "x starts ends axes", "a", name="slice"),
        node("Pad", "a pads fill", "b", mode="constant", name="pad"),
        node("Split", "b", "l r", axis=1, name="split"),
        node("PRelu", "l slope", "p", name="prelu"),
        node("Tanh", "r", "t", name="tanh"),
        node("Mul", "p t", "m", name="product"),
        node("Concat", "m p", "c", axis=1, name="concat"),
        node("Transpose", "c", "d", perm=[0, 1], name="transpose"),
        node("Clip", "d low high", "e", name="clip"),
        node("ReduceMean", "e", "mean", axes=[1], keepdims=1, name="mean"),
        node("Sub", "e mean", "centred", name="centre"),
        node("MatMul", "centred w", "z", name="matmul"),
        node("ArgMax", "z", "y", axis=1, name="head"),
    ]
    constants = {
        "starts": np.array([1]),
        "ends": np.array([2**31]),
        "axes": np.array([1]),
        "pads": np.array([0, 1, 0, 2]),
        "fill": np.array(0.5, np.float32),
        "slope": np.array([0.2], np.float32),
        "low": np.array(-1, np.float32),
        "high": np.array(1, np.float32),
        "w": weights(8, 3),
    }
    return model(nodes, ["N", 6], constants, out_kind=7)


def _windows():  # type: ignore[no-untyped-def]
    nodes = [
        node("ConvTranspose", "x k", "a", strides=[2], pads=[1, 0], output_padding=[1], name="up"),
        node("AveragePool", "a", "c", kernel_shape=[3], strides=[2], pads=[1, 1], name="mean"),
        node("LpPool", "c", "d", kernel_shape=[2], strides=[1], p=2, name="lp"),
        node("GlobalMaxPool", "d", "e", name="top"),
        node("Squeeze", "e two", "f", name="squeeze"),
        node("Gemm", "f w bias", "y", alpha=0.5, beta=2.0, transB=1, name="logits"),
    ]
    constants = {
        "k": weights(2, 3, 3),
        "two": np.array([2]),
        "w": weights(3, 3),
        "bias": weights(1),
    }
    return model(nodes, [1, 2, 5], constants)


def _half():  # type: ignore[no-untyped-def]
    """Layer normalisation, GELU and an inner softmax in float16, constants as nodes."""
    two = numpy_helper.from_array(np.array(2, np.float16))
    nodes = [
        node("Constant", "", "two", value=two, name="two"),
        node("ReduceMean", "x last", "mean", name="mean"),
        node("Sub", "x mean", "d", name="centre"),
        node("Pow", "d two", "square", name="square"),
        node("ReduceMean", "square last", "var", name="var"),
        node("Add", "var eps", "safe", name="safe"),
        node("Sqrt", "safe", "dev", name="dev"),
        node("Div", "d dev", "n", name="scale"),
        node("MatMul", "n w", "h", name="matmul"),
        node("Gelu", "h", "g", name="gelu"),
        node("Softmax", "g", "s", axis=-1, name="inner"),
        node("Add", "s h", "r", name="residual"),
        node("Gemm", "r v", "y", name="logits"),
    ]
    constants = {
        "last": np.array([-1]),
        "eps": np.array(0.01, np.float16),
        "w": weights(6, 5, kind="float16"),
        "v": weights(5, 3, kind="float16"),
    }
    return model(nodes, ["N", 6], constants, opset=20, kind=TensorProto.FLOAT16)


def _function():  # type: ignore[no-untyped-def]
    """A local function with an attribute and a constant of its own, called twice."""
    slope = helper.make_node("LeakyRelu", ["t"], ["b"])
    slope.attribute.append(
        onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    )
    shift = numpy_helper.from_array(np.array([0.1], np.float32))
    body = [node("Constant", "", "c", value=shift), node("Add", "a c", "t"), slope]
    opset = helper.make_opsetid("", 17)
    made = helper.make_function("local", "Act", ["a"], ["b"], body, [opset], ["slope"])
    nodes = [
        node("MatMul", "x w", "h"),
        helper.make_node("Act", ["h"], ["g"], name="one", domain="local", slope=0.2),
        helper.make_node("Act", ["g"], ["k"], name="two", domain="local", slope=0.5),
        node("MatMul", "k v", "y"),
    ]
    constants = {"w": weights(4, 5), "v": weights(5, 3)}
    return model(nodes, [1, 4], constants, functions=[made], domains=["local"])
