"""The walk against everything that could refute it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_factory import (
    Builder,
    linear_network,
    random_network,
    run_from,
    smooth_mlp,
)

from boundcert.attacks import ATTACKS, gradient_guided_points
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.search import largest
from boundcert.bounds.walk import Plan, block_radius, plan, walk
from boundcert.network.graph import Network, Preprocess, append, put_in_front
from boundcert.norms import Norm

seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from(list(Norm))
factories = st.sampled_from([random_network, random_network, smooth_mlp])
weights = st.sampled_from([0.3, 1.0, 3.0])
inputs = st.sampled_from([1e-3, 1.0, 50.0])


def evaluated(network: Network, seed: int, scale: float, samples: int = 3):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed + 1)
    x = torch.from_numpy(rng.standard_normal((samples, *network.input_shape)) * scale)
    with torch.no_grad():
        values = network.run(x)
    label = values[-1].reshape(samples, -1).argmax(dim=1)
    return x, Evaluation(network, values), label


def certified(plan: Plan, evaluation: Evaluation, label: torch.Tensor):  # type: ignore[no-untyped-def]
    with torch.no_grad():
        return walk(plan, evaluation, label)


@settings(max_examples=120, deadline=None)
@given(make=factories, seed=seeds, weight=weights, scale=inputs, norm=norms)
def test_no_perturbation_inside_changes_the_class(make, seed, weight, scale, norm) -> None:  # type: ignore[no-untyped-def]
    network = make(seed, weight)
    x, evaluation, label = evaluated(network, seed, scale)
    radius = certified(plan(network, norm), evaluation, label).radius
    assert bool(torch.isfinite(radius).all()) and bool((radius >= 0).all())
    points = gradient_guided_points(network, x, label, norm, radius * (1 - 1e-9), 8, seed % 1000)
    for batch in points:
        z = network.logits(batch)
        mine = z.gather(1, label[:, None])[:, 0]
        # a tie at the boundary itself is within the rounding of this evaluation
        behind = z.amax(dim=1) - mine
        assert not bool((behind > 1e-11 * z.abs().amax(dim=1)).any())


@settings(max_examples=60, deadline=None)
@given(make=factories, seed=seeds, weight=weights, scale=inputs, norm=norms)
def test_never_above_an_attack(make, seed, weight, scale, norm) -> None:  # type: ignore[no-untyped-def]
    network = make(seed, weight)
    x, evaluation, label = evaluated(network, seed, scale)
    radius = certified(plan(network, norm), evaluation, label).radius
    points = ATTACKS["deepfool"].minimize(network, x, label, norm)
    with torch.no_grad():
        changed = network.logits(torch.nan_to_num(points)).argmax(dim=1) != label
    distance = norm.of_rows(points - x)
    found = changed & torch.isfinite(distance)
    assert not bool((found & (radius > distance * (1 + 1e-9))).any())


@settings(max_examples=60, deadline=None)
@given(make=factories, seed=seeds, weight=weights, scale=inputs, norm=norms)
def test_samples_do_not_know_of_each_other(make, seed, weight, scale, norm) -> None:  # type: ignore[no-untyped-def]
    """Passes and searches go on for some samples of a batch only: none may get another's."""
    network = make(seed, weight)
    x, evaluation, label = evaluated(network, seed, scale, samples=5)
    ready = plan(network, norm)
    together = certified(ready, evaluation, label).kappa
    for k in range(5):
        with torch.no_grad():
            alone = Evaluation(network, network.run(x[k : k + 1]))
        kappa = certified(ready, alone, label[k : k + 1]).kappa[0]
        np.testing.assert_allclose(together[k], kappa, rtol=1e-6)


@given(seed=seeds, power=st.sampled_from([0.5, 1.0, 2.0, 9.0]))
def test_largest_radius_was_evaluated(seed, power) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    factor, limit, start = (torch.from_numpy(rng.exponential(size=6) ** 3) for _ in range(3))
    limit[0], start[1] = 0.0, torch.inf
    tried: list[set[float]] = [set() for _ in range(6)]

    def bound(rows: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        for k, radius in zip(rows.tolist(), rho.tolist()):
            tried[k].add(radius)
        return factor[rows] * rho**power

    found = largest(bound, limit, start, steps=40)
    assert found[0] == found[1] == 0
    for k in range(2, 6):
        assert float(found[k]) in tried[k]
        assert float(factor[k] * found[k] ** power) <= float(limit[k])
        root = (limit[k] / factor[k]) ** (1 / power)
        assert float(found[k]) == pytest.approx(float(root), rel=1.2e-3 * max(1 / power, 1))


@settings(max_examples=60, deadline=None)
@given(make=factories, seed=seeds, weight=weights, norm=norms)
def test_kappa_at_every_cut_is_harmless(make, seed, weight, norm) -> None:  # type: ignore[no-untyped-def]
    """Not only the input: the value at every cut point may move by its κ."""
    network = make(seed, weight)
    _, evaluation, label = evaluated(network, seed, 1.0)
    ready = plan(network, norm)
    kappa = certified(ready, evaluation, label).kappa
    starts = [b.entry for b in ready.blocks] + [ready.head.start]
    rng = np.random.default_rng(seed)
    for column, k in enumerate(starts):
        value = evaluation.values[k]
        for trial in range(4):
            q = torch.from_numpy(rng.standard_normal(value.shape))
            q = torch.sign(q) if trial == 1 else q * (torch.rand_like(q) < 0.3) if trial == 2 else q
            size = norm.of_rows(q)
            radius = torch.where(torch.isfinite(kappa[:, column]), kappa[:, column], 0.0)
            factor = torch.where(size > 0, radius * (1 - 1e-9) / size, 0.0)
            z = run_from(
                network, evaluation.values, k, value + q * factor.reshape(-1, *[1] * (q.dim() - 1))
            )
            behind = z.amax(dim=1) - z.gather(1, label[:, None])[:, 0]
            assert not bool((behind > 1e-11 * z.abs().amax(dim=1)).any())


#: Exact in a product.
FAR = 2.0**40


@settings(max_examples=80, deadline=None)
@given(seed=seeds, weight=st.sampled_from([1e-8, 1.0, 1e8]), scale=inputs, norm=norms)
def test_exact_on_linear_networks(seed: int, weight: float, scale: float, norm: Norm) -> None:
    network = linear_network(seed, weight)
    x, evaluation, label = evaluated(network, seed, scale)
    radius = certified(plan(network, norm), evaluation, label).radius
    eye = torch.eye(x[0].numel(), dtype=torch.float64).reshape(-1, *network.input_shape)
    zero = network.logits(torch.zeros_like(eye[:1]))
    # far out, where biases do not swallow weights
    w = ((network.logits(FAR * eye) - zero) / FAR).T.numpy()
    for s in range(len(x)):
        c, z = int(label[s]), evaluation.values[-1][s].reshape(-1).numpy()
        others = [j for j in range(len(z)) if j != c]
        q = norm.dual.p
        exact = min((z[c] - z[j]) / np.linalg.norm(w[c] - w[j], q) for j in others)
        # the map is computed from differences here, so near-ties lose digits
        assert float(radius[s]) == pytest.approx(exact, rel=1e-6, abs=1e-13 * abs(z).max())


@settings(max_examples=40, deadline=None)
@given(seed=seeds, weight=weights, norm=norms)
def test_one_dimensional_inputs_by_dense_search(seed: int, weight: float, norm: Norm) -> None:
    rng = np.random.default_rng(seed)
    b = Builder((1, 1), rng, weight)
    k = 0
    for _ in range(int(rng.integers(1, 4))):
        k = b.activation(b.dense(k, int(rng.integers(1, 8))))
    network = b.finish(k, 3)
    x, evaluation, label = evaluated(network, seed, 1.0, samples=1)
    radius = float(certified(plan(network, norm), evaluation, label).radius[0])
    reach = torch.linspace(-1, 1, 4001, dtype=torch.float64)[:, None, None] * (radius * 3 + 1e-9)
    changed = network.logits(x + reach).argmax(dim=1) != label[0]
    if bool(changed.any()):
        assert radius <= float(reach[changed].abs().min()) * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(make=factories, seed=seeds, norm=norms, factor=st.sampled_from([1e-6, 0.25, 3.0, 1e6]))
def test_scaling_the_input_scales_the_radius(make, seed, norm, factor) -> None:  # type: ignore[no-untyped-def]
    network = make(seed, 1.0)
    ones = np.ones([1] * len(network.input_shape))
    # both behind a normalisation: which blocks are expanded depends on the layers there are
    network_1 = put_in_front(network, Preprocess(0 * ones, ones))
    x, evaluation, label = evaluated(network_1, seed, 1.0)
    base = certified(plan(network_1, norm), evaluation, label).radius
    scaled = put_in_front(network, Preprocess(0 * ones, factor * ones))
    with torch.no_grad():
        values = scaled.run(x * factor)
    same = certified(plan(scaled, norm), Evaluation(scaled, values), label).radius
    assert np.allclose(same.numpy(), base.numpy() * factor, rtol=1e-2, atol=1e-13 * factor)


@settings(max_examples=30, deadline=None)
@given(make=factories, seed=seeds, norm=norms, weight=st.sampled_from([1e-60, 1e-12, 1e12, 1e150]))
def test_hostile_weights_certify_nothing_false(make, seed, norm, weight) -> None:  # type: ignore[no-untyped-def]
    network = make(seed, weight)
    x, evaluation, label = evaluated(network, seed, 1.0)
    if not bool(torch.isfinite(evaluation.values[-1]).all()):
        radius = certified(plan(network, norm), evaluation, label).radius
        broken = ~torch.isfinite(evaluation.values[-1].flatten(1)).all(dim=1)
        assert bool((radius[broken] == 0).all())
        return
    radius = certified(plan(network, norm), evaluation, label).radius
    points = gradient_guided_points(network, x, label, norm, radius * (1 - 1e-9), 4, 0)
    for batch in points:
        z = network.logits(batch)
        mine = z.gather(1, label[:, None])[:, 0]
        behind = z.amax(dim=1) - mine
        assert not bool((behind > 1e-9 * z.abs().amax(dim=1)).any())


def test_ties_and_broken_values_certify_nothing() -> None:
    b = Builder((1, 2), np.random.default_rng(0))
    k = b.add("Gemm", [0], (1, 2), [np.ones((2, 2)), np.zeros(2)])
    network = Network((*b.nodes,), linear_network(0).source)
    for x in (
        torch.zeros(1, 1, 2),
        torch.full((1, 1, 2), torch.nan),
        torch.full((1, 1, 2), torch.inf),
    ):
        values = network.run(x.double())
        for norm in Norm:
            result = certified(plan(network, norm), Evaluation(network, values), torch.tensor([0]))
            assert float(result.radius[0]) == 0.0
    assert k == 1


def test_the_other_norms_use_the_euclidean_walk() -> None:
    """ℓ1 radii are never below ℓ2 radii, nor ℓ∞ radii below those over √n."""
    gained = False
    for seed in range(8):
        network = random_network(seed, 1.0)
        _, evaluation, label = evaluated(network, seed, 1.0)
        radius = {n: certified(plan(network, n), evaluation, label).radius for n in Norm}
        root = float(np.sqrt(np.prod(network.input_shape)))
        assert bool((radius[Norm.L1] >= radius[Norm.L2] * (1 - 1e-12)).all())
        assert bool((radius[Norm.LINF] >= radius[Norm.L2] / root * (1 - 1e-12)).all())
        alone = dataclasses.replace(plan(network, Norm.L1), euclidean=None)
        bare = certified(alone, evaluation, label).radius
        gained = gained or bool((radius[Norm.L1] > bare * 1.5).any())
    assert gained


@pytest.mark.parametrize("rule", ["expanded", "smooth"])
def test_the_local_rules_pay(rule: str) -> None:
    """Expansion and FC-Taylor each beat the product of gains somewhere, and never lose to it."""
    gained = False
    for seed in range(6):
        b = Builder((1, 20), np.random.default_rng(seed))
        k = b.activation(b.dense(0, 30), ["Tanh"] if rule == "smooth" else ["Relu"])
        network = b.finish(
            b.activation(b.dense(k, 30), ["Tanh" if rule == "smooth" else "Relu"]), 5
        )
        _, evaluation, label = evaluated(network, seed, 1.0)
        full = plan(network, Norm.L2)
        assert full.euclidean is None
        bare = dataclasses.replace(full, expanded=frozenset(), smooth=None)
        one = dataclasses.replace(bare, **{rule: getattr(full, rule)})
        with_rule = certified(one, evaluation, label).radius
        without = certified(bare, evaluation, label).radius
        assert bool((with_rule >= without * (1 - 1e-12)).all())
        gained = gained or bool((with_rule > without * 1.05).any())
    assert gained


def test_taylor_is_tight_where_the_gradient_vanishes() -> None:
    """Symmetric bump: m(r) = w(tanh(Kr+b) + tanh(−Kr+b)) − c has m'(0) = 0, so the radius is all
    remainder; with b at the peak of |tanh″| the bound ½‖g‖Λr² is exact to second order."""
    k, b0 = 1.0, 0.6584789
    b = Builder((1, 1), np.random.default_rng(0))
    weights = [np.array([[k, -k]]), np.array([b0, b0])]
    h = b.add("Tanh", [b.add("Gemm", [0], (1, 2), weights)])
    w = np.array([[1.0, 0.0], [1.0, 0.0]])
    for gap in (1e-4, 1e-2, 0.1):
        c = 2 * np.tanh(b0) - gap
        nodes = list(b.nodes)
        b.add("Gemm", [h], (1, 2), [w, np.array([0.0, c])])
        network = Network(append(b.nodes, "max"), linear_network(0).source)
        b.nodes[:] = nodes
        x = torch.zeros(1, 1, 1, dtype=torch.float64)
        values = network.run(x)
        result = certified(plan(network, Norm.L2), Evaluation(network, values), torch.tensor([0]))
        r = torch.linspace(0, 3, 300001, dtype=torch.float64).reshape(-1, 1, 1)
        lost = network.logits(r).argmax(dim=1) == 1
        true = float(r.reshape(-1)[lost].min())
        assert 0.7 * true <= float(result.radius[0]) <= true


def test_rivals_left_out_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expansion sees only the nearest rivals; a farther one must still bound the radius."""
    from boundcert.bounds import tail

    monkeypatch.setattr(tail, "RIVALS", 1)
    b = Builder((1, 2), np.random.default_rng(0))
    h = b.add("Relu", [b.add("Gemm", [0], (1, 2), [np.eye(2), np.array([-10.0, 1.0])])])
    # label: constant 1; rival A hangs on a dead neuron; rival B is reached at distance 1.05
    b.add("Gemm", [h], (1, 3), [np.array([[0.0, 1, 0], [0, 0, 1]]), np.array([1.0, 0, -1.05])])
    network = Network(append(b.nodes, "max"), linear_network(0).source)
    x = torch.zeros(1, 1, 2, dtype=torch.float64)
    values = network.run(x)
    radius = certified(
        plan(network, Norm.L2), Evaluation(network, values), torch.tensor([0])
    ).radius
    assert 1.0 <= float(radius[0]) <= 1.05


def test_underflow_in_second_order_terms_certifies_nothing_false() -> None:
    """Found by the hostile-weights test: Λ of this network underflows to 0 (weights near 1e-60)."""
    network = smooth_mlp(47, 1e-60)
    x, evaluation, label = evaluated(network, 47, 1.0)
    radius = certified(plan(network, Norm.LINF), evaluation, label).radius
    for batch in gradient_guided_points(network, x, label, Norm.LINF, radius * (1 - 1e-9), 8, 0):
        assert bool((network.logits(batch).argmax(dim=1) == label).all())


@pytest.mark.parametrize(("gain", "expected"), [(0.0, np.inf), (np.nan, 0.0), (np.inf, 0.0)])
def test_broken_gains_prove_nothing(
    monkeypatch: pytest.MonkeyPatch, gain: float, expected: float
) -> None:
    """A constant layer stops everything, if anything is proved behind it; nan and inf never do."""
    b = Builder((1, 3), np.random.default_rng(0))
    network = b.finish(b.add("Softmax", [b.dense(0, 4)], axis=1), 2)
    _, evaluation, _ = evaluated(network, 0, 1.0, samples=2)
    ready = plan(network, Norm.L2)
    block = next(k for k in ready.blocks if len(k.nodes) == 1)
    monkeypatch.setattr(type(evaluation.layer(block.exit)), "gain", lambda self, norm: gain)
    radius = block_radius(ready, evaluation, block, torch.tensor([1.0, 0.0]).double())
    assert radius.tolist() == [expected, 0.0]
