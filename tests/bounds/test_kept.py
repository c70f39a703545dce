"""Choices kept from frame to frame: whose they are, how many, and what they are good for."""

from __future__ import annotations

import pytest
import torch
from bounds.frame_checks import assert_holds, classes, margins_of, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network_factory import random_network, relu_mlp

from boundcert.attacks import gradient_guided_points
from boundcert.bounds.frame import Frame
from boundcert.bounds.kept import Kept
from boundcert.layers.relaxation import Choice
from boundcert.norms import Norm
from examples import examples

NODE, PLACE = 5, 2


def numbered(entry: torch.Tensor, owner: torch.Tensor, dual: bool = True) -> dict[int, Choice]:
    """Choices that tell whose they are."""
    number = (owner * 100 + entry).double()
    mix = number[:, None, None, None].expand(-1, 1, 2, 3) / 512
    return {PLACE: Choice(mix, number, entry % 2 == 1) if dual else Choice(mix)}


def fresh(count: int, patch: tuple[int, ...] = (1, 2, 3)) -> Choice:
    return Choice(torch.full((count, *patch), 9.0))


def test_rows_find_their_own_choices() -> None:
    kept = Kept(2**20)
    kept.turn(torch.tensor([4, 7]))
    owner = torch.tensor([0, 0, 1, 1])
    for entry in (torch.tensor([3, 1, 6, 1]), torch.tensor([9, 2, 8, 3])):
        kept.keep(NODE, owner, entry, numbered(entry, torch.tensor([4, 4, 7, 7])))
    kept.turn(torch.tensor([7, 4, 2]))  # the same samples at other places
    owner, entry = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([8, 4, 1, 8, 1])
    begun = kept.begun(NODE, owner, entry)
    assert begun is not None
    assert begun.found.tolist() == [True, False, True, False, False]
    choice = begun.at(PLACE, fresh(5))
    assert choice.mix is not None and choice.level is not None and choice.dual is not None
    assert (choice.mix[:, 0, 1, 2] * 512).tolist() == [708, 9 * 512, 401, 9 * 512, 9 * 512]
    assert choice.level.tolist() == [708, 0, 401, 0, 0]
    assert choice.dual.tolist() == [False, False, True, False, False]
    assert kept.begun(NODE + 1, owner, entry) is None
    kept.turn(torch.tensor([7, 4, 2]))  # nothing was kept meanwhile
    assert kept.begun(NODE, owner, entry) is None


def test_other_patches_begin_afresh() -> None:
    kept, owner = Kept(2**20), torch.tensor([0, 0])
    kept.turn(torch.tensor([0]))
    kept.keep(NODE, owner, torch.tensor([0, 1]), numbered(torch.tensor([0, 1]), owner))
    kept.turn(torch.tensor([0]))
    begun = kept.begun(NODE, owner, torch.tensor([0, 1]))
    assert begun is not None
    other = fresh(2, (1, 3, 3))
    assert begun.at(PLACE, other) is other


@pytest.mark.parametrize("room", [0, 100, 200])
def test_no_more_is_kept_than_there_is_room(room: int) -> None:
    kept, owner = Kept(room), torch.tensor([0, 0])
    kept.turn(torch.tensor([0]))
    for start in range(0, 20, 2):  # 24 bytes a block
        entry = torch.tensor([start, start + 1])
        kept.keep(NODE, owner, entry, numbered(entry, owner, dual=False))
    kept.turn(torch.tensor([0]))
    every = kept.begun(NODE, torch.zeros(20, dtype=torch.int64), torch.arange(20))
    count = 0 if every is None else int(every.found.sum())
    assert count == room // 2 // 24 * 2


@settings(max_examples=examples(30), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    norm=st.sampled_from(list(Norm)),
    size=st.sampled_from([1e-2, 0.1, 1.0]),
    grown=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_what_rests_on_kept_choices_holds(seed, norm, size, grown) -> None:  # type: ignore[no-untyped-def]
    """Frames that begin with what others chose at other radii bound what they claim to."""
    network = random_network(seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, *network.input_shape, generator=generator, dtype=torch.float64)
    label, kept = classes(network, x), Kept(2**24)
    problem = problem_of(network, norm, x)
    eps = torch.full((3,), size, dtype=torch.float64)
    for rows, radius in ((torch.arange(3), eps), (torch.tensor([2, 0]), eps[:2] * grown)):
        kept.turn(rows)
        with torch.no_grad():
            frame = Frame.build(problem.take(rows), radius, ball=True, steps=2, kept=kept)
        args = (network, x[rows], label[rows], norm, radius * (1 - 1e-9), 6, seed % 1000)
        assert_holds(frame, label[rows], gradient_guided_points(*args))


@pytest.mark.parametrize("norm", list(Norm))
def test_an_ascent_goes_on_where_it_ended(norm: Norm) -> None:
    """Short ascents one after the other do better than the first, and almost never worse."""
    better = 0
    for seed in range(4):
        network = relu_mlp(seed, (8, 24, 24, 4))
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, *network.input_shape, generator=generator, dtype=torch.float64)
        label, kept = classes(network, x), Kept(2**24)
        problem, eps = problem_of(network, norm, x), torch.full((2,), 0.3, dtype=torch.float64)
        found = []
        for _ in range(4):
            kept.turn(torch.arange(2))
            with torch.no_grad():
                frame = Frame.build(problem, eps, ball=True, steps=2, kept=kept)
                found.append(margins_of(frame, label).at(eps.repeat_interleave(3)))
        assert bool((found[-1] >= found[0] - 1e-2 * found[0].abs()).all())
        better += int((found[-1] > found[0] + 1e-3 * found[0].abs()).sum())
    assert better >= 4
