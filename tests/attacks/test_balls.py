"""Fixed-size attacks and probes stay in the ball and go where they should."""

from __future__ import annotations

import pytest
import torch
from attacks.attack_helpers import NORMS, exact_distance, linear, random_linear, random_mlp, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.attacks import ATTACKS, FixedEpsilonAttack, gradient_guided_points
from boundcert.attacks.direction import minimize_by_search
from boundcert.attacks.geometry import steepest, step_within, unit
from boundcert.attacks.gradients import changed
from boundcert.attacks.registry import candidates
from boundcert.errors import UsageError
from boundcert.norms import Norm

FIXED = sorted(name for name, entry in ATTACKS.items() if isinstance(entry, FixedEpsilonAttack))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(NORMS),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    size=st.sampled_from([0.0, 1e-300, 1e-12, 1e-3, 1.0, 1e9]),
)
def test_steps_stay_inside_and_reach_the_sphere(seed, norm, scale, size):
    x, w = samples(seed, (4, 2, 9), scale), samples(seed + 1, (4, 2, 9))
    epsilon = torch.full((4,), size * scale, dtype=torch.float64)
    for direction in (unit(w, norm), steepest(w, norm)):
        length = norm.of_rows(step_within(x, direction, norm, epsilon) - x)
        assert (length <= epsilon).all()
        if size >= 1e-3:
            assert (length >= epsilon * (1 - 1e-9)).all()


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [0.0, 1e-9, 0.1, 5.0])
def test_fixed_size_attacks_respect_the_ball(name, norm, size):
    net, x = random_mlp(2, 8, 3), samples(2, (6, 1, 8))
    entry = ATTACKS[name]
    assert isinstance(entry, FixedEpsilonAttack)
    epsilon = torch.full((6,), size, dtype=torch.float64)
    length = norm.of_rows(entry.perturb(net, x, net.label(x), norm, epsilon) - x)
    assert (length <= epsilon).all() and (length >= epsilon * (1 - 1e-6) - 1e-15).all()


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("norm", NORMS)
def test_a_fixed_size_attack_can_be_searched_afresh(name, norm):
    """The generic search and the attack's own, which keeps its direction, agree."""
    net, x = random_mlp(2, 8, 3), samples(2, (6, 8))
    entry, label = ATTACKS[name], net.label(x)
    generic = minimize_by_search(entry, net, x, label, norm)
    own = entry.minimize(net, x, label, norm)
    torch.testing.assert_close(generic, own, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert own.isfinite().any()


def test_a_new_attack_needs_only_the_fixed_size_contract():
    class Rightwards(FixedEpsilonAttack):
        name = "rightwards"

        def perturb(self, victim, x, label, norm, epsilon):
            return step_within(x, torch.ones_like(x), norm, epsilon)

    net = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([2.5, 0.0]))
    x = torch.ones(1, 1, dtype=torch.float64)
    found = candidates(Rightwards(), net, x, net.label(x), Norm.L2)
    assert found.item() == pytest.approx(2.5, rel=2e-3) and found.item() >= 2.5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("entry", [5e-324, 1e-200, 1.5e308])
def test_vectors_at_the_ends_of_the_range_are_scaled_to_one(norm, entry):
    length = norm.of_rows(unit(torch.full((2, 6), entry, dtype=torch.float64), norm))
    torch.testing.assert_close(length, torch.ones(2, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), norm=st.sampled_from(NORMS), power=st.sampled_from([-300, 0, 300])
)
def test_steepest_attains_hoelders_bound(seed, norm, power):
    w = samples(seed, (5, 3, 4))
    best = steepest(w * 10.0**power, norm)
    torch.testing.assert_close(norm.of_rows(best), torch.ones(5, dtype=torch.float64))
    gain = (w * best).reshape(5, -1).sum(dim=1)
    torch.testing.assert_close(gain, norm.dual.of_rows(w))
    assert (steepest(torch.zeros(2, 3), norm) == 0).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(NORMS),
    size=st.sampled_from([0.0, 1e-12, 0.3, 1e3]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_probes_stay_in_the_ball(seed, norm, size, scale):
    net, x = random_mlp(seed, 6, 3), samples(seed, (3, 1, 6), scale)
    epsilon = torch.tensor([0.0, size, 2 * size], dtype=torch.float64)
    points = gradient_guided_points(net, x, net.label(x), norm, epsilon, 9, seed)
    again = gradient_guided_points(net, x, net.label(x), norm, epsilon, 9, seed)
    assert points.shape == (9, 3, 1, 6) and points.isfinite().all() and torch.equal(points, again)
    for batch in points:
        assert (norm.of_rows(batch - x) <= epsilon).all()
    if size == 0.3 and scale == 1.0:
        spread = torch.stack([norm.of_rows(batch - x)[2] for batch in points])
        assert (spread > 0.6 * (1 - 1e-9)).sum() >= 4 and (points[0] != points[4]).any()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(4))
def test_probes_find_every_boundary_just_inside_the_ball_of_a_linear_classifier(norm, seed):
    net, x = random_linear(seed, 6, 4), samples(seed, (8, 6))
    exact, label = exact_distance(net, x, norm), net.label(x)
    outside = gradient_guided_points(net, x, label, norm, exact * 1.001, 12, seed)
    assert torch.stack([changed(net, p, label) for p in outside]).any(dim=0).all()
    inside = gradient_guided_points(net, x, label, norm, exact * 0.999, 12, seed)
    assert not torch.stack([changed(net, p, label) for p in inside]).any()


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_probes_refuse_impossible_radii(bad):
    net, x = random_mlp(0, 2, 2), samples(0, (1, 2))
    with pytest.raises(UsageError, match="epsilon"):
        gradient_guided_points(net, x, net.label(x), Norm.L2, torch.tensor([bad]).double(), 2, 0)
