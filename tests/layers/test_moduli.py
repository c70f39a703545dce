"""Every layer's bounds against random, cornered and gradient-guided perturbations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import AFFINE, CASES, Case

from boundcert.layers import registry
from boundcert.layers.affine import Affine, unchanged
from boundcert.layers.base import Deviation, Layer, Reach, Site
from boundcert.layers.max_pool import leaders
from boundcert.norms import Norm

#: Relative room for the rounding of the *test's* own evaluation of g(a+q) − g(a).
ROOM = 1e-10

scales = st.sampled_from([1e-6, 1e-2, 1.0, 30.0, 1e4])
seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from(list(Norm))
settled = settings(max_examples=12, deadline=None)


def in_ball(
    rng: np.random.Generator, shape: tuple[int, ...], norm: Norm, radius: float, kind: int
) -> torch.Tensor:
    """A point on the sphere of the p-ball: dense, sparse, signed, or a single entry."""
    n = int(np.prod(shape))
    q = rng.standard_normal(n)
    if kind == 1:
        q = q * (rng.random(n) < 0.2)
    elif kind == 2:
        q = np.sign(q)
    elif kind == 3:
        q = np.zeros(n)
        q[rng.integers(n)] = rng.choice([-1.0, 1.0])
    size = {1.0: np.abs(q).sum(), 2.0: np.sqrt((q * q).sum()), np.inf: np.abs(q).max(initial=0)}
    q = q * (radius / size[norm.p]) if size[norm.p] > 0 else q
    return torch.from_numpy(q.reshape(1, *shape) * (1 - 1e-12))


def shortened(q: torch.Tensor, norm: Norm, radius: float) -> torch.Tensor:
    """``q``, or its multiple on the sphere where it is longer."""
    size = float(norm.of_rows(q))
    return q if size <= radius else q * (radius / size * (1 - 1e-12))


def ascend(layer: Layer, a: list, q: list, norm: Norm, radii: list[float]) -> list:
    """Push q towards a larger output change, staying on the spheres (a heuristic falsifier)."""
    for _ in range(4):
        moved = [v.clone().requires_grad_() for v in q]
        out = layer.forward(*(x + v for x, v in zip(a, moved))) - layer.forward(*a)
        change = norm.of_rows(out).sum()
        if not bool(torch.isfinite(change)) or float(change.detach()) == 0.0:
            return q
        grads = torch.autograd.grad(change, moved, allow_unused=True)
        q = []
        for g, v, r in zip(grads, moved, radii):
            g = torch.zeros_like(v) if g is None else torch.nan_to_num(g)
            top = float(g.abs().max())
            if top == 0.0:
                q.append(v.detach())
                continue
            if norm is Norm.LINF:
                step = torch.sign(g)
            elif norm is Norm.L1:
                step = torch.zeros(g.shape, dtype=g.dtype)
                g = g.contiguous()
                step.view(-1)[int(g.abs().argmax())] = torch.sign(g.view(-1)[int(g.abs().argmax())])
            else:
                step = g / torch.linalg.vector_norm(g / top) / top
            q.append(step * (r * (1 - 1e-12)))
    return q


def place(case: Case, rng: np.random.Generator, shapes: list, scale: float) -> list:
    """Computed operands at a scale, moved into the layer's domain."""
    points = []
    for shape in shapes:
        a = rng.standard_normal((1, *shape)) * scale
        if np.isfinite(case.low):
            a = case.low + np.abs(a) + 0.1 * scale
        if np.isfinite(case.high):
            a = np.minimum(a, case.high)
        points.append(torch.from_numpy(a))
    return points


def situation(case: Case, seed: int, scale: float, share: float, norm: Norm):  # type: ignore[no-untyped-def]
    """A layer, its site, and input deviations with radii of ``share`` times the scale."""
    rng = np.random.default_rng(seed)
    layer, shapes = case.build(rng)
    a = place(case, rng, shapes, scale)
    radii = [share * scale * float(rng.choice([0.0, 0.3, 1.0, 3.0])) for _ in shapes]
    site = Site(norm, tuple(a), layer.forward(*a))
    moves = [Deviation(torch.tensor([r], dtype=torch.float64)) for r in radii]
    return rng, layer, a, site, radii, moves


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@settled
@given(seed=seeds, scale=scales, share=st.sampled_from([1e-3, 0.1, 1.0]), norm=norms)
def test_modulus_holds(case: Case, seed: int, scale: float, share: float, norm: Norm) -> None:
    rng, layer, a, site, radii, moves = situation(case, seed, scale, share, norm)
    bound = layer.modulus(site, *moves)
    limit = float(bound.size)
    assert limit >= 0 or np.isnan(limit)
    slack = 4 * float(layer.rounding(site))
    probes = []
    for kind in range(4):
        q = [in_ball(rng, tuple(x.shape[1:]), norm, r, kind) for x, r in zip(a, radii)]
        probes += [q, ascend(layer, a, q, norm, radii)]
    # towards the origin, where normalising layers are steepest
    for left in (0.0, 1e-4, 1e-2, 0.3):
        probes.append([shortened(x * (left - 1.0), norm, r) for x, r in zip(a, radii)])
    for probe in probes:
        change = layer.forward(*(x + v for x, v in zip(a, probe))) - site.output
        size = float(norm.of_rows(change))
        # a modulus that gives up (inf, nan) certifies nothing and cannot be refuted
        assert not size > limit * (1 + ROOM) + slack
        if bound.reach is not None:
            entries = bound.reach.unit * bound.reach.scale + bound.reach.offset
            assert not bool((change.reshape(-1).abs() > entries * (1 + ROOM) + slack).any())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@settled
@given(seed=seeds, scale=scales, share=st.sampled_from([1e-3, 0.1, 1.0]), norm=norms)
def test_linear_expansion_holds(
    case: Case, seed: int, scale: float, share: float, norm: Norm
) -> None:
    rng, layer, a, site, radii, moves = situation(case, seed, scale, share, norm)
    c = torch.from_numpy(rng.standard_normal((2, *site.output.shape)))
    expansion = layer.linearise(site, c, *moves)
    if expansion is None:
        return
    pulled, rest = expansion
    slack = 4 * float(layer.rounding(site)) * float(c.abs().sum()) + 1e-300
    for kind in range(4):
        q = [in_ball(rng, tuple(x.shape[1:]), norm, r, kind) for x, r in zip(a, radii)]
        change = layer.forward(*(x + v for x, v in zip(a, q))) - site.output
        true = (c * change).flatten(1).sum(dim=1)
        linear = sum((p * v).flatten(1).sum(dim=1) for p, v in zip(pulled, q))
        size = sum(float((p * v).abs().sum()) for p, v in zip(pulled, q))
        room = ROOM * (size + float((c * change).abs().sum())) + slack
        assert not bool(((true - linear).abs() > rest[:, 0] * (1 + ROOM) + room).any())


@pytest.mark.parametrize("padded", [False, True])
@given(seed=seeds)
def test_leaders_of_windows(seed: int, padded: bool) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(-3, 4, (2, 3, 12)).astype(float))
    table = torch.from_numpy(rng.integers(-1 if padded else 0, 12, (7, 4)))
    table[:, 1] = torch.arange(7)  # no window holds nothing but padding
    top, runner, which = leaders(x, table)
    entries = torch.where(table < 0, -torch.inf, x[:, :, table])
    order = entries.sort(dim=3, descending=True).values
    assert bool((top == order[..., 0]).all()) and bool((runner == order[..., 1]).all())
    assert bool((entries.gather(3, which[..., None])[..., 0] == top).all())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@settled
@given(seed=seeds, scale=scales, norm=norms)
def test_gain_and_modulus_agree(case: Case, seed: int, scale: float, norm: Norm) -> None:
    """Where a layer states a constant gain, its modulus is that gain times the deviation."""
    _, layer, _, site, radii, moves = situation(case, seed, scale, 1.0, norm)
    gain = layer.gain(norm)
    if gain is None:
        return
    assert float(layer.modulus(site, *moves).size) == pytest.approx(gain * radii[0], rel=1e-12)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@settled
@given(seed=seeds, scale=scales, norm=norms)
def test_rounding_covers_float32(case: Case, seed: int, scale: float, norm: Norm) -> None:
    """The float64 rounding bound, scaled to float32, covers a float32 evaluation."""
    rng = np.random.default_rng(seed)
    layer, shapes = case.build(rng)
    a = [x.float().double() for x in place(case, rng, shapes, scale)]
    site = Site(norm, tuple(a), layer.forward(*a))
    coarse = layer.to("cpu", torch.float32).forward(*(x.float() for x in a)).double()
    if not bool(torch.isfinite(coarse).all()) or not bool(torch.isfinite(site.output).all()):
        return
    off = float(norm.of_rows(coarse - site.output))
    # weights are rounded to float32 as well: a relative error of one unit each
    allowed = float(layer.rounding(site)) * 2.0**29
    assert off <= 2 * allowed + 1e-6 * float(norm.of_rows(site.output)) + 1e-30


@pytest.mark.parametrize("case", AFFINE, ids=lambda c: c.name)
@settled
@given(seed=seeds, norm=norms)
def test_operator_norms(case: Case, seed: int, norm: Norm) -> None:
    """Against the written-out matrix: never below it, and exact for p = 1 and ∞."""
    layer, _ = case.build(np.random.default_rng(seed))
    assert isinstance(layer, Affine)
    n = int(np.prod(layer.in_shape))
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *layer.in_shape)
    matrix = layer.apply(basis, unchanged).reshape(n, -1).T.numpy()
    true = np.linalg.norm(matrix, {1.0: 1, 2.0: 2, np.inf: np.inf}[norm.p])
    assert true * (1 - 1e-12) <= layer.gain(norm) <= true * (1 + 1e-6)
    rows = np.linalg.norm(matrix, {1.0: np.inf, 2.0: 2, np.inf: 1}[norm.p], axis=1)
    assert (layer.row_norms(norm).numpy() >= rows * (1 - 1e-12)).all()
    flat = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, *layer.out_shape)))
    adjoint = layer.transpose(flat).reshape(2, n).numpy()
    assert np.allclose(adjoint, flat.reshape(2, -1).numpy() @ matrix, rtol=1e-9, atol=1e-12)


def test_every_kind_is_listed() -> None:
    """A layer without a case here would have no soundness test."""
    listed = {case.op for case in CASES}
    same_class = {"Identity", "Dropout", "Cast", "Flatten", "Squeeze", "Unsqueeze"}
    data_movers = {"Gather", "Expand", "Tile"}
    missing = set(registry.supported()) - listed - same_class - data_movers
    assert missing <= {"Reciprocal", "Log", "DepthToSpace", "SpaceToDepth", "Upsample", "Resize"}


def test_lrn_is_steeper_within_reach_than_at_the_sample() -> None:
    """Far out LRN is flat; a perturbation that reaches the origin meets its steep part."""
    layer, _ = next(c for c in CASES if c.name == "lrn_steep").build(np.random.default_rng(0))
    a = torch.full((1, 1, 5, 2), 1e3, dtype=torch.float64)
    near = torch.full_like(a, 0.3)
    for norm in Norm:
        site = Site(norm, (a,), layer.forward(a))
        q = near - a
        move = Deviation(norm.of_rows(q))
        change = norm.of_rows(layer.forward(a + q) - site.output)
        here = layer.modulus(site, Deviation(move.size * 1e-12)).size / (move.size * 1e-12)
        assert float(here * move.size) < float(change) <= float(layer.modulus(site, move).size)


def test_reach_narrows_an_activation() -> None:
    """Neurons that cannot switch on within their reach drop out of the bound."""
    layer, _ = next(c for c in CASES if c.name == "relu").build(np.random.default_rng(0))
    z = torch.full((1, 1, 3, 6, 5), -1.0, dtype=torch.float64)
    z.view(-1)[:2] = 1.0
    size = torch.tensor([2.0], dtype=torch.float64)
    unit = torch.full((90,), 0.1, dtype=torch.float64)
    move = Deviation(size, Reach(unit, size, torch.zeros(1, dtype=torch.float64)))
    bound = layer.modulus(Site(Norm.L2, (z,), torch.relu(z)), move)
    assert float(bound.size) == pytest.approx(0.2 * 2**0.5, rel=1e-9)
