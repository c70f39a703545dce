"""Bounds for a runtime in some arithmetic, against one that errs wherever it may."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bounds.frame_checks import assert_values_hold, classes, least_margins, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network_factory import Builder, random_network, smooth_mlp
from runtime_model import erring_values

from boundcert.attacks import gradient_guided_points
from boundcert.bounds.deployed import errors_over, widened_clip, within_type
from boundcert.bounds.frame import Frame
from boundcert.bounds.methods import About, Limits
from boundcert.bounds.primitives import Primitive, primitives
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.relax import RELAX, Ladder
from boundcert.bounds.walk import Walk
from boundcert.clip import Clip
from boundcert.layers.arithmetic import FLOAT32, FLOAT64, Arithmetic
from boundcert.layers.relaxation import Box
from boundcert.network.graph import Network
from boundcert.norms import Norm
from examples import examples

SAMPLES = 3
#: So coarse that errors are as large as perturbations, and a bound that forgets one is found out.
COARSE = Arithmetic("float32", 2.0**-9, 1e-30, 1e30)

seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from(list(Norm))
factories = st.sampled_from([random_network, random_network, smooth_mlp])
weights = st.sampled_from([0.3, 1.0, 3.0])
kinds = st.sampled_from([COARSE, FLOAT32])


def samples_of(network: Network, seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed % 2**31)
    return torch.randn(SAMPLES, *network.input_shape, generator=random, dtype=torch.float64)


@settings(max_examples=examples(25), deadline=None)
@given(
    make=factories,
    seed=seeds,
    weight=weights,
    size=st.sampled_from([1e-4, 1e-2, 0.1]),
    norm=norms,
    kind=kinds,
    ball=st.booleans(),
    means=st.booleans(),
    steps=st.sampled_from([0, 0, 3]),
)
def test_boxes_and_margins_hold_for_the_values_a_runtime_may_compute(  # type: ignore[no-untyped-def]
    make, seed, weight, size, norm, kind, ball, means, steps
) -> None:
    network = make(seed, weight)
    x, small = samples_of(network, seed), primitives(network)
    label, eps = classes(network, x), torch.full((SAMPLES,), size, dtype=torch.float64)
    with torch.no_grad():
        problem = problem_of(network, norm, x, arithmetic=kind)
        whole = Frame.build(problem, eps, ball=ball, means=means, steps=steps)
        for frame in (whole, whole.tightened(eps * 0.6)):
            errors, lower = _of_old_nodes(small, frame), least_margins(frame, label)
            points = gradient_guided_points(network, x, label, norm, frame.eps * (1 - 1e-9), 3, 1)
            for point in [x, *points]:
                for values in erring_values(network, point, label, errors, seed):
                    here = {new: values[k] for k, new in enumerate(small.origin) if new >= 0}
                    assert_values_hold(frame, label, lower, here)


def _of_old_nodes(primitive: Primitive, frame: Frame) -> dict[int, torch.Tensor]:
    """A frame's errors by the nodes that the primitive network was made of."""
    own = frame.errors.own
    return {k: own[new] for k, new in enumerate(primitive.origin) if new in own}


@settings(max_examples=examples(30), deadline=None)
@given(make=factories, seed=seeds, weight=weights, norm=norms, kind=kinds)
def test_no_error_of_a_runtime_changes_the_class_within_the_walk(  # type: ignore[no-untyped-def]
    make, seed, weight, norm, kind
) -> None:
    network = make(seed, weight)
    x = samples_of(network, seed)
    with torch.no_grad():
        evaluation, label = Evaluation(network, network.run(x)), classes(network, x)
        exact = Walk(network, norm)(evaluation, label).radius
        radius = Walk(network, norm, kind)(evaluation, label).radius
        errors = errors_over(evaluation, radius, norm, kind)
    assert bool((radius <= exact).all())
    _assert_keeps_class(network, x, label, norm, radius, errors, seed)


def _assert_keeps_class(network, x, label, norm, radius, errors, seed) -> None:  # type: ignore[no-untyped-def]
    points = gradient_guided_points(network, x, label, norm, radius * (1 - 1e-9), 3, seed % 1000)
    for point in [x, *points]:
        for values in erring_values(network, point, label, errors, seed):
            z = values[-1].reshape(len(x), -1)
            behind = z.amax(dim=1) - z.gather(1, label[:, None])[:, 0]
            wrong = behind > 1e-11 * z.abs().amax(dim=1)
            assert not bool((wrong & (radius > 0)).any())


@settings(max_examples=examples(15), deadline=None)
@given(make=factories, seed=seeds, weight=weights, norm=norms, kind=kinds)
def test_no_error_of_a_runtime_changes_the_class_within_relax(  # type: ignore[no-untyped-def]
    make, seed, weight, norm, kind
) -> None:
    network = make(seed, weight)
    x = samples_of(network, seed)
    ladder = Ladder(network, norm, Limits(), (RELAX,), False, About(arithmetic=kind))
    with torch.no_grad():
        evaluation, label = Evaluation(network, network.run(x)), classes(network, x)
        radius = ladder(evaluation, label).radius
        errors = errors_over(evaluation, radius, norm, kind)
        if ladder.primitive is not None:
            frame = Frame.build(problem_of(network, norm, x, arithmetic=kind), radius)
            found = _of_old_nodes(ladder.primitive, frame)
            errors = {k: torch.fmin(e, found.get(k, e)) for k, e in errors.items()}
    _assert_keeps_class(network, x, label, norm, radius, errors, seed)


@settings(max_examples=examples(60), deadline=None)
@given(seed=seeds, norm=norms, scale=st.sampled_from([1e-40, 1e-3, 1.0, 1e7]))
def test_rounding_a_perturbed_sample_stays_within_what_was_proved(seed, norm, scale) -> None:  # type: ignore[no-untyped-def]
    random = torch.Generator().manual_seed(seed % 2**31)
    x, move = (torch.randn(4, 9, generator=random, dtype=torch.float64) for _ in range(2))
    x = x * scale
    for share in (1e-7, 1e-6, 1e-3):
        proved = norm.of_rows(x) * share
        radius = within_type(proved, x, norm, FLOAT32)
        point = x + move / norm.of_rows(move)[:, None] * (radius * (1 - 1e-12))[:, None]
        for read in (point.float().double(), torch.where(point.abs() < 2.0**-126, 0.0, point)):
            apart = norm.of_rows(read - x)
            assert bool(((apart <= proved) | (radius == 0)).all())


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("seed", [17, 32])
def test_the_input_moves_no_further_than_errors_are_known(seed: int, norm: Norm) -> None:
    """Where the second walk's search comes out above the first one's."""
    network = random_network(seed)
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(4, *network.input_shape, generator=random, dtype=torch.float64)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))
        bounds = Walk(network, norm, FLOAT64)(evaluation, classes(network, x))
    assert bool((bounds.radius > 0).any())
    assert bool(((bounds.kappa[:, 0] <= bounds.radius) | (bounds.radius == 0)).all())


@settings(max_examples=examples(60), deadline=None)
@given(ends=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)))
def test_a_range_holds_its_rounded_numbers(ends: tuple[float, float]) -> None:
    low, high = min(ends), max(ends)
    if low < high:
        wide = widened_clip(Clip(low, high), FLOAT32)
        assert wide is not None
        assert wide.low <= float(np.float32(low)) and float(np.float32(high)) <= wide.high


@pytest.mark.parametrize("norm", list(Norm))
def test_fine_arithmetic_costs_little_and_coarse_arithmetic_everything(norm: Norm) -> None:
    network = smooth_mlp(3, 1.0)
    x = samples_of(network, 3)
    radii = []
    for unit in (2.0**-53, 2.0**-24, 0.2):
        about = About(arithmetic=Arithmetic("float32", unit, 1e-300, 1e300))
        with torch.no_grad():
            values = network.run(x)
            ladder = Ladder(network, norm, Limits(), (RELAX,), False, about)
            radii.append(ladder(Evaluation(network, values), classes(network, x)).radius)
    assert bool((radii[1] > 0.999 * radii[0]).all()) and bool((radii[0] > 0).all())
    assert bool((radii[2] == 0).all())


def test_nothing_is_said_of_samples_that_may_overflow() -> None:
    x = torch.tensor([[3.6e38, 4e38], [1e30, 2e30]], dtype=torch.float64)
    proved = torch.full((2,), 1e38, dtype=torch.float64)
    for norm in Norm:
        radius = within_type(proved, x, norm, FLOAT32)
        assert radius[0] == 0 and 0.5 * FLOAT32.largest < radius[1] < FLOAT32.largest


def test_a_bias_that_is_flushed_may_have_been_multiplied_up() -> None:
    b = Builder((1, 1), np.random.default_rng(0))
    parts = [np.array([[0.0, 1.0]]), np.array([1e-39, 0.0])]
    layer = b.nodes[b.add("Gemm", [0], (1, 2), parts, beta=1e38)].layer
    point = torch.zeros(1, 1, 1, dtype=torch.float64)
    assert layer is not None
    error = layer.runtime_error(FLOAT32, Box(point, point, point))
    assert error is not None and bool((error >= 0.1).all())
