"""The vectorised search against a scalar loop, and the float64 pull-back."""

from __future__ import annotations

import math

import torch
from attacks.attack_helpers import random_mlp, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.attacks.gradients import changed
from boundcert.attacks.search import DOUBLINGS, expand, smallest_size
from boundcert.attacks.segment import pull_back


def scalar_search(threshold: float, hole: float, start: float, tolerance: float) -> float:
    """The obvious loop, for one sample; sizes in (hole, 2·hole) never flip."""

    def flips(size: float) -> bool:
        return size >= threshold and not hole < size < 2 * hole

    if math.isnan(start):
        return math.nan
    low, high = 0.0, math.nan
    for factor in DOUBLINGS:
        if flips(start * factor):
            high = start * factor
            break
        low = start * factor
    steps = 0
    limit = math.ceil(-math.log2(tolerance)) + 7
    while not math.isnan(high) and high - low > tolerance * high and steps < limit:
        middle = low + (high - low) / 2
        low, high = (low, middle) if flips(middle) else (middle, high)
        steps += 1
    return high


finite = st.floats(1e-12, 1e15)
rows = st.tuples(st.one_of(finite, st.just(math.inf), st.just(0.0)), finite, finite, st.booleans())


@settings(max_examples=100, deadline=None)
@given(cases=st.lists(rows, min_size=1, max_size=8), tolerance=st.sampled_from([0.1, 1e-3, 1e-6]))
def test_all_samples_at_once_equals_one_at_a_time(cases, tolerance):
    threshold, hole, start = (torch.tensor(c, dtype=torch.float64) for c in list(zip(*cases))[:3])
    start[torch.tensor([c[3] for c in cases])] = torch.nan

    def flips(size: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return (size >= threshold[at]) & ~((hole[at] < size) & (size < 2 * hole[at]))

    got = smallest_size(flips, start, DOUBLINGS, tolerance)
    for i, size in enumerate(got.tolist()):
        want = scalar_search(*(float(v[i]) for v in (threshold, hole, start)), tolerance)
        assert size == want or (math.isnan(size) and math.isnan(want))


def test_the_search_finds_the_threshold():
    threshold = torch.tensor([1e-4, 0.3, 7.0, 1e8, 1e300], dtype=torch.float64)
    start = torch.ones(5, dtype=torch.float64)
    got = smallest_size(lambda size, at: size >= threshold[at], start, DOUBLINGS, 1e-3)
    assert (got[:4] >= threshold[:4]).all() and (got[:4] <= threshold[:4] * 1.0011).all()
    assert got[4].isnan()


def test_expansion_brackets_the_threshold_by_neighbouring_factors():
    threshold = torch.tensor([0.5, 3.0, 9.0], dtype=torch.float64)
    start = torch.ones(3, dtype=torch.float64)
    low, high = expand(lambda size, at: size >= threshold[at], start, (1.0, 2.0, 4.0))
    assert low.tolist() == [0.0, 2.0, 4.0]
    assert high[:2].tolist() == [1.0, 4.0] and high[2].isnan()


def test_a_sample_on_the_boundary_keeps_a_size_that_float32_can_hold():
    start = torch.ones(1, dtype=torch.float64)
    size = smallest_size(lambda size, at: size > 0, start, (1.0,), 1e-3)
    assert 1e-8 < size[0] < 1e-3


def test_settled_samples_are_not_evaluated_again():
    asked: list[int] = []

    def flips(size: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        asked.extend(at.tolist())
        return torch.where(at == 0, size >= 1.0, torch.zeros_like(at, dtype=torch.bool))

    smallest_size(flips, torch.tensor([1.0, 1.0, torch.nan]), (1.0, 2.0), 0.1)
    assert asked.count(1) == 2 and asked.count(2) == 0


def test_pull_back_stops_at_the_boundary():
    net, x = random_mlp(3, 4, 3), samples(3, (40, 4))
    label = net.label(x)
    far = x + samples(4, (40, 4), 3.0)
    hit = changed(net, far, label)
    near = pull_back(net, x, far, label)
    assert hit.any() and changed(net, near[hit], label[hit]).all()
    assert not changed(net, (x + (near - x) * 0.9995)[hit], label[hit]).any()
    assert torch.equal(near[~hit], far[~hit])


def test_pull_back_leaves_what_it_cannot_use():
    net, x = random_mlp(3, 4, 3), samples(3, (2, 4))
    label = net.label(x)
    nan = torch.full_like(x, torch.nan)
    assert pull_back(net, x, nan, label).isnan().all()
    wrong = (label + 1) % 3  # the victim disagrees with the label at x itself
    assert torch.equal(pull_back(net, x, x + 1, wrong), x + 1)
