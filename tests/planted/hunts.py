"""Hunts: checks that fail where a bound does not hold, each on many networks from seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from bounds.frame_checks import (
    assert_holds,
    assert_values_hold,
    classes,
    least_margins,
    problem_of,
)
from network_factory import Builder, linear_network, random_network, relu_mlp, smooth_mlp
from planted.checker_hunts import CHECKER_HUNTS
from planted.trust_hunts import TRUST_HUNTS
from runtime_model import erring_values

from boundcert.attacks import gradient_guided_points
from boundcert.bounds.deployed import errors_over
from boundcert.bounds.frame import Frame
from boundcert.bounds.methods import About, Limits
from boundcert.bounds.primitives import primitives
from boundcert.bounds.propagate import Evaluation, forward_moves
from boundcert.bounds.relax import RELAX, Ladder
from boundcert.bounds.walk import Walk
from boundcert.clip import Clip
from boundcert.layers import registry
from boundcert.layers.arithmetic import FLOAT32, Arithmetic
from boundcert.layers.base import Deviation, NodeSpec
from boundcert.layers.relaxation import Box
from boundcert.network.graph import Network
from boundcert.norms import Norm

Hunt = Callable[[int], None]

SAMPLES = 2
COARSE = Arithmetic("float32", 2.0**-9, 1e-30, 1e30)


def gated_mlp(seed: int, scale: float) -> Network:
    """A product of two dense layers' activations."""
    b = Builder((1, 4), np.random.default_rng(seed), scale)
    gate, inner = b.add("Sigmoid", [b.dense(0, 5)]), b.add("Tanh", [b.dense(0, 5)])
    return b.finish(b.add("Mul", [gate, inner]), 3)


def _situation(seed: int) -> tuple[Network, torch.Tensor, torch.Tensor, Norm, float]:
    """A network, samples, their classes, a norm and a radius."""
    make = (random_network, random_network, smooth_mlp, gated_mlp)[seed % 4]
    network = make(1000 + seed, (1.0, 3.0)[seed % 2])
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(SAMPLES, *network.input_shape, generator=random, dtype=torch.float64)
    return network, x, classes(network, x), list(Norm)[seed % 3], (0.03, 0.3)[seed // 3 % 2]


def frames(seed: int, ball: bool = False) -> None:
    """Boxes, 2-norms and margins hold in the ball; and those at a smaller radius there."""
    network, x, label, norm, size = _situation(seed)
    eps = torch.full((SAMPLES,), size, dtype=torch.float64)
    with torch.no_grad():
        whole = Frame.build(problem_of(network, norm, x), eps, ball=ball)
        for frame in (whole, whole.tightened(eps * 0.6)):
            radius = frame.eps * (1 - 1e-9)
            points = gradient_guided_points(network, x, label, norm, radius, 6, seed)
            assert_holds(frame, label, points)


def balls(seed: int) -> None:
    """The same with multipliers, on wide layers, where these do something."""
    frames(seed, ball=True)
    network = relu_mlp(seed, (12, 12))
    x = torch.randn(SAMPLES, *network.input_shape, dtype=torch.float64)
    label, eps = classes(network, x), torch.full((SAMPLES,), 0.3, dtype=torch.float64)
    with torch.no_grad():
        frame = Frame.build(problem_of(network, Norm.L2, x), eps, ball=True)
        points = gradient_guided_points(network, x, label, Norm.L2, eps * (1 - 1e-9), 6, seed)
        assert_holds(frame, label, points)


def pooled(seed: int) -> Network:
    """Maxima over windows of a convolution, which may overlap, then dense layers."""
    b = Builder((1, 1, 6, 6), np.random.default_rng(seed), 1.0)
    stride = [1 + seed % 2] * 2
    k = b.add("MaxPool", [b.conv(0, 2, 2)], kernel_shape=[2, 2], strides=stride, pads=[0, 0, 1, 1])
    return b.finish(b.add("Relu", [b.dense(b.flatten(k), 6)]), 3)


def windows(seed: int) -> None:
    """Boxes, excesses over means and margins hold behind maxima of windows, which move together."""
    network, norm = pooled(seed), list(Norm)[seed % 3]
    x = torch.randn(SAMPLES, *network.input_shape, dtype=torch.float64)
    label, eps = classes(network, x), torch.full((SAMPLES,), 0.3, dtype=torch.float64)
    with torch.no_grad():
        whole = Frame.build(problem_of(network, norm, x), eps, means=True)
        for frame in (whole, whole.tightened(eps * 0.6)):
            points = gradient_guided_points(network, x, label, norm, frame.eps, 6, seed)
            assert frame.excesses
            assert_holds(frame, label, points)


def ranges(seed: int) -> None:
    """Boxes and margins hold in the part of the ball that lies in the range of the data."""
    network, x, label, norm, size = _situation(seed)
    clip, x = Clip(-1.0, 1.0), x.clamp(-1.0, 1.0)
    eps = torch.full((SAMPLES,), 3 * size, dtype=torch.float64)
    with torch.no_grad():
        frame = Frame.build(problem_of(network, norm, x, clip), eps)
        points = gradient_guided_points(network, x, label, norm, eps * (1 - 1e-9), 6, seed, clip)
        assert_holds(frame, label, points)


def moves(seed: int) -> None:
    """Values move no further than the moduli of one layer after the other say."""
    network, x, label, norm, size = _situation(seed)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))
        start = Deviation(torch.full((SAMPLES,), size, dtype=torch.float64))
        nodes = range(1, len(network.nodes))
        found = forward_moves(evaluation, nodes, 0, start, norm)
        for point in gradient_guided_points(network, x, label, norm, start.size, 6, seed):
            for k, value in enumerate(network.run(point)):
                moved = norm.of_rows(value - evaluation.values[k])
                assert not bool((moved > found[k].size * (1 + 1e-9) + 1e-12).any()), k


def radii(seed: int) -> None:
    """No radius of walk and relax exceeds the distance of a point of another class."""
    network = linear_network(seed) if seed % 2 else _situation(seed)[0]
    random, norm = torch.Generator().manual_seed(seed), list(Norm)[seed % 3]
    x = torch.randn(SAMPLES, *network.input_shape, generator=random, dtype=torch.float64)
    with torch.no_grad():
        evaluation, label = Evaluation(network, network.run(x)), classes(network, x)
        ladder = Ladder(network, norm, Limits(), (RELAX,), False)
        bounds = ladder(evaluation, label), ladder.walk(evaluation, label)
    for radius in (found.radius for found in bounds):
        inside = radius * (1 - 1e-9)
        for point in gradient_guided_points(network, x, label, norm, inside, 6, seed):
            assert bool(((classes(network, point) == label) | (radius == 0)).all())


def runtimes(seed: int) -> None:
    """No error that a runtime may make changes the class within walk and relax."""
    network, x, label, norm, _ = _situation(seed)
    about = About(arithmetic=COARSE)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))
        ladder = Ladder(network, norm, Limits(), (RELAX,), False, about)
        walked = Walk(network, norm, COARSE)(evaluation, label).radius
        problem = problem_of(network, norm, x, arithmetic=COARSE)
        proved = ladder(evaluation, label).radius
        frame = Frame.build(problem, proved.clamp(min=1e-6))
        assert ladder.primitive is not None
        own = {k: frame.errors.own.get(new) for k, new in enumerate(ladder.primitive.origin)}
        loose = errors_over(evaluation, walked, norm, COARSE)
    tight = {k: error for k, error in own.items() if error is not None}
    for radius, errors in ((walked, loose), (proved, tight)):
        points = gradient_guided_points(network, x, label, norm, radius * (1 - 1e-9), 3, seed)
        for point in [x, *points]:
            for values in erring_values(network, point, label, errors, seed):
                z = values[-1].reshape(SAMPLES, -1)
                behind = z.amax(dim=1) - z.gather(1, label[:, None])[:, 0]
                assert not bool(((behind > 1e-9) & (radius > 0)).any())


def erring(seed: int) -> None:
    """Boxes, 2-norms and margins hold for the values that a runtime may compute."""
    network, x, label, norm, size = _situation(seed)
    eps, primitive = torch.full((SAMPLES,), 0.1 * size, dtype=torch.float64), primitives(network)
    with torch.no_grad():
        problem = problem_of(network, norm, x, arithmetic=COARSE)
        frame = Frame.build(problem, eps, ball=bool(seed % 2))
    lower, own = least_margins(frame, label), frame.errors.own
    errors = {k: own[new] for k, new in enumerate(primitive.origin) if new in own}
    for values in erring_values(network, x, label, errors, seed):
        here = {new: values[k] for k, new in enumerate(primitive.origin) if new >= 0}
        assert_values_hold(frame, label, lower, here)


def sums(seed: int) -> None:
    """A dense layer's bound on a runtime's error covers sums that are taken one by one."""
    rng = np.random.default_rng(seed)
    weight, x = (rng.random((20, 500)).astype(np.float32) for _ in range(2))
    x = x[:1]
    terms = weight * x
    total = np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]
    exact = weight.astype(np.float64) @ x[0].astype(np.float64)
    layer = registry.build(NodeSpec("MatMul", "m", 18, {}, ((1, 500), weight.T), (1, 20)))
    point = torch.from_numpy(x.astype(np.float64))[None]
    bound = layer.runtime_error(FLOAT32, Box(point, point, point))
    assert bound is not None and bool((bound[0, 0].numpy() >= np.abs(total - exact)).all())


HUNTS: Mapping[str, Hunt] = {
    "frames": frames,
    "windows": windows,
    "balls": balls,
    "ranges": ranges,
    "moves": moves,
    "radii": radii,
    "runtimes": runtimes,
    "erring": erring,
    "sums": sums,
    **CHECKER_HUNTS,
    **TRUST_HUNTS,
}
