"""The runner: confirmation, chunks, bookkeeping, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attacks.attack_helpers import NORMS, Net, assert_confirmed, linear, random_mlp, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.attacks import ATTACKS, attack, gradient_guided_points
from boundcert.errors import UsageError

ALL = sorted(ATTACKS)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(2,), (1, 3), (1, 2, 2, 3)]),
    norm=st.sampled_from(NORMS),
    names=st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique=True),
)
def test_results_on_networks_are_confirmed_and_the_best_is_kept(seed, shape, norm, names):
    net = random_mlp(seed, int(np.prod(shape)), 4)
    x = samples(seed, (5, *shape))
    label = net.label(x)
    result = attack(net, net, x, label, norm, names=names)
    assert_confirmed(net, x, norm, result)
    single = np.stack([attack(net, net, x, label, norm, names=[n]).upper for n in names])
    best = np.where(np.isnan(single).all(0), np.nan, np.nanmin(np.nan_to_num(single, nan=9e99), 0))
    np.testing.assert_array_equal(result.upper, best)
    for i, name in enumerate(result.attack):
        assert name is None or single[names.index(name), i] == result.upper[i]


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_finds_nearly_every_sample_of_a_network(norm):
    net, x = random_mlp(5, 6, 3), samples(5, (60, 6))
    result = attack(net, net, x, net.label(x), norm)
    assert np.isfinite(result.upper).mean() > 0.9


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALL)
def test_no_sample_depends_on_its_batch(norm, name):
    net, x = random_mlp(7, 5, 4), samples(7, (9, 5))
    label, seen = net.label(x), []
    whole = attack(net, net, x, label, norm, names=[name])
    parts = attack(net, net, x, label, norm, names=[name], chunk=4, progress=seen.append)
    assert seen == [4, 4, 1]
    np.testing.assert_allclose(parts.upper, whole.upper, rtol=1e-3)
    order = torch.tensor([8, 2, 5, 0])
    some = attack(net, net, x[order], label[order], norm, names=[name])
    np.testing.assert_allclose(some.upper, whole.upper[order.numpy()], rtol=1e-3)


@pytest.mark.parametrize("norm", NORMS)
def test_the_result_cannot_be_pulled_back_further(norm):
    net, x = random_mlp(11, 5, 4), samples(11, (20, 5))
    result = attack(net, net, x, net.label(x), norm)
    found = np.isfinite(result.upper)
    inner = x.numpy() + (result.points - x.numpy()) * 0.998
    back = net.classify(inner[found].astype(np.float32)) == net.label(x).numpy()[found]
    assert found.any() and back.all()


def test_only_the_oracle_decides():
    """The oracle's boundary lies 5 % beyond the victim's: what counts is the oracle's."""
    weight = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    victim = linear(weight, torch.zeros(2).double())
    oracle = linear(weight, torch.tensor([0.1, 0.0]))
    x = torch.ones(1, 1, dtype=torch.float64)
    for name in ALL:
        result = attack(victim, oracle, x, victim.label(x), "l2", names=[name])
        np.testing.assert_allclose(result.upper, 1.05, rtol=2e-4)


def test_an_oracle_that_never_agrees_gives_nothing():
    victim = random_mlp(1, 3, 3)
    oracle = Net(lambda x: torch.ones(len(x), 1) * torch.tensor([0.0, 1.0]))
    x = samples(1, (4, 3))
    result = attack(victim, oracle, x, victim.label(x), "l2", names=ALL)
    assert np.isnan(result.upper).all() and np.isnan(result.points).all()


def test_the_oracle_never_sees_infinities_or_nan():
    """The class changes at 1e39 only, beyond float32: no result, and no overflow shown."""
    seen: list[np.ndarray] = []
    net = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([1e39, 0.0], dtype=torch.float64))

    class Watching:
        def classify(self, x):
            seen.append(x.copy())
            return np.zeros(len(x), dtype=np.int64)

    x = torch.full((1, 1), 1e35, dtype=torch.float64)
    result = attack(net, Watching(), x, net.label(x), "l2", names=ALL)
    assert np.isnan(result.upper).all() and np.isfinite(np.concatenate(seen)).all()


def test_nan_scores_are_not_a_class_change():
    """The slope leads past x = 1, where the second score is NaN (argmax would name it)."""
    victim = Net(lambda x: torch.stack([x[:, 0] * 0 + 1, -torch.sqrt(1 - x[:, 0])], dim=1))
    oracle = linear(torch.tensor([[0.0], [1.0]]), torch.tensor([2.0, 0.0]))  # changes at 2
    x = torch.full((1, 1), 0.5, dtype=torch.float64)
    result = attack(victim, oracle, x, victim.label(x), "l2", names=ALL)
    assert np.isnan(result.upper).all()


def test_an_input_that_float32_cannot_hold_is_measured_as_given():
    net = linear(torch.tensor([[1.0], [-1.0]]), torch.zeros(2))
    x = torch.full((1, 1), 1 / 3, dtype=torch.float64)
    result = attack(net, net, x, net.label(x), "l1")
    assert_confirmed(net, x, NORMS[0], result)


def test_samples_closer_to_the_boundary_than_float32_resolves_are_still_found():
    net = linear(torch.tensor([[1.0], [-1.0]]), torch.tensor([-1e4, 1e4]))
    x = torch.full((1, 1), 1e4, dtype=torch.float64)
    label = torch.zeros(1, dtype=torch.int64)
    result = attack(net, net, x + 2**-10, label, "l2")
    assert 0 < result.upper[0] < 0.1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("bias", "at"), [(0.0, 0.0), (2.0, 1.0), (2000.0, 1000.0)])
def test_samples_on_the_boundary_are_found(norm, name, bias, at):
    net = linear(torch.tensor([[1.0, 0.5], [-1.0, -0.5]]), torch.tensor([0.0, bias]))
    x = torch.tensor([[at, 0.0]], dtype=torch.float64)
    result = attack(net, net, x, net.label(x), norm, names=[name])
    assert_confirmed(net, x, norm, result)
    assert 0 < result.upper[0] < 1e-5 * max(at, 1.0)


@pytest.mark.parametrize("norm", NORMS)
def test_deepfool_steps_over_what_float32_scores_cannot_tell_apart(norm):
    net = linear(torch.tensor([[1.0], [-1.0]]), torch.tensor([1e4, 1e4 + 2]))
    x = torch.ones(1, 1, dtype=torch.float64)
    result = attack(net, net, x, net.label(x), norm)
    assert_confirmed(net, x, norm, result)
    assert 0 < result.upper[0] < 1e-2


@pytest.mark.parametrize("norm", NORMS)
def test_the_oracle_is_asked_only_a_few_times(norm):
    """The victim does most of the pulling back: the oracle may be slow."""
    net, x = random_mlp(7, 5, 4), samples(7, (50, 5))
    count = 0

    class Counting:
        def classify(self, x):
            nonlocal count
            count += len(x)
            return net.classify(x)

    attack(net, Counting(), x, net.label(x), norm)
    assert count <= 50 * 9


def test_an_empty_batch():
    net, x = random_mlp(0, 3, 3), torch.zeros(0, 3, dtype=torch.float64)
    result = attack(net, net, x, torch.zeros(0, dtype=torch.int64), "l2")
    assert result.upper.shape == (0,) and result.points.shape == (0, 3) and result.attack == []


class _Bad:
    def __init__(self, answer):
        self.answer = answer

    def classify(self, x):
        return self.answer


@pytest.mark.parametrize("answer", [np.zeros((2, 3)), np.zeros(3, dtype=int), np.zeros(2)])
def test_an_oracle_with_the_wrong_answer_is_named(answer):
    net, x = random_mlp(0, 3, 3), samples(0, (2, 3))
    with pytest.raises(UsageError, match="oracle"):
        attack(net, _Bad(answer), x, net.label(x), "l2")


@pytest.mark.parametrize(
    "change",
    [
        {"names": ["nope"]},
        {"names": []},
        {"norm": "l3"},
        {"chunk": 0},
        {"tolerance": 0.0},
        {"x": torch.zeros(2, 3)},
        {"label": torch.zeros(3, dtype=torch.int64)},
        {"victim": Net(lambda x: x[:, :1])},
    ],
    ids=str,
)
def test_calls_that_contradict_themselves(change):
    net, x = random_mlp(0, 3, 3), samples(0, (2, 3))
    call = {"victim": net, "oracle": net, "x": x, "label": net.label(x), "norm": "l2"} | change
    with pytest.raises(UsageError):
        attack(**call)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("norm", NORMS)
def test_a_gpu_gives_the_same_results(norm):
    net, x = random_mlp(7, 5, 4), samples(7, (9, 5))
    on_gpu = Net(lambda u: net.function(u.cpu()).to(u.device))
    want = attack(net, net, x, net.label(x), norm, names=ALL)
    got = attack(on_gpu, net, x.cuda(), net.label(x), norm, names=ALL)
    np.testing.assert_allclose(got.upper, want.upper, rtol=1e-3)
    epsilon = torch.ones(9, dtype=torch.float64)
    probe = gradient_guided_points(net, x, net.label(x), norm, epsilon, 4, 0)
    label = net.label(x).cuda()
    gpu = gradient_guided_points(on_gpu, x.cuda(), label, norm, epsilon.cuda(), 4, 0)
    torch.testing.assert_close(gpu.cpu(), probe)
