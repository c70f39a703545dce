"""2-norms of deviations against perturbations that climb them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bounds.frame_checks import problem_of
from boxed_cases import CHOSEN, boxed, elementwise, inside, scales, seeds, some_rows, widths
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import Case
from network_factory import random_network, relu_mlp, smooth_mlp

from boundcert.bounds.frame import Frame
from boundcert.bounds.joint import Part, joint_norms
from boundcert.bounds.spread import Spread
from boundcert.layers.centre import Centre
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from boundcert.network.graph import Network
from boundcert.norms import Norm
from examples import examples

norms = st.sampled_from(list(Norm))
SAMPLES, STEPS = 2, 8
WIDTHS = (12, 12, 12, 12)
NOTHING = torch.zeros(SAMPLES, dtype=torch.float64)


def deep_mlp(seed: int, weight: float = 1.0) -> Network:
    """Four hidden layers, whose values are ``weight`` as large."""
    return relu_mlp(seed, WIDTHS, weight)


def inside_ball(delta: torch.Tensor, eps: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Perturbations shrunk into the balls of radii eps (B,)."""
    if norm is Norm.LINF:
        wide = eps.reshape(-1, *[1] * (delta.dim() - 1))
        return torch.minimum(torch.maximum(delta, -wide), wide)
    share = (eps / norm.of_rows(delta)).clamp(max=1.0).nan_to_num(1.0)
    return delta * share.reshape(-1, *[1] * (delta.dim() - 1))


def left_behind(frame: Frame, values: list[torch.Tensor], k: int) -> torch.Tensor:
    """What node k leaves of its deviation, over the entries that may differ from 0."""
    (operand, *_), source = frame.problem.network.nodes[k].inputs, frame.sources[k]
    out = values[k] - frame.problem.values[k]
    if isinstance(source.part, Centre):
        out = out - source.part.centre * (values[operand] - frame.boxes[operand].point)
    return torch.where(source.left.entries, out, 0.0)


def claims(frame: Frame, values: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Deviations (B, …), and what their 2-norms (B,) are said to be at most."""
    found = []
    for k, spread in frame.spreads.items():
        (operand,) = frame.problem.network.nodes[k].inputs
        far = values[operand] - frame.boxes[operand].point
        found.append((torch.where(spread.entries, far, 0.0), spread.at(frame.eps)))
    for k, source in frame.sources.items():
        found.append((left_behind(frame, values, k), source.left.at(frame.eps)))
    return found


def climb(frame: Frame, which: int, rng: np.random.Generator) -> None:
    """Perturbations that make a deviation larger and larger never pass what is said of it."""
    network, x, norm = frame.problem.network, frame.problem.values[0], frame.problem.norm
    delta = torch.from_numpy(rng.standard_normal(x.shape)) * float(frame.eps.max())
    for step in range(STEPS):
        point = (x + inside_ball(delta, frame.eps * (1 - 1e-9), norm)).requires_grad_()
        values = network.run(point)
        far, most = claims(frame, values)[which]
        size = Norm.L2.of_rows(far)
        room = 1e-11 * (sum(float(v.detach().abs().max()) for v in values) + 1e-200)
        assert not bool((size > most * (1 + 1e-9) + room).any()), (which, size / most)
        (grad,) = torch.autograd.grad(far.square().sum(), point, allow_unused=True)
        if grad is None:
            return
        grad = grad.nan_to_num(0.0, 0.0, 0.0)
        length = Norm.L2.of_rows(grad).clamp(min=1e-300).reshape(-1, *[1] * (x.dim() - 1))
        delta = point.detach() - x + grad / length * float(frame.eps.max()) * 2.0 ** (1 - step)


@settings(max_examples=examples(40), deadline=None)
@given(
    make=st.sampled_from([random_network, smooth_mlp, deep_mlp]),
    seed=seeds,
    weight=st.sampled_from([0.3, 1.0, 3.0]),
    scale=st.sampled_from([1e-3, 1.0, 50.0]),
    size=st.sampled_from([1e-3, 0.1, 1.0]),
    norm=norms,
)
def test_no_perturbation_spreads_further(make, seed, weight, scale, size, norm) -> None:  # type: ignore[no-untyped-def]
    network = make(seed, weight)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((SAMPLES, *network.input_shape)) * scale)
    with torch.no_grad():
        frame = Frame.build(problem_of(network, norm, x), NOTHING + size * scale, ball=True)
        small = frame.tightened(frame.eps * 0.5)
        small.sources = frame.sources
        count = len(claims(frame, frame.problem.values))
    for part in (frame, small):
        for which in range(count):
            climb(part, which, rng)


@pytest.mark.parametrize("seed", range(4))
def test_deep_networks_spread_far_less_than_layer_by_layer(seed: int) -> None:
    network = deep_mlp(seed)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((SAMPLES, *network.input_shape)))
    with torch.no_grad():
        frame = Frame.build(problem_of(network, Norm.L2, x), NOTHING + 0.05, ball=True)
    last = max(frame.spreads)
    (operand,) = frame.problem.network.nodes[last].inputs
    moduli = frame.boxes[operand].spread
    assert moduli is not None
    assert bool((frame.spreads[last].at(frame.eps) < 0.4 * moduli).all())


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=seeds,
    scale=st.sampled_from([1e-160, 1e-30, 1.0, 1e30, 1e160]),
    weight=st.sampled_from([1e-140, 1.0, 1e9]),
    extra=st.sampled_from([0.0, 1e-3]),
    norm=norms,
)
def test_sums_of_images_stay_in_their_bound(
    seed: int, scale: float, weight: float, extra: float, norm: Norm
) -> None:
    """At radius 1 sources are as long as gain and rest together say."""
    rng = np.random.default_rng(seed)
    count, rows = int(rng.integers(1, 4)), int(rng.integers(1, 7))
    gains = np.exp(rng.standard_normal(count) * 3)
    gains[0] = 1.0
    if rng.random() < 0.3:
        gains[-1] *= 1e-9
    matrices = [
        torch.from_numpy(rng.standard_normal((rows, int(rng.integers(1, 6)))) * scale)
        for _ in range(count)
    ]
    parts = [
        Part(m, float(g), extra * float(g) * (k > 0), 0.0, first=k == 0)
        for k, (m, g) in enumerate(zip(matrices, gains))
    ]
    w = torch.from_numpy(rng.random((2, rows)) * weight)
    rest = torch.from_numpy(rng.random(rows) * scale * 1e-3)
    bound = joint_norms(parts, w, rest, norm)
    for k in range(2):
        top = float((w[k] * rest).max())
        lost = float(torch.linalg.vector_norm(w[k] * rest / top)) * top if top else 0.0
        assert float(bound[k, 1]) >= lost * (1 - 1e-12)
        ready = [w[k][:, None] / weight * m / scale for m in matrices]
        u = torch.from_numpy(rng.standard_normal(rows))
        for _ in range(20):
            moves = [m.T @ (u / u.norm()) for m in ready]
            if norm is Norm.L1:  # the first is somewhere in the hull of the axes
                axis = torch.zeros_like(moves[0])
                axis[moves[0].abs().argmax()] = 1.0
                moves[0] = axis * torch.sign(moves[0])
            most = [part.gain + part.rest for part in parts]
            moves = [g * v / v.norm().clamp(min=1e-300) for g, v in zip(most, moves)]
            total = sum(m @ v for m, v in zip(ready, moves))
            size = float(total.norm()) * weight * scale
            assert size <= float(bound[k, :2].sum()) * (1 + 1e-9) + 1e-290
            u = total + 1e-300
        if count == 1 and norm is not Norm.L1:
            assert size >= float(bound[k, 0]) * (1 - 0.05) - 1e-130 * scale


@pytest.mark.parametrize(
    ("rows", "gains", "weight", "least"),
    [
        ([[[1.0], [1e-163]]], [1.0], [0.0, 1e30], 1e-133),
        ([[[1.0], [1e-163]]], [1.0], [0.0, 1e100], 1e-63),
        ([[[1.0], [1e-163]]], [1.0], [0.0, 1e163], 1.0),
        ([[[1e150], [0.0]], [[0.0], [1e300]]], [1.0, 1e-200], [0.0, 1.0], 1e100),
        ([[[1e-300], [0.0]], [[0.0], [1e-300]]], [1.0, 1e290], [1e290, 1e-5], 1e-10),
    ],
)
def test_small_rows_do_not_get_lost_beside_large_ones(rows, gains, weight, least) -> None:  # type: ignore[no-untyped-def]
    parts = [Part(torch.tensor(m, dtype=torch.float64), g, 0.0, 0.0) for m, g in zip(rows, gains)]
    w = torch.tensor([weight], dtype=torch.float64)
    gain = float(joint_norms(parts, w, torch.zeros(2, dtype=torch.float64), Norm.L2)[0, 0])
    assert least * (1 - 1e-12) <= gain <= least * 1.5


def test_what_does_not_shrink_is_not_lost_beside_what_does() -> None:
    part = Part(torch.tensor([[1.0], [1e-170]], dtype=torch.float64), 0.0, 1e40, 0.0)
    w, nothing = (
        torch.tensor([[0.0, 1.0]], dtype=torch.float64),
        torch.zeros(2, dtype=torch.float64),
    )
    assert float(joint_norms([part], w, nothing, Norm.L2)[0, 1]) >= 1e-130


def spread(gain: float, rest: float, floor: float) -> Spread:
    numbers = (torch.tensor([x], dtype=torch.float64) for x in (gain, rest, floor, 2.0))
    return Spread(*numbers, torch.tensor([[True, False]]))


def test_spreads_keep_what_does_not_shrink() -> None:
    found = spread(1.0, 2.0, 0.5)
    radii = [torch.tensor([x], dtype=torch.float64) for x in (0.1, 1.0)]
    assert float(found.at(radii[0])) >= 2.5 and float(found.at(radii[1])) >= 3.0
    for nothing in (torch.nan, torch.inf):
        assert float(spread(nothing, 0.0, 0.0).at(radii[0])) == torch.inf


def test_spreads_say_nothing_of_other_entries() -> None:
    """Up to their radius; beyond it nothing is proved in any case."""
    found, more = spread(1.0, 0.0, 0.0), torch.tensor([[True, True]])
    inside, beyond = (torch.tensor([x], dtype=torch.float64) for x in (2.0, 2.5))
    assert float(found.over(more, inside)) == torch.inf
    assert float(found.over(more, beyond)) == float(found.at(beyond))
    assert float(found.over(~more, inside)) == float(found.at(inside))


def test_linear_parts_pay_for_the_error_of_the_value() -> None:
    """c·δ_out − (cC)·δ is as much as the value at the sample is off."""
    zero = torch.zeros(1, 3, dtype=torch.float64)
    part = Centre(Box(zero - 1, zero + 1, zero), zero + 1, zero, torch.full((1,), 1e-3))
    _, rest = part.below(
        Rows.of(torch.tensor([[1.0, -2.0, 0.5]]).double(), torch.zeros(1).long(), (3,))
    )
    assert float(-rest) >= 3.5e-3


def test_what_is_no_number_bounds_nothing() -> None:
    rows, one = torch.ones(2, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    for part in (Part(rows * np.nan, 1.0, 0.0, 0.0), Part(rows, np.inf, 0.0, 0.0)):
        assert bool(torch.isinf(joint_norms([part], one, one[0], Norm.L2)[0]).all())
    found = joint_norms([Part(rows, 1.0, 0.0, 0.0)], one, one[0] * np.nan, Norm.L2)
    assert bool(torch.isinf(found[0]).all())
    assert float(joint_norms([], one, one[0] * 0, Norm.L2)[0, 0]) < 1e-290


@pytest.mark.parametrize("case", [c for c in CHOSEN if elementwise(c)], ids=lambda c: c.name)
@settings(max_examples=examples(15), deadline=None)
@given(seed=seeds, scale=scales, width=widths)
def test_chords_are_in_their_range(case: Case, seed: int, scale: float, width: float) -> None:
    """Slopes from the point to anywhere in the box are C ± H, but for the rounding of values."""
    rng = np.random.default_rng(seed)
    layer, (box,), value = boxed(case, rng, scale, width, 3)
    middle, half = layer.chords(box)
    for kind in range(4):
        (point,) = inside(rng, (box,), kind)
        out, move = layer.forward(point) - value, point - box.point
        apart = (out - middle * move).abs() - half * move.abs()
        size = value.abs() + layer.forward(point).abs() + point.abs() * middle.abs()
        room = size * 1e-13 + (point.abs() + box.point.abs()) * 4e-15  # as elementary_rounding says
        assert not bool((apart > room + 1e-290).any())


@pytest.mark.parametrize(
    "case",
    [c for c in CHOSEN if isinstance(c.build(np.random.default_rng(0))[0], LINEAR)],
    ids=lambda c: c.name,
)
@pytest.mark.parametrize("patches", [False, True])
def test_linear_layers_lose_the_same_either_way(case: Case, patches: bool) -> None:
    """With −c for c, rows are the same but for the sign, and the rest is the same."""
    rng = np.random.default_rng(5)
    layer, boxes, value = boxed(case, rng, 1.0, 0.5, 2)
    owner = torch.arange(2).repeat_interleave(4)
    rows = some_rows(rng, owner, tuple(value.shape[1:]), patches)
    relaxation = layer.relax(boxes, value)
    (ones, rest), (others, lost) = relaxation.below(rows), relaxation.below(-rows)
    assert torch.equal(rest, lost) and bool((rest <= 0).all())
    for one, other in zip(ones, others):
        assert torch.equal(one.values, -other.values)
