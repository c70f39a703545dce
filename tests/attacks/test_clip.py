"""Attacks in a box: every point lies in it, and nothing is lost that a box does not forbid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attacks.attack_helpers import NORMS, assert_confirmed, linear, random_mlp, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.attacks import ATTACKS, attack, gradient_guided_points
from boundcert.clip import Clip

ALL = sorted(ATTACKS)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(2,), (1, 3), (1, 2, 2, 3)]),
    norm=st.sampled_from(NORMS),
    name=st.sampled_from(ALL),
    ends=st.sampled_from([(0.0, 1.0), (-0.1, 0.7), (-1.0, 1.0), (-1e3, 1e3)]),
)
def test_results_are_confirmed_points_of_the_box(seed, shape, norm, name, ends):
    net, clip = random_mlp(seed, int(np.prod(shape)), 4), Clip(*ends)
    x = clip.project(samples(seed, (5, *shape)))
    result = attack(net, net, x, net.label(x), norm, names=[name], clip=clip)
    assert_confirmed(net, x, norm, result)
    assert clip.holds(result.points[np.isfinite(result.upper)]).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALL)
def test_a_box_out_of_reach_changes_nothing(norm, name):
    net, x = random_mlp(7, 5, 4), samples(7, (9, 5))
    free, cut = (
        attack(net, net, x, net.label(x), norm, names=[name], clip=clip)
        for clip in (None, Clip(-1e6, 1e6))
    )
    np.testing.assert_allclose(cut.upper, free.upper, rtol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_entries_without_room_are_made_up_for_by_the_others(norm):
    """The steepest entry lies on the side of the box; the way leads along the other one."""
    net = linear(torch.tensor([[0.0, 0.0], [10.0, 1.0]]), torch.tensor([10.5, 0.0]))
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for name in ALL:
        result = attack(net, net, x, net.label(x), norm, names=[name], clip=Clip(0.0, 1.0))
        assert result.upper[0] == pytest.approx(0.5, rel=2e-3), name
    free = attack(net, net, x, net.label(x), norm, names=[name])
    assert free.upper[0] < 0.1


def test_where_the_box_holds_one_class_nothing_is_found():
    net = linear(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([2.5, 0.0]))
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    for norm in NORMS:
        result = attack(net, net, x, net.label(x), norm, names=ALL, clip=Clip(0.0, 1.0))
        assert np.isnan(result.upper).all()


def test_points_are_rounded_into_the_box():
    """Neither end is a float32, and the boundary lies between the end and the float32 outside."""
    clip = Clip(0.1, float(np.nextafter(0.7, 1.0)))
    for points in ([0.7, 0.1], [5.0, -5.0]):
        rounded = clip.rounded(np.array([points], dtype=np.float32))
        assert rounded.dtype == np.float32 and clip.holds(rounded).all()
    none = Clip(0.1, 0.1 + 1e-12)
    assert not none.holds(none.rounded(np.array([[0.1]], dtype=np.float32))).any()
    net = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([0.05, 0.0]))
    x = torch.full((1, 1), 0.1, dtype=torch.float64)
    result = attack(net, net, x, torch.ones(1, dtype=torch.int64), "l2", names=ALL, clip=none)
    assert np.isnan(result.upper).all()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(NORMS),
    size=st.sampled_from([0.0, 1e-12, 0.3, 1e3]),
)
def test_probes_stay_in_ball_and_box(seed, norm, size):
    net, clip = random_mlp(seed, 6, 3), Clip(-0.5, 1.0)
    x = clip.project(samples(seed, (3, 1, 6)))
    epsilon = torch.tensor([0.0, size, 2 * size], dtype=torch.float64)
    points = gradient_guided_points(net, x, net.label(x), norm, epsilon, 9, seed, clip)
    for batch in points:
        assert (norm.of_rows(batch - x) <= epsilon).all()
        assert clip.holds(batch.numpy()).all()
    if size == 1e3:
        assert any(((b == clip.low) | (b == clip.high)).all() for b in points[:, 2])
