"""On linear classifiers the smallest perturbation is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attacks.attack_helpers import (
    NORMS,
    assert_confirmed,
    exact_distance,
    linear,
    random_linear,
    samples,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.attacks import ATTACKS, attack
from boundcert.norms import Norm


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    dim=st.sampled_from([1, 2, 5, 30]),
    classes=st.sampled_from([2, 3, 7, 14]),
    norm=st.sampled_from(NORMS),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_deepfool_is_exact(seed, dim, classes, norm, scale):
    net = random_linear(seed, dim, classes, scale)
    x = samples(seed, (6, 1, dim), scale)
    exact = exact_distance(net, x, norm).numpy()
    result = attack(net, net, x, net.label(x), norm)
    assert_confirmed(net, x, norm, result)
    # One float32 rounding of every coordinate, and of the scores, over the flattest rival.
    noise = 2e-6 * scale * (1 if norm is Norm.LINF else dim) * max(1.0, 1 / _flattest(net, x, norm))
    assert (result.upper >= exact - noise).all()
    clear = exact > 0.01 * scale
    reachable = clear & np.isfinite(exact)
    if classes <= 11:  # else only ten rivals are linearised
        assert np.isfinite(result.upper[reachable]).all()
        assert (result.upper[reachable] <= exact[reachable] * (1 + 2e-4) + noise).all()


def _flattest(net, x, norm) -> float:
    jac = torch.autograd.functional.jacobian(lambda u: net.logits(u)[0], x[:1] * 0)
    w = jac.reshape(jac.shape[0], -1)
    pair = torch.linalg.vector_norm(w[:, None] - w[None], ord=norm.dual.p, dim=2)
    return float(pair[~torch.eye(len(w), dtype=torch.bool)].min())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [0.0, 60.0, 2000.0])
def test_fgs_is_exact_in_linf_on_binary_classifiers(seed, offset):
    """Also with margins at which a softmax saturates: 60 (one-sided gradient), 2000 (none)."""
    net = random_linear(seed, 8, 2)
    w = samples(seed, (2, 8))
    net = linear(w, torch.tensor([offset, 0.0], dtype=torch.float64))
    x = samples(seed + 50, (10, 8))
    exact = exact_distance(net, x, Norm.LINF).numpy()
    result = attack(net, net, x, net.label(x), "linf", names=["fgs"])
    assert_confirmed(net, x, Norm.LINF, result)
    np.testing.assert_allclose(result.upper, exact, rtol=3e-4, atol=3e-6)


@pytest.mark.parametrize("seed", range(3))
def test_fgv_is_exact_in_l2_on_binary_classifiers(seed):
    net, x = random_linear(seed, 8, 2), samples(seed, (10, 8))
    result = attack(net, net, x, net.label(x), "l2", names=["fgv"])
    exact = exact_distance(net, x, Norm.L2).numpy()
    np.testing.assert_allclose(result.upper, exact, rtol=3e-4, atol=3e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", sorted(ATTACKS))
@pytest.mark.parametrize("power", [-250, -160, 0, 160, 300])
def test_gradients_of_any_magnitude_are_followed(norm, name, power):
    w = samples(3, (2, 6)) * 10.0**power
    net, oracle = linear(w, torch.zeros(2).double()), linear(samples(3, (2, 6)), torch.zeros(2))
    x = samples(4, (5, 6))
    result = attack(net, oracle, x, oracle.label(x), norm, names=[name])
    exact = exact_distance(oracle, x, norm).numpy()
    slack = 1 if (name, norm) in _STEEPEST else 10
    assert (result.upper <= slack * exact * (1 + 1e-3) + 1e-5).all()
    assert (result.upper >= exact - 1e-5).all()


_STEEPEST = {("fgs", Norm.LINF), ("fgv", Norm.L2)} | {("deepfool", norm) for norm in NORMS}


@pytest.mark.parametrize("norm", NORMS)
def test_a_constant_network_has_no_upper_bound(norm):
    net = linear(torch.zeros(3, 4), torch.tensor([0.0, 1.0, 0.5]))
    x = samples(0, (3, 4))
    result = attack(net, net, x, net.label(x), norm, names=sorted(ATTACKS))
    assert np.isnan(result.upper).all() and result.attack == [None] * 3


def test_samples_at_the_origin_and_huge_margins():
    net = linear(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([3e4, 0.0]))
    x = torch.zeros(1, 2, dtype=torch.float64)
    for name in ATTACKS:
        result = attack(net, net, x, net.label(x), "linf", names=[name])
        np.testing.assert_allclose(result.upper, 1.5e4, rtol=2e-4)


def test_rivals_that_cancel_fall_back_to_the_margin():
    net = linear(torch.tensor([[0.0], [1.0], [-1.0]]), torch.tensor([1.0, 0.0, 0.0]))
    x = torch.zeros(1, 1, dtype=torch.float64)
    for name in ATTACKS:
        result = attack(net, net, x, net.label(x), "l2", names=[name])
        np.testing.assert_allclose(result.upper, 1.0, rtol=2e-4)
