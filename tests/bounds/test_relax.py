"""Linear relaxation of whole networks against everything that could refute it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from bounds.frame_checks import CLIMB, assert_holds, classes, margins_of, problem_of, radii_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network_factory import (
    Builder,
    cancelling_mlp,
    linear_network,
    random_network,
    relu_mlp,
    smooth_mlp,
)

from boundcert.attacks import ATTACKS, gradient_guided_points
from boundcert.bounds import sketch
from boundcert.bounds.backward import Linear
from boundcert.bounds.excess import Excess
from boundcert.bounds.frame import Frame
from boundcert.bounds.methods import Limits
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.relax import BATCH, DUAL, RELAX, Ladder
from boundcert.network.graph import Network, Preprocess, put_in_front
from boundcert.norms import Norm
from examples import examples

seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from(list(Norm))
factories = st.sampled_from([random_network, random_network, smooth_mlp])
weights = st.sampled_from([0.3, 1.0, 3.0])
inputs = st.sampled_from([1e-3, 1.0, 50.0])
radii = st.sampled_from([1e-4, 1e-2, 0.1, 1.0])

SAMPLES = 3
ALL, SOME = torch.arange(SAMPLES), torch.tensor([2, 0])


def samples_of(network: Network, seed: int, scale: float) -> torch.Tensor:
    rng = np.random.default_rng(seed + 1)
    return torch.from_numpy(rng.standard_normal((SAMPLES, *network.input_shape)) * scale)


def relax(network: Network, norm: Norm) -> Ladder:
    return Ladder(network, norm, Limits(), (RELAX,), timed=False)


def ladder(network: Network, norm: Norm) -> Ladder:
    return Ladder(network, norm, Limits(), CLIMB, timed=False)


def ball_points(
    network: Network, x: torch.Tensor, label: torch.Tensor, norm: Norm, eps: torch.Tensor, seed: int
) -> list[torch.Tensor]:
    """Points of the balls: along gradients, random, on the axes, at the samples."""
    points = gradient_guided_points(network, x, label, norm, eps * (1 - 1e-9), 6, seed % 1000)
    return [*points, x]


@settings(max_examples=examples(60), deadline=None)
@given(
    make=factories,
    seed=seeds,
    weight=weights,
    scale=inputs,
    size=radii,
    norm=norms,
    ball=st.booleans(),
    means=st.booleans(),
    steps=st.sampled_from([0, 0, 3]),
)
def test_boxes_and_margins_hold(make, seed, weight, scale, size, norm, ball, means, steps) -> None:  # type: ignore[no-untyped-def]
    """Every node's box, and the margins, at points of the ball; also after tightening."""
    network = make(seed, weight)
    x = samples_of(network, seed, scale)
    label = classes(network, x)
    eps = torch.full((SAMPLES,), size * scale, dtype=torch.float64)
    with torch.no_grad():
        problem = problem_of(network, norm, x)
        wide = Frame.build(problem, eps, ball=ball, means=means, steps=steps)
        frames = [wide, wide.tightened(eps * 0.6), wide.take(SOME)]
    for frame, part in zip(frames, (ALL, ALL, SOME)):
        points = ball_points(network, x[part], label[part], norm, frame.eps, seed)
        assert_holds(frame, label[part], points)


def test_frames_are_gone_when_nobody_needs_them() -> None:
    """Without waiting for the garbage collector: they are most of what a search keeps."""
    network = random_network(1)
    x = samples_of(network, 1, 1.0)
    eps = torch.full((SAMPLES,), 0.1, dtype=torch.float64)
    with torch.no_grad():
        frame = Frame.build(problem_of(network, Norm.L2, x), eps, ball=True)
        part = frame.tightened(eps * 0.5).take(SOME)
        assert part.boxes[1].low.shape[0] == len(SOME)
    kept = [weakref.ref(frame), weakref.ref(part)]
    gc.disable()
    try:
        del frame, part
        assert [one() for one in kept] == [None, None]
    finally:
        gc.enable()


@settings(max_examples=examples(25), deadline=None)
@given(
    make=factories,
    seed=seeds,
    weight=weights,
    scale=inputs,
    norm=norms,
    many=st.sampled_from([0, sketch.MANY]),
)
def test_no_perturbation_inside_changes_the_class(make, seed, weight, scale, norm, many) -> None:  # type: ignore[no-untyped-def]
    network = make(seed, weight)
    x = samples_of(network, seed, scale)
    method = ladder(network, norm)
    label, bounds, walked = radii_of(method, network, x, many)
    assert bool(torch.isfinite(bounds.radius).all())
    assert bool((bounds.radius >= walked.radius).all())
    higher = zip(bounds.rungs, bounds.radius, walked.radius)
    assert all((rung != "walk") == bool(b > w) for rung, b, w in higher)
    for batch in ball_points(network, x, label, norm, bounds.radius, seed):
        z = network.logits(batch)
        behind = z.amax(dim=1) - z.gather(1, label[:, None])[:, 0]
        assert not bool((behind > 1e-11 * z.abs().amax(dim=1)).any())
    points = ATTACKS["deepfool"].minimize(network, x, label, norm)
    with torch.no_grad():
        changed = network.logits(torch.nan_to_num(points)).argmax(dim=1) != label
    distance = norm.of_rows(points - x)
    found = changed & torch.isfinite(distance)
    assert not bool((found & (bounds.radius > distance * (1 + 1e-9))).any())


@settings(max_examples=examples(30), deadline=None)
@given(seed=seeds, weight=st.sampled_from([1e-8, 1.0, 1e8]), scale=inputs, norm=norms)
def test_exact_on_linear_networks(seed: int, weight: float, scale: float, norm: Norm) -> None:
    network = linear_network(seed, weight)
    x = samples_of(network, seed, scale)
    label = classes(network, x)
    with torch.no_grad():
        problem = problem_of(network, norm, x)
        reach = margins_of(Frame.build(problem, torch.zeros(SAMPLES, dtype=torch.float64)), label)
        radius = reach.reach().reshape(SAMPLES, -1).amin(dim=1)
        eye = torch.eye(x[0].numel(), dtype=torch.float64).reshape(-1, *network.input_shape)
        zero = network.logits(torch.zeros_like(eye[:1]))
        w = (network.logits(eye) - zero).T.numpy()
        z = network.logits(x).numpy()
    for s, c in enumerate(label.tolist()):
        others = [j for j in range(z.shape[1]) if j != c]
        norm_of = [np.linalg.norm(w[c] - w[j], norm.dual.p) for j in others]
        exact = min((z[s, c] - z[s, j]) / n for j, n in zip(others, norm_of))
        assert float(radius[s]) == pytest.approx(exact, rel=1e-6, abs=1e-13 * abs(z).max())


@pytest.mark.parametrize("norm", list(Norm))
def test_normalisation_inside_the_network_is_seen(norm: Norm) -> None:
    """Sub and Div in front scale every bound (a rival's L2 bounds are wrong there)."""
    rng = np.random.default_rng(0)
    b = Builder((1, 6), rng, 1.0)
    network = b.finish(b.activation(b.dense(b.activation(b.dense(0, 8), ("Relu",)), 8)), 3)
    x = torch.from_numpy(rng.random((SAMPLES, 1, 6)))
    scaled = put_in_front(network, Preprocess(np.full(6, 0.1), np.full(6, 0.25)))
    inner = (x - 0.1) / 0.25
    with torch.no_grad():
        label = classes(network, inner)
        outside = relax(scaled, norm)(Evaluation(scaled, scaled.run(x)), label)
        inside = relax(network, norm)(Evaluation(network, network.run(inner)), label)
    assert torch.allclose(outside.radius, inside.radius * 0.25, rtol=3e-3)


def test_too_little_memory_leaves_it_to_the_walk() -> None:
    network = random_network(3)
    x = samples_of(network, 3, 1.0)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))
        label = classes(network, x)
        bounds = Ladder(network, Norm.L2, Limits(memory=1000), (RELAX,), timed=False)(
            evaluation, label
        )
    assert set(bounds.rungs) == {"walk"}


@pytest.mark.parametrize("norm", [Norm.L2, Norm.LINF])
def test_an_ascent_raises_margins(norm: Norm) -> None:
    """Chosen lines never do worse than the relaxation's own, and here far better."""
    network = relu_mlp(3, (30, 30, 30))
    x = samples_of(network, 3, 1.0)
    label = classes(network, x)
    with torch.no_grad():
        eps = relax(network, norm)(Evaluation(network, network.run(x)), label).radius
        problem, each = problem_of(network, norm, x), eps.repeat_interleave(network.classes - 1)
        plain, tuned = (
            margins_of(Frame.build(problem, eps, steps=steps), label).at(each) for steps in (0, 6)
        )
    assert bool((tuned >= plain - 1e-6 * plain.abs()).all())
    size = problem.values[-1].reshape(SAMPLES, -1).abs().amax(dim=1)
    gain = (tuned - plain).reshape(SAMPLES, -1).amin(dim=1)
    assert bool((gain > 0.01 * size).any())


def test_batches_do_not_change_what_is_found() -> None:
    """Where nothing is timed, more samples of a small network are bounded together."""
    network = relu_mlp(5, (20, 20))
    x = torch.cat([samples_of(network, seed, 1.0) for seed in range(15)])
    label = classes(network, x)
    together, apart = relax(network, Norm.L2), relax(network, Norm.L2)
    assert together.batch >= len(x) > BATCH
    assert Ladder(network, Norm.L2, Limits(1.0), (RELAX,), timed=True).batch == BATCH
    apart.batch = 4
    with torch.no_grad():
        one, other = (
            found(Evaluation(network, network.run(x)), label).radius for found in (together, apart)
        )
    assert bool((one > 0).all())
    assert bool(((one - other).abs() <= 2e-3 * one).all())


@pytest.mark.parametrize("size", [1e30, 1e-30, 1e60])
def test_what_float32_cannot_scout_is_proved_all_the_same(size: float) -> None:
    """Weights that leave float32's range in one layer and come back in the next."""
    plain, scaled = relu_mlp(4, (20, 20), 1.0), relu_mlp(4, (20, 20), size)
    x = samples_of(plain, 4, 1.0)
    label = classes(plain, x)
    with torch.no_grad():
        first, second = (
            relax(network, Norm.L2)(Evaluation(network, network.run(x)), label)
            for network in (plain, scaled)
        )
    assert {*first.rungs, *second.rungs} == {"relax"}
    assert bool(((second.radius - first.radius).abs() <= 5e-3 * first.radius).all())


@settings(max_examples=examples(15), deadline=None)
@given(seed=seeds, size=st.sampled_from([1e-3, 1.0, 1e6]), norm=norms)
def test_what_float32_gets_wrong_is_not_proved(seed: int, size: float, norm: Norm) -> None:
    """Scouts see another slope of the margin, often a lower one, and so a larger radius."""
    network, gradient = cancelling_mlp(seed, size)
    x = torch.from_numpy(np.random.default_rng(seed + 1).uniform(-1, 1, (SAMPLES, 1, 4)))
    with torch.no_grad():
        z = network.logits(x)
        label = z.argmax(dim=1)
        bounds = relax(network, norm)(Evaluation(network, network.run(x)), label)
    exact = (z[:, 0] - z[:, 1]).abs() / np.linalg.norm(gradient, norm.dual.p)
    # of the margin, as its logits are rounded
    room = float(z.abs().max()) * 1e-14 / np.linalg.norm(gradient, norm.dual.p)
    assert bool((bounds.radius <= exact + room).all())


@pytest.mark.parametrize("budget", [0.0, 0.02, 30.0])
def test_a_budget_stops_the_climb_where_it_is(budget: float) -> None:
    """However little time there is, what is returned was proved."""
    network = random_network(5)
    x = samples_of(network, 5, 1.0)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))
        label = classes(network, x)
        method = Ladder(network, Norm.L2, Limits(budget=budget), CLIMB, timed=True)
        bounds, walked = method(evaluation, label), method.walk(evaluation, label)
    assert bool((bounds.radius >= walked.radius).all())
    if budget == 0.0:
        assert set(bounds.rungs) == {"walk"}
    points = ball_points(network, x, label, Norm.L2, bounds.radius, 5)
    assert all(bool((classes(network, p) == label).all()) for p in points)


def test_neighbours_that_move_together_raise_radii() -> None:
    """On a flat sample all entries of a window are equal: boxes forget that they stay alike."""
    b = Builder((1, 1, 9, 9), np.random.default_rng(3), 1.0)
    k = b.add("MaxPool", [b.conv(0, 4, 2)], kernel_shape=[2, 2], strides=[2, 2])
    network = b.finish(b.flatten(k), 3)
    x = torch.zeros(1, *network.input_shape, dtype=torch.float64)
    with torch.no_grad():
        evaluation, label = Evaluation(network, network.run(x)), classes(network, x)
        lines, means = (
            Ladder(network, Norm.LINF, Limits(), rungs, timed=False)(evaluation, label).radius
            for rungs in ((RELAX,), (RELAX, DUAL))
        )
    assert bool((lines > 0).all() and (means > 1.1 * lines).all())


def test_entries_that_were_not_asked_for_do_not_spoil_an_excess() -> None:
    base = torch.tensor([[[[-1.0, torch.inf], [torch.inf, torch.inf]]]], dtype=torch.float64)
    excess = Excess(torch.ones_like(base), Linear(base, torch.ones_like(base)))
    found = excess.at(torch.tensor([0.5], dtype=torch.float64))
    assert 1.5 <= float(found[0, 0, 0]) < 1.5 + 1e-12 and float(found[0, 0, 1]) == -torch.inf
