"""Window maxima between means of their entries, which move together."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from boxed_cases import CHOSEN, ROOM, seeds, some_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import Case

from boundcert.layers import registry
from boundcert.layers.base import NodeSpec
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.pool_relaxation import WindowMaximum
from boundcert.layers.relaxation import Box, Choice
from boundcert.layers.rows import Rows
from boundcert.layers.window_means import Contrasts, Means, Windowed
from examples import examples

POOLS = [case for case in CHOSEN if "MaxPool" in case.op]
SAMPLES, COUNT, MOVES, ROOMY = 2, 6, 5, 2**30
pools = pytest.mark.parametrize("case", POOLS, ids=lambda c: c.name)


def together(  # type: ignore[no-untyped-def]
    case: Case, rng: np.random.Generator, scale: float, width: float
):
    """A pool, a box of entries p + A·q that move together, ‖q‖_∞ ≤ 1, its relaxation, p and A."""
    layer, (shape,) = case.build(rng)
    assert isinstance(layer, MaxPool)
    point = torch.from_numpy(rng.standard_normal((SAMPLES, *shape)).round(1) * scale)
    matrix = torch.from_numpy(rng.standard_normal((SAMPLES, *shape, MOVES)))
    # mostly of one mind
    matrix = (0.2 * matrix + matrix[:, :1, :1]) * (width * scale / MOVES)
    far = matrix.abs().sum(dim=-1) * (1 + 1e-12)
    box = Box(point - far, point + far, point)
    relaxation = layer.relax((box,), layer.forward(point))
    assert isinstance(relaxation, WindowMaximum)
    return layer, box, relaxation, matrix


def excess_of(relaxation: WindowMaximum, matrix: torch.Tensor) -> torch.Tensor | None:
    """The relaxation with the largest excesses that there are: bounds on rows, straight to q."""
    contrasts = relaxation.contrasts(ROOMY)
    if contrasts is None:
        return None
    place = torch.nonzero(contrasts.asked)
    rows = contrasts.rows(place, torch.float64)
    whole = rows.flat(relaxation.shape_in).reshape(len(place), -1)
    moved = torch.einsum("rn,rnm->rm", whole, matrix.reshape(SAMPLES, -1, MOVES)[place[:, 0]])
    bound = contrasts.at_sample() - moved.abs().sum(dim=1) * (1 + 1e-12)
    found = torch.full(contrasts.asked.shape, -torch.inf, dtype=torch.float64)
    found[contrasts.asked] = -bound
    return relaxation.beside(contrasts.weight, found.amax(dim=-1))


def points_of(
    rng: np.random.Generator, box: Box, matrix: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Points p + A·q and A·q: corners, random ones, the samples."""
    found = []
    for kind in range(6):
        q = torch.from_numpy(rng.uniform(-1, 1, (SAMPLES, MOVES)))
        q = (torch.sign(q), q, 0 * q)[kind % 3]
        delta = torch.einsum("b...m,bm->b...", matrix, q)
        found.append((box.point + delta, delta))
    return found


@pools
@settings(max_examples=examples(20), deadline=None)
@given(
    seed=seeds,
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    width=st.sampled_from([1e-3, 0.3, 3.0]),
    patches=st.booleans(),
    chosen=st.booleans(),
)
def test_means_hold(
    case: Case, seed: int, scale: float, width: float, patches: bool, chosen: bool
) -> None:
    """c·δ_out ≥ c'·δ + rest where entries move together, whatever share goes through means."""
    rng = np.random.default_rng(seed)
    layer, box, plain, matrix = together(case, rng, scale, width)
    relaxation = excess_of(plain, matrix)
    if relaxation is None:
        return
    value = plain.value
    owner = torch.arange(SAMPLES).repeat_interleave(COUNT)
    rows = some_rows(rng, owner, plain.shape, patches)
    mix = torch.from_numpy(rng.uniform(-0.3, 2.3, rows.values.shape)).float()
    ways = relaxation.mixed(rows, Choice(mix)) if chosen else relaxation.below(rows)
    (part,), rest = ways
    # there is a bound wherever lines have one
    assert not bool((plain.below(rows)[1].isfinite() & ~rest.isfinite()).any())
    c, row = rows.flat(plain.shape).flatten(1), part.flat(plain.shape_in).flatten(1)
    assert not bool((part.mass < row.abs().sum(dim=1) * (1 - 1e-12)).any())
    for point, delta in points_of(rng, box, matrix):
        moved = (layer.forward(point) - value).flatten(1)[owner]
        left = (c * moved).sum(dim=1)
        right = (row * delta.flatten(1)[owner]).sum(dim=1) + rest
        room = c.abs().sum(dim=1) * float(value.abs().max() + point.abs().max())
        room = room + (row * delta.flatten(1)[owner]).abs().sum(dim=1)
        assert not bool((rest.isfinite() & (left < right - ROOM * room)).any())


@pools
@settings(max_examples=examples(10), deadline=None)
@given(seed=seeds)
def test_contrasts_are_means_less_entries(case: Case, seed: int) -> None:
    """Rows and values at the samples, by the windows' table; and each window has them all."""
    rng = np.random.default_rng(seed)
    _, box, relaxation, _ = together(case, rng, 1.0, 1.0)
    contrasts = relaxation.contrasts(ROOMY)
    if contrasts is None:
        return
    place = torch.nonzero(contrasts.asked)
    rows = contrasts.rows(place, torch.float64)
    z = torch.from_numpy(rng.standard_normal(box.point.shape))
    found = (rows.flat(relaxation.shape_in) * z[rows.owner]).flatten(1).sum(dim=1)
    at = contrasts.at_sample()
    table, planes = relaxation.table.tolist(), z.reshape(SAMPLES, -1, relaxation.size)
    points = box.point.reshape(planes.shape)
    for r, (sample, channel, window, entry) in enumerate(place.tolist()):
        weight = contrasts.weight[sample, channel, window].tolist()
        real = [(w, i) for w, i in zip(weight, table[window]) if i >= 0]
        assert abs(sum(w for w, _ in real) - 1) < 1e-12
        for x, known in ((planes, found[r]), (points, at[r])):
            mean = sum(w * float(x[sample, channel, i]) for w, i in real)
            assert (
                abs(mean - float(x[sample, channel, table[window][entry]]) - float(known)) < 1e-12
            )
    left_out = ~contrasts.asked & (relaxation.table >= 0)
    low = contrasts.within.low.masked_fill(~contrasts.asked, -torch.inf).amax(-1, keepdim=True)
    some = contrasts.asked.any(dim=-1, keepdim=True)
    assert not bool((left_out & some & (contrasts.within.high > low)).any())


@pools
@settings(max_examples=examples(5), deadline=None)
@given(seed=seeds, patches=st.booleans())
def test_tapes_follow_means(case: Case, seed: int, patches: bool) -> None:
    """What rows become on a tape is what they become off it, and their gradients are its slopes."""
    rng = np.random.default_rng(seed)
    _, _, plain, matrix = together(case, rng, 1.0, 0.5)
    relaxation = excess_of(plain, matrix)
    if relaxation is None:
        return
    owner = torch.arange(SAMPLES).repeat_interleave(3)
    rows = some_rows(rng, owner, plain.shape, patches)
    weight = torch.from_numpy(rng.standard_normal((1, *plain.shape_in)))
    share = torch.from_numpy(rng.uniform(0.2, 1.8, rows.values.shape))

    def total(rows: Rows, mix: torch.Tensor) -> torch.Tensor:
        (part,), rest = relaxation.mixed(rows, Choice(mix))
        return (part.flat(plain.shape_in) * weight).flatten(1).sum(dim=1) + rest

    taped, mix = rows.values.float().requires_grad_(), share.float().requires_grad_()
    value = total(replace(rows, values=taped), mix)
    plainly = total(rows, share)
    known = plainly.isfinite()
    assert torch.allclose(value.double()[known], plainly[known], rtol=1e-4, atol=1e-4)
    grads = torch.autograd.grad(value.sum(), (taped, mix))
    # along directions that change no sign
    ways = [torch.from_numpy(rng.uniform(-1, 1, share.shape)) * x for x in (rows.values, share)]
    step = 1e-4
    for k, (grad, way) in enumerate(zip(grads, ways)):
        moves = [[s * step * (k == i) * w for i, w in enumerate(ways)] for s in (1, -1)]
        ends = [total(replace(rows, values=rows.values + a), share + b) for a, b in moves]
        numeric = ((ends[0] - ends[1]) / (2 * step))[known]
        found = (grad.double() * way).flatten(1).sum(dim=1)[known]
        size = 1 + numeric.abs() + (grad.double() * way).abs().flatten(1).sum(dim=1)[known]
        assert bool(((found - numeric).abs() <= 2e-3 * size).all())


def test_entries_that_move_as_one_lose_nothing() -> None:
    """Where all entries are equal, and stay so, the maximum is any of them: exactly."""
    case = next(c for c in POOLS if c.name == "max_pool")
    rng = np.random.default_rng(0)
    layer, (shape,) = case.build(rng)
    point = torch.ones(SAMPLES, *shape, dtype=torch.float64)
    box, matrix = Box(point - 1, point + 1, point), torch.ones(SAMPLES, *shape, 1)
    plain = layer.relax((box,), layer.forward(point))
    assert isinstance(plain, WindowMaximum)
    contrasts = plain.contrasts(ROOMY)
    assert contrasts is not None and bool(contrasts.asked.all()) and matrix.all()
    none = torch.zeros(contrasts.asked.shape[:-1], dtype=torch.float64)
    relaxation = plain.beside(contrasts.weight, none)
    owner = torch.zeros(2, dtype=torch.int64)
    ones = torch.ones(1, *plain.shape, dtype=torch.float64)
    rows = Rows.of(torch.cat((ones, -ones)), owner, plain.shape)
    _, rest = relaxation.below(rows)
    assert bool((rest <= 0).all() and (rest > -1e-10).all())
    _, crude = plain.below(rows)
    assert float(crude[1]) < -0.5


def test_means_that_find_no_room_are_left_out() -> None:
    case = next(c for c in POOLS if c.name == "max_pool")
    _, _, relaxation, _ = together(case, np.random.default_rng(0), 1.0, 1.0)
    assert relaxation.contrasts(ROOMY) is not None
    assert relaxation.contrasts(1000) is None


@pytest.mark.parametrize("wide", [4, 2000])
def test_constants_pay_for_all_that_is_rounded(wide: int) -> None:
    """In fractions: weights that do not quite sum to 1, and what a row's sum of products loses."""
    rng = np.random.default_rng(wide)
    spec = NodeSpec("MaxPool", "m", 18, {"kernel_shape": [4]}, ((1, 1, wide + 3),), (1, 1, wide))
    layer = registry.build(spec)
    assert isinstance(layer, MaxPool)
    point = torch.from_numpy(1e3 + rng.random((1, 1, 1, wide + 3)) * 1e-3)
    box, value = Box(point - 1, point + 1, point), layer.forward(point)
    within = Windowed.of(box, layer.windows, torch.from_numpy(layer.windows.table()))
    contrasts = Contrasts.of(within, torch.zeros(within.point.shape[:-1], dtype=torch.bool))
    assert contrasts is not None
    excess = torch.from_numpy(rng.random(within.point.shape[:-1])) * 1e3
    lines = torch.ones_like(excess), torch.ones_like(excess)
    means = Means.of(within, value, lines, contrasts.weight, excess)
    assert bool(means.able.all())
    count = within.point.shape[-1]
    weights = means.weights.reshape(2, count, -1)
    lost = Fraction(value.numel()) * Fraction(2) ** -53
    parts = (part.flatten() for part in (value, within.magnitude, excess))
    for w, (v, most, extra) in list(enumerate(zip(*parts)))[:20]:
        p = [Fraction(float(x)) for x in within.point.reshape(-1, count)[w]]
        for side, sign in enumerate((-1, 1)):
            h = [Fraction(float(x)) for x in weights[side, :, w]]
            at = sum(a * b for a, b in zip(h, p)) - Fraction(float(v))
            if side:
                at += Fraction(float(extra)) + Fraction(float(most)) * Fraction(2) ** -53
            else:
                at -= abs(sum(h) - 1) * Fraction(float(most))
            found = Fraction(float(means.constants.reshape(2, -1)[side, w]))
            assert sign * (found - at) >= lost * abs(at)
