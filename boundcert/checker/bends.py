"""How the checker reads the operators that are activations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from boundcert.checker.builder import Builder
from boundcert.checker.maps import Array
from boundcert.checker.nodes import NotUnderstood

BENDS = (
    *("Relu", "LeakyRelu", "PRelu", "Clip", "HardSigmoid", "Sigmoid", "Tanh", "Softplus"),
    *("Softsign", "Elu", "Abs", "Selu", "Celu", "Erf", "Exp", "Pow", "Gelu", "Swish"),
    *("Mish", "HardSwish", "Sqrt", "Reciprocal", "Log"),
)
#: Alpha of operators that have one, where a model does not say.
USUAL = {
    "LeakyRelu": 0.01,
    "Elu": 1.0,
    "HardSigmoid": 0.2,
    "Selu": 1.67326319217681884765625,
    "Celu": 1.0,
    "Swish": 1.0,
}
#: The operator's own numbers: what GELU multiplies x by, and its tanh form x³ besides.
GELU, GELU_TANH = math.sqrt(0.5), (math.sqrt(2.0 / math.pi), 0.044715)
#: Largest exponent.
MOST = 64.0
#: Parameters of activations that bend at points of their own.
STRETCHES = (2.0**-10, 2.0**10)


def parameters(
    reader: Builder, node: onnx.NodeProto, attributes: Any, shape: tuple[int, ...]
) -> tuple[str, Array, float]:
    """Name of the activation, a and b."""
    name = node.op_type
    # ONNX attributes are float32, their defaults too
    alpha = float(np.float32(attributes.get("alpha", USUAL.get(name, 0.0))))
    a, b = np.array([alpha]), 0.0
    if name == "PRelu":
        slope = reader.constant(node, 1)
        assert slope is not None
        return "LeakyRelu", np.ascontiguousarray(np.broadcast_to(slope, shape)).ravel(), b
    if name == "Clip":
        return name, *_clip(reader, node, attributes)
    if name == "Gelu":
        form = attributes.get("approximate", b"none")
        if form not in (b"none", b"tanh"):
            raise NotUnderstood(f"Gelu {node.name!r} as {form!r}")
        if form == b"tanh":
            return "GeluTanh", np.array([GELU_TANH[0]]), GELU_TANH[1]
        return name, np.array([GELU]), b
    if name == "Sqrt":
        # whoever draws lines takes it for a power
        return name, np.array([0.5]), b
    if name == "Pow":
        return name, _exponent(reader, node), b
    if name == "HardSigmoid":
        b = float(np.float32(attributes.get("beta", 0.5)))
    elif name == "Selu":
        b = float(np.float32(attributes.get("gamma", 1.05070102214813232421875)))
    good = {
        "HardSigmoid": alpha != 0,
        "Elu": alpha >= 0,
        "Selu": alpha >= 0 and b >= 0,
        "Celu": alpha > 0,
        "Swish": STRETCHES[0] <= alpha <= STRETCHES[1],
    }
    if not good.get(name, True):
        raise NotUnderstood(f"{name} {node.name!r} with alpha {alpha}")
    return name, a, b


def _clip(reader: Builder, node: onnx.NodeProto, attributes: Any) -> tuple[Array, float]:
    ends = [reader.constant(node, k) for k in (1, 2)]
    low, high = (
        float(attributes.get(key, default)) if end is None else float(end)
        for end, key, default in zip(ends, ("min", "max"), (-math.inf, math.inf))
    )
    if not low < high:
        raise NotUnderstood(f"Clip {node.name!r} to [{low}, {high}]")
    return np.array([low]), high


def _exponent(reader: Builder, node: onnx.NodeProto) -> Array:
    exponent = np.asarray(reader.constants.get(node.input[1], []), dtype=np.float64).ravel()
    if exponent.size != 1 or not 0 < abs(exponent[0]) <= MOST or exponent[0] == 1:
        raise NotUnderstood(f"Pow {node.name!r}: one exponent up to ±{MOST:g} works, not 0 or 1")
    return exponent
