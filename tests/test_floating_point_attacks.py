"""Networks whose class in exact arithmetic is not what a runtime computes near by.

Each one decides, in exact arithmetic, with room to spare; in float32 it changes its mind at a
point that a certificate about real numbers covers (arXiv 2003.03021, arXiv 2205.10159).
The certificate about the deployed network must end before that point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from network.models import model, node

from boundcert import certify
from boundcert.layers.arithmetic import BFLOAT16, FLOAT16
from boundcert.network.graph import Network
from boundcert.network.importer import import_bytes
from boundcert.network.precision import arithmetic_of
from boundcert.network.runtime import Runtime
from boundcert.prepared import Prepared

Affine = tuple[list[list[float]], list[float]]


@dataclass(frozen=True)
class Trap:
    """Affine layers, a sample, and the point nearby where float32 decides otherwise."""

    name: str
    layers: tuple[Affine, ...]
    sample: tuple[float, ...]
    trigger: tuple[float, ...]


TRAPS = (
    Trap(
        "huge weights that cancel, and swallow a bias",
        (([[2.0**24], [2.0**24], [1.0]], [1.0, 0.0, 0.0]),
         ([[1.0, -1.0, 0.0], [0.0, 0.0, 1e-3]], [-0.5, 0.0])),
        (0.25,), (3.3,),
    ),
    Trap(
        "a bias that swallows the activation",
        (([[1.0]], [2.0**25]), ([[1.0], [0.0]], [-(2.0**25), 0.25])),
        (2.9,), (1.5,),
    ),
    Trap(
        "subnormal values",
        (([[1e-25]], [0.0]), ([[1e-20]], [0.0]), ([[1e38]], [0.0]), ([[1e7], [0.0]], [0.0, 0.5])),
        (1.0,), (0.65,),
    ),
    Trap(
        "inputs at 1e28",
        (([[1e10]], [0.0]), ([[1e-37], [2e-37]], [0.0, -1e3])),
        (1e27,), (5e28,),
    ),
)  # fmt: skip


def affine_model(layers: tuple[Affine, ...]) -> onnx.ModelProto:
    """One Gemm after the other."""
    nodes, constants, name = [], {}, "x"
    for k, (weight, bias) in enumerate(layers):
        constants |= {f"w{k}": np.float32(weight), f"b{k}": np.float32(bias)}
        out = "y" if k == len(layers) - 1 else f"h{k}"
        nodes.append(node("Gemm", f"{name} w{k} b{k}", out, transB=1))
        name = out
    return model(nodes, ("N", len(layers[0][0][0])), constants)


def imported(proto: onnx.ModelProto) -> Network:
    return import_bytes(proto.SerializeToString())


def exact_radius(network: Network, x: np.ndarray, method: str = "auto") -> float:
    """About the function of real numbers, whatever onnxruntime makes of the sample itself."""
    return Prepared(network, 2, method, semantics="exact")(network.prepare(x)).lower[0]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
@pytest.mark.parametrize("method", ["walk", "relax", "auto"])
def test_radii_end_before_float32_decides_otherwise(trap: Trap, method: str) -> None:
    network = imported(affine_model(trap.layers))
    runtime = Runtime(network.source, network.input_shape)
    points = np.array([trap.sample, trap.trigger])
    here, there = runtime.classify(points[:, None].astype(np.float32))
    assert here == 0 and there != 0
    distance = float(np.linalg.norm(np.float32(points[1]).astype(float) - points[0]))
    exact = exact_radius(network, points[:1], method)
    deployed = certify(network, points[:1], method=method).lower[0]
    assert exact > distance > deployed
    assert deployed >= 0


def test_a_sum_whose_order_flips_the_sign_is_not_certified() -> None:
    weight = np.float32([[1e8, -1e8, 1.0], [0.0, 0.0, 0.0]])
    layers = ((weight.tolist(), [0.0, 0.25]),)
    network, x = imported(affine_model(layers)), np.array([[1.0, 1.0, 0.5]])
    terms = weight[0] * np.float32(x[0])
    first = np.float32(np.float32(terms[0] + terms[1]) + terms[2])
    last = np.float32(np.float32(terms[0] + terms[2]) + terms[1])
    assert first > 0.25 > last
    assert exact_radius(network, x) > 0
    assert certify(network, x).lower[0] == 0


def test_a_neuron_that_fires_in_one_order_of_summation_only_is_seen() -> None:
    """In exact arithmetic relu(Σ) is 0 about the sample, in an unlucky order it decides."""
    weight = [[3e7, -3e7, 3.0], [0.0, 0.0, 1.0]]
    layers = ((weight, [-3.5, 0.0]), ([[1e4, 0.0], [0.0, 1.0]], [0.0, 0.0]))
    proto = affine_model(layers)
    relu = node("Relu", "h0", "a")
    proto.graph.node[1].input[0] = "a"
    proto.graph.node.insert(1, relu)
    network, x = imported(proto), np.array([[1.0, 1.0, 1.0]])
    fires = (np.float32(3e7) + np.float32(3.0)) - np.float32(3e7) - np.float32(3.5)
    assert 3.0 - 3.5 < 0 < fires and fires * 1e4 > 1.0
    assert exact_radius(network, x) > 0
    assert certify(network, x).lower[0] == 0


def scaled_convolution(scale: float, behind: float) -> onnx.ModelProto:
    """x₁ through a convolution and a Mul that a runtime folds into it, and x₂ added behind."""

    def tensor(*values: float) -> np.ndarray:
        return np.float32(values).reshape(1, -1, 1, 1)

    nodes = [
        node("Conv", "x u", "a"),
        node("Relu", "a", "b"),
        node("Conv", "b w", "c"),
        node("Mul", "c s", "d"),
        node("Relu", "d", "e"),
        node("Conv", "e v", "f"),
        node("Conv", "x w2", "g"),
        node("Add", "f g", "h"),
        node("Flatten", "h", "k"),
        node("Gemm", "k one bias", "y", transB=1),
    ]
    constants = {
        "u": tensor(behind, 0.0),
        "w": tensor(scale),
        "s": np.float32(scale).reshape(1, 1, 1),
        "v": tensor(behind),
        "w2": tensor(0.0, 1.0),
        "one": np.float32([[1], [0]]),
        "bias": np.float32([0, 0.4]),
    }
    return model(nodes, ("N", 2, 1, 1), constants)


@pytest.mark.parametrize("method", ["walk", "relax"])
@pytest.mark.parametrize(("scale", "behind"), [(1e-23, 1e23), (1e20, 1e-20)])
def test_coefficients_that_vanish_or_overflow_where_nodes_are_fused(
    scale: float, behind: float, method: str
) -> None:
    """1e-23·1e-23 is 0 in float32: onnxruntime, which folds it, decides otherwise 0.2 away."""
    network = imported(scaled_convolution(scale, behind))
    x = np.array([[1.0, 0.5]]).reshape(1, 2, 1, 1)
    assert exact_radius(network, x, method) > 0.2
    assert certify(network, x, method=method).lower[0] == 0


@pytest.mark.parametrize("method", ["walk", "relax"])
def test_sums_of_branches_that_one_accumulator_takes(method: str) -> None:
    """3e7, then a thousand times 0.99, then −3e7, in one sum: all of the 990 is lost."""
    count = 1000
    nodes = [
        node("Split", "x sizes", "a b", axis=1),
        node("MatMul", "a large", "h"),
        node("MatMul", "b small", "k"),
        node("Add", "h k", "s"),
        node("Gemm", "s one bias", "y", transB=1),
    ]
    constants = {
        "sizes": np.int64([2, count]),
        "large": np.float32([[3e7], [-3e7]]),
        "small": np.full((count, 1), 0.99, np.float32),
        "one": np.float32([[1], [0]]),
        "bias": np.float32([0, 500]),
    }
    total = np.float32(3e7)
    for _ in range(count):
        total += np.float32(0.99)
    assert total - np.float32(3e7) < 500 < 0.99 * count
    network = imported(model(nodes, ("N", 2 + count), constants))
    x = np.ones((1, 2 + count))
    assert exact_radius(network, x, method) > 0
    assert certify(network, x, method=method).lower[0] == 0


@pytest.mark.parametrize("sample", [(16777216.4, 16777216.9), (1e-40, 3e-40)])
def test_samples_that_are_no_numbers_of_the_models_type(sample: tuple[float, float]) -> None:
    """A runtime reads both entries as one number, or as 0 where it flushes."""
    network = imported(model([node("Relu", "x", "y")], ("N", 2)))
    assert certify(network, np.array([sample])).lower[0] == 0


def test_two_kinds_of_halves_have_the_smaller_range_and_the_coarser_unit() -> None:
    half, brain = onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16
    nodes = [node("Cast", "x", "c", to=brain), node("Cast", "c", "y", to=half)]
    found = arithmetic_of(imported(model(nodes, ("N", 2), kind=half)).source)
    assert (found.unit, found.largest) == (BFLOAT16.unit, FLOAT16.largest)
    assert found.tiny == FLOAT16.tiny
