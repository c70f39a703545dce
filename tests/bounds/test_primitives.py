"""The rewritten network is the same function, in layers that the relaxation knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from layer_cases import CASES, IMAGE, Case
from network_factory import Builder, random_network

from boundcert.bounds.primitives import Primitive, primitives
from boundcert.layers import registry
from boundcert.layers.activation import Elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Layer, NodeSpec, Unsupported, numel
from boundcert.layers.extremum import Extremum
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.merge import Add, Concat
from boundcert.layers.power_sum import LARGEST_POWER, nearly
from boundcert.layers.product import Product, Quotient
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from boundcert.layers.structure import Select
from boundcert.network.graph import Network, Node, Source

SOURCE = Source("test", "0" * 64, b"", "input", "logits")
ULP = 2.0**-52
#: Factors of the inputs: ordinary, tiny, huge, far below zero.
SCALES = (1.0, 1e-6, 1e6, -1e3)


def is_primitive(layer: Layer | None) -> bool:
    kinds = (Add, Concat, Product, Elementwise, MaxPool)
    return type(layer) in kinds or isinstance(layer, Affine)


def one_layer(layer: Layer, op: str, shapes: Sequence[tuple[int, ...]], out: tuple[int, ...]):  # type: ignore[no-untyped-def]
    """A network of one layer, its operands side by side in the input."""
    total = (1, sum(numel(s) for s in shapes))
    nodes, start = [Node("input", "Input", None, (), total, "input")], 0
    for k, shape in enumerate(shapes):
        index = torch.arange(start, start + numel(shape))
        nodes.append(Node(f"in{k}", "Slice", Select(total, shape, index=index), (0,), shape))
        start += numel(shape)
    inputs = tuple(range(1, len(shapes) + 1))
    return Network((*nodes, Node("it", op, layer, inputs, out, "it")), SOURCE)


def checked(network: Network) -> Primitive:
    """The rewritten network, of primitives only, in order, every old node accounted for."""
    found = primitives(network)
    nodes = found.network.nodes
    assert nodes[0] == network.nodes[0] and len(found.origin) == len(network.nodes)
    assert found.origin[-1] == len(nodes) - 1 and found.origin[0] == 0
    for k, node in enumerate(nodes[1:], start=1):
        assert is_primitive(node.layer), type(node.layer)
        assert all(i < k for i in node.inputs)
        products = isinstance(node.layer, Product)
        assert not products or len(set(node.inputs)) == 2
    assert len({n.name for n in nodes}) == len(nodes)
    return found


def compare(network: Network, x: torch.Tensor, tolerance: float) -> Primitive:
    """The rewritten network has the old values, relative to each sample's largest entry."""
    found = checked(network)
    old, new = network.run(x), found.network.run(x)
    for node, value in zip(found.network.nodes, new):
        assert tuple(value.shape[1:]) == node.shape
    for k, place in enumerate(found.origin):
        if place >= 0:
            size = old[k].flatten(1).abs().amax(dim=1) + x.flatten(1).abs().amax(dim=1) * ULP
            error = (old[k] - new[place]).flatten(1).abs().amax(dim=1)
            assert bool((error <= size * tolerance).all()), (network.nodes[k].op, error, size)
            assert found.network.nodes[place].shape == network.nodes[k].shape
    return found


def samples(rng: np.random.Generator, network: Network, case: Case | None = None) -> torch.Tensor:
    """Random points of several sizes, zeros and equal entries."""
    shape = network.input_shape
    rows = [rng.standard_normal(shape) * s - (5 * abs(s) if s < 0 else 0) for s in SCALES]
    rows += [np.zeros(shape), np.full(shape, 0.5), np.round(rng.standard_normal(shape))]
    x = np.stack(rows)
    return torch.from_numpy(x if case is None else np.clip(x, case.low, min(case.high, 1e6)))


def composed(case: Case) -> bool:
    return not is_primitive(case.build(np.random.default_rng(0))[0])


@pytest.mark.parametrize("case", [c for c in CASES if composed(c)], ids=lambda c: c.name)
def test_every_other_kind_is_made_of_primitives(case: Case) -> None:
    rng = np.random.default_rng(7)
    layer, shapes = case.build(rng)
    network = one_layer(layer, case.op, shapes, case.shape or shapes[0])
    tolerance = 4 * ULP if "Max" in case.op else 1e-9
    compare(network, samples(rng, network, case), tolerance)


def pool(op: str, shape: tuple[int, ...], **attributes: object) -> Network:
    """A network of one pool."""
    rank = len(shape) - 2
    spec = NodeSpec(op, op, 18, attributes, (shape,), (*shape[:2], *([0] * rank)))
    layer = registry.build(spec)
    out: tuple[int, ...] = layer.out_shape  # type: ignore[attr-defined]
    return one_layer(layer, op, [shape], out)


@pytest.mark.parametrize("shape", [(1, 2, 5), (1, 2, 3, 4), (2, 3, 9, 11), (1, 1, 4, 3, 6)])
def test_global_max_pool(shape: tuple[int, ...]) -> None:
    network = pool("GlobalMaxPool", shape)
    compare(network, samples(np.random.default_rng(3), network), 4 * ULP)


def test_padding_never_wins() -> None:
    network = pool("MaxPool", IMAGE, kernel_shape=[3, 3], pads=[1] * 4)
    x = -1 - torch.rand(4, *network.input_shape, dtype=torch.float64)
    found = compare(network, x, 4 * ULP)
    assert bool((found.network.run(x)[-1] <= -1).all())


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, 4.0, 7.0, 8.0])
@pytest.mark.parametrize("pads", [[0] * 4, [1, 0, 1, 2]])
def test_lp_pool(power: float, pads: list[int]) -> None:
    network = pool("LpPool", IMAGE, kernel_shape=[2, 3], strides=[2, 1], pads=pads, p=power)
    compare(network, samples(np.random.default_rng(3), network), 1e-9)


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_lp_pool_with_a_last_window_left_out(power: float) -> None:
    """ceil_mode would start it in the padding behind the data."""
    shape, attributes = (1, 2, 6, 6), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    network = pool("LpPool", shape, pads=[2] * 4, p=power, **attributes)
    compare(network, samples(np.random.default_rng(3), network), 1e-9)


def test_lp_pool_of_a_huge_power_is_refused() -> None:
    network = pool("LpPool", IMAGE, kernel_shape=[2, 3], p=10 * LARGEST_POWER)
    with pytest.raises(Unsupported, match="too large"):
        primitives(network)


def test_nearly_covers_what_a_rounded_exponent_does() -> None:
    """x(1 + η) for |η| ≤ 1000u lies within the bounds of the layer, in every box."""
    rng = np.random.default_rng(5)
    shape = (1, 4)
    layer = nearly(shape)
    for scale in (1e-300, 1e-9, 1.0, 1e30):
        low = torch.from_numpy(rng.random((3, *shape))) * scale
        high = low * (1 + torch.from_numpy(rng.random((3, *shape))) * 1e-13)
        box = Box(low, high, low)
        least, most = layer.interval(box)
        far = 1000 * 2.0**-53
        assert bool((least <= low * (1 - far)).all()) and bool((most >= high * (1 + far)).all())
        relaxed = layer.relax((box,), layer.forward(low))
        values = torch.from_numpy(rng.standard_normal((3, *shape)))
        rows, rest = relaxed.below(Rows.of(values, torch.arange(3), shape))
        for end in (low, high):
            moved = end - low
            out = (values * (end * (1 - values.sign() * far) - low)).flatten(1).sum(dim=1)
            bound = (rows[0].flat(shape) * moved).flatten(1).sum(dim=1) + rest
            assert bool((out >= bound).all())


LRNS = [
    {"size": 3, "alpha": 0.7, "beta": 0.75, "bias": 1.0},
    {"size": 2, "alpha": 5.0, "beta": 1.0, "bias": 0.1},
    {"size": 9, "alpha": 0.5, "beta": 0.5, "bias": 2.0},
    {"size": 3, "alpha": 0.0, "beta": 0.75, "bias": 1.7},
    {"size": 3, "alpha": 0.7, "beta": 0.0, "bias": 1.7},
    {"size": 3, "alpha": 0.0, "beta": 330.0, "bias": 10.0},
]


@pytest.mark.parametrize("attributes", LRNS, ids=str)
@pytest.mark.parametrize("shape", [(1, 5), (2, 5, 3), (1, 5, 2, 3), (1, 5, 2, 1, 2, 2)])
def test_lrn(attributes: dict[str, float], shape: tuple[int, ...]) -> None:
    spec = NodeSpec("LRN", "lrn", 18, attributes, (shape,), shape)
    network = one_layer(registry.build(spec), "LRN", [shape], shape)
    compare(network, samples(np.random.default_rng(3), network), 1e-9)


@pytest.mark.parametrize("shape, axis", [((1, 4), 1), ((1, 3, 4, 2), 2), ((1, 1, 3), 1), ((5,), 0)])
@pytest.mark.parametrize("opset", [11, 13])
def test_softmax(shape: tuple[int, ...], axis: int, opset: int) -> None:
    spec = NodeSpec("Softmax", "softmax", opset, {"axis": axis}, (shape,), shape)
    network = one_layer(registry.build(spec), "Softmax", [shape], shape)
    compare(network, samples(np.random.default_rng(3), network), 1e-9)


@pytest.mark.parametrize("bias", [0.1, 10.0])
def test_lrn_of_a_constant_that_overflows_is_no_error(bias: float) -> None:
    attributes = {"size": 3, "alpha": 0.0, "beta": 400.0, "bias": bias}
    shape = (1, 4, 2, 2)
    network = one_layer(
        registry.build(NodeSpec("LRN", "lrn", 18, attributes, (shape,), shape)),
        "LRN",
        [shape],
        shape,
    )
    checked(network)


@pytest.mark.parametrize("count", [2, 3, 10])
@pytest.mark.parametrize("reach", [1.0, 20.0, 100.0])
def test_softmax_is_bounded_however_far_its_operands_reach(count: int, reach: float) -> None:
    """The sum of exponentials is at least 1, also where rounding hides it."""
    shape = (1, count)
    spec = NodeSpec("Softmax", "softmax", 13, {"axis": 1}, (shape,), shape)
    network = one_layer(registry.build(spec), "Softmax", [shape], shape)
    small = checked(network).network
    rng = np.random.default_rng(3)
    boxes: list[Box] = []
    values = small.run(torch.zeros(1, *shape, dtype=torch.float64))
    for node, value in zip(small.nodes, values):
        if node.layer is None:
            boxes.append(Box(value - reach, value + reach, value))
        else:
            boxes.append(Box(*node.layer.interval(*(boxes[i] for i in node.inputs)), value))
    low, high = boxes[-1].low, boxes[-1].high
    assert bool((low >= -1e-12).all()) and bool((high <= 1 + 1e-12).all())
    out = network.run(torch.from_numpy(rng.uniform(-reach, reach, (500, *shape))))[-1]
    assert bool((out >= low - 1e-15).all()) and bool((out <= high + 1e-15).all())


MERGES = {
    "max3": (Extremum, "Max", [(1, 3, 1), (2, 1, 4), (4,)], (2, 3, 4)),
    "min3": (Extremum, "Min", [(1, 3, 1), (2, 1, 4), (4,)], (2, 3, 4)),
    "max1": (Extremum, "Max", [(2, 3)], (2, 3)),
    "quotient": (Quotient, "Div", [(3, 1), (1, 4)], (3, 4)),
}


@pytest.mark.parametrize("name", MERGES)
def test_merges(name: str) -> None:
    kind, op, shapes, out = MERGES[name]
    network = one_layer(kind(tuple(shapes), out, op), op, shapes, out)
    x = samples(np.random.default_rng(3), network)
    compare(network, x.abs() + 0.1 if op == "Div" else x, 1e-9)


@pytest.mark.parametrize("op", ["Mul", "Max", "Min", "Add", "Sub"])
def test_one_operand_twice(op: str) -> None:
    b = Builder((1, 5), np.random.default_rng(0))
    network = b.finish(b.add(op, [0, 0]), 3)
    compare(network, samples(np.random.default_rng(3), network), 1e-9)


@pytest.mark.parametrize("seed", range(60))
def test_random_networks(seed: int) -> None:
    network = random_network(seed)
    x = np.random.default_rng(seed).standard_normal((3, *network.input_shape))
    compare(network, torch.from_numpy(x), 1e-9)


def behind(b: Builder, op: str, k: int = 0, **attributes: object) -> Network:
    """A max-pool behind an activation."""
    k = b.add(op, [k], **attributes)
    return b.finish(b.add("MaxPool", [k], kernel_shape=[2, 2], strides=[2, 2]), 3)


RISES = {
    "Relu": ({}, True),
    "Sigmoid": ({}, True),
    "LeakyRelu": ({"alpha": 0.2}, True),
    "Elu": ({"alpha": 1.5}, True),
    "Selu": ({}, True),
    "HardSigmoid": ({}, True),
    "HardSwish": ({}, False),
    "Gelu": ({}, False),
    "Abs": ({}, False),
}


@pytest.mark.parametrize("op", RISES)
@pytest.mark.parametrize("falls", [False, True])
def test_pools_go_before_activations_that_rise(op: str, falls: bool) -> None:
    attributes, rises = RISES[op]
    if falls:
        attributes, rises = {"alpha": -0.7}, op in ("Relu", "Sigmoid")
    network = behind(Builder((1, 2, 4, 6), np.random.default_rng(1)), op, **attributes)
    found = compare(network, samples(np.random.default_rng(3), network), 1e-9)
    assert (found.origin[1] == -1) == rises
    assert found.network.nodes[found.origin[2]].op == (op if rises else "MaxPool")


@pytest.mark.parametrize("slope, rises", [((2, 1, 1), True), ((2, 4, 6), False)])
def test_slopes_that_differ_in_a_window_stay_in_front(slope: tuple[int, ...], rises: bool) -> None:
    b = Builder((1, 2, 4, 6), np.random.default_rng(1))
    k = b.add("PRelu", [0], None, [np.abs(b.weight(*slope))])
    network = b.finish(b.add("MaxPool", [k], kernel_shape=[2, 2]), 3)
    found = compare(network, samples(np.random.default_rng(3), network), 1e-9)
    assert (found.origin[1] == -1) == rises


def test_the_order_can_be_kept() -> None:
    network = behind(Builder((1, 2, 4, 6), np.random.default_rng(1)), "Relu")
    kept = primitives(network, pool_first=False)
    assert -1 not in kept.origin
    assert [n.op for n in kept.network.nodes] == [n.op for n in network.nodes]


def test_an_activation_read_elsewhere_stays() -> None:
    b = Builder((1, 2, 4, 6), np.random.default_rng(1))
    k = b.add("Relu", [0])
    pooled = b.add("MaxPool", [k], kernel_shape=[3, 3], pads=[1] * 4)
    network = b.finish(b.add("Add", [pooled, k]), 3)
    found = compare(network, samples(np.random.default_rng(3), network), 1e-9)
    assert -1 not in found.origin


def test_biases_are_joined() -> None:
    b = Builder((1, 2, 4, 6), np.random.default_rng(1))
    k = b.add("Conv", [0], (1, 3, 4, 6), [b.weight(3, 2, 1, 1)])
    k = b.add("Add", [k], None, [b.weight(3, 1, 1)])
    scaled = b.add("Conv", [k], (1, 3, 4, 6), [b.weight(3, 3, 1, 1)])
    k = b.add("Mul", [scaled], None, [b.weight(3, 1, 1)])
    k = b.add("MatMul", [b.flatten(k)], (1, 4), [b.weight(72, 4)])
    k = b.add("Sub", [k], None, [b.weight(4)])
    network = b.finish(k, 3)
    found = compare(network, samples(np.random.default_rng(3), network), 1e-9)
    assert [i for i, place in enumerate(found.origin) if place < 0] == [1, 6]
