"""Margins that looks leave out do not decide what is proved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bounds.frame_checks import classes, problem_of
from network_factory import relu_mlp

from boundcert.bounds.frame import Frame
from boundcert.bounds.looks import STEEP, frame_root
from boundcert.bounds.margins import BEYOND, Margins
from boundcert.bounds.problem import Problem
from boundcert.norms import Norm

SAMPLES = 6


def case(seed: int) -> tuple[Problem, Margins]:
    """Samples of a network with many classes."""
    network = relu_mlp(seed, (40, 40), classes=30)
    x = torch.rand(SAMPLES, *network.input_shape, generator=torch.Generator().manual_seed(seed))
    problem = problem_of(network, Norm.L2, x.double())
    return problem, Margins.of(problem, classes(network, x.double()))


def radii(margins: Margins, problem: Problem, times: float) -> torch.Tensor:
    """So many times what a frame about the samples says of where classes change."""
    straight = Frame.build(problem, torch.zeros(SAMPLES, dtype=torch.float64))
    return margins.reach(straight).amin(dim=1) * times


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("times", [0.05, 0.3, 1.0, 3.0])
def test_those_left_out_stay_positive_in_smaller_balls(seed: int, times: float) -> None:
    problem, margins = case(seed)
    frame = Frame.build(problem, radii(margins, problem, times))
    reaches = margins.reach(frame)
    near = margins.near(reaches, frame.eps)
    left = near.reach(frame).isinf()
    assert not bool(left.all(dim=1).any())
    for share in (1.0, 0.7, 0.2):
        there = frame.tightened(frame.eps * share)
        assert bool((margins.reach(there)[left] > frame.eps[left.nonzero()[:, 0]] * share).all())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("times", [0.3, 1.0])
def test_what_looks_prove_holds_of_all_margins(seed: int, times: float) -> None:
    problem, margins = case(seed)
    frame = Frame.build(problem, radii(margins, problem, times))
    with np.errstate(all="ignore"):
        found = frame_root(frame, margins, np.full(SAMPLES, STEEP), within=1e-3)
    proved = torch.from_numpy(found.proved)
    there = margins.reach(frame.tightened(proved)).amin(dim=1)
    assert bool((proved > 0).all())
    assert bool((there >= proved * (1 - 1e-9)).all())


def test_where_nothing_is_known_nothing_is_left_out() -> None:
    _, margins = case(0)
    reaches = torch.full((SAMPLES, 29), torch.nan, dtype=torch.float64)
    zero = torch.zeros(SAMPLES, dtype=torch.float64)
    assert len(margins.near(reaches, zero).owner) == len(margins.owner)


def test_the_rivals_that_may_win_elsewhere_are_kept() -> None:
    _, margins = case(0)
    reaches = torch.full((SAMPLES, 29), 2 * BEYOND, dtype=torch.float64)
    reaches[:, 3], reaches[:, 4] = 1.0, 0.9 * BEYOND
    near = margins.near(reaches, torch.full((SAMPLES,), 0.5, dtype=torch.float64))
    assert len(near.owner) == 2 * SAMPLES
    # where ε is beyond what the smallest reaches, so may all be that do not reach as far
    near = margins.near(reaches, torch.full((SAMPLES,), 3 * BEYOND, dtype=torch.float64))
    assert len(near.owner) == len(margins.owner)


def test_some_samples_keep_their_margins() -> None:
    problem, margins = case(1)
    frame = Frame.build(problem, radii(margins, problem, 0.3))
    some = torch.tensor([1, 4])
    part = margins.near(margins.reach(frame), frame.eps).take(some)
    whole = margins.near(margins.reach(frame), frame.eps).reach(frame)[some]
    assert torch.allclose(part.reach(frame.take(some)), whole)
