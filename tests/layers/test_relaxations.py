"""Every primitive layer's interval and relaxation against points of the box."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from boxed_cases import (
    CHOSEN,
    ROOM,
    boxed,
    exact,
    inside,
    scales,
    seeds,
    some_choice,
    some_rows,
    widths,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import CASES, Case

from boundcert.layers import registry
from boundcert.layers.affine import Affine
from boundcert.layers.base import NodeSpec, Unsupported, numel
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from examples import examples

#: Rows to try: of single entries, dense, dense with lines chosen at random, on patches.
FORMS = ["single", "whole", "mixed", "patches"]


@pytest.mark.parametrize("case", CHOSEN, ids=lambda c: c.name)
@settings(max_examples=examples(10), deadline=None)
@given(seed=seeds, scale=scales, width=widths)
def test_interval_holds(case: Case, seed: int, scale: float, width: float) -> None:
    rng = np.random.default_rng(seed)
    layer, boxes, _ = boxed(case, rng, scale, width, 2)
    low, high = layer.interval(*boxes)
    for kind in range(4):
        points = inside(rng, boxes, kind)
        out = layer.forward(*points)
        size = sum(float(p.abs().max()) for p in points) + out.abs()
        assert not bool((out < low - ROOM * 1e-3 * size).any())
        assert not bool((out > high + ROOM * 1e-3 * size).any())


@pytest.mark.parametrize("case", CHOSEN, ids=lambda c: c.name)
@settings(max_examples=examples(15), deadline=None)
@given(seed=seeds, scale=scales, width=widths, form=st.sampled_from(FORMS))
def test_relaxation_holds(case: Case, seed: int, scale: float, width: float, form: str) -> None:
    """c·δ_out ≥ Σ c_k·δ_k + rest at points of the boxes, whatever lines are chosen."""
    rng = np.random.default_rng(seed)
    samples, count = 2, 6
    layer, boxes, value = boxed(case, rng, scale, width, samples)
    relaxation = layer.relax(boxes, value)
    shape = tuple(value.shape[1:])
    owner = torch.arange(samples).repeat_interleave(count)
    if form == "single":
        index = torch.from_numpy(rng.integers(numel(shape), size=len(owner)))
        sign = torch.from_numpy(rng.choice([-1.0, 1.0], size=len(owner)))
        c = torch.zeros(len(owner), numel(shape), dtype=torch.float64)
        c[torch.arange(len(owner)), index] = sign
        parts, rest = relaxation.single(index, owner, sign)
    else:
        rows = some_rows(rng, owner, shape, patches=form == "patches")
        c = rows.flat(shape).flatten(1)
        if form == "mixed" and relaxation.free:
            parts, rest = relaxation.mixed(rows, some_choice(rng, relaxation, rows))
        else:
            parts, rest = relaxation.below(rows)
    pulled = [p.flat(tuple(b.point.shape[1:])).flatten(1).numpy() for p, b in zip(parts, boxes)]
    for kind in range(4):
        points = inside(rng, boxes, kind)
        out = exact(layer, points) - value.numpy()
        out = out.reshape(samples, -1)[owner]
        left = (c.numpy() * out).sum(axis=1)
        room = np.abs(c.numpy()) @ np.ones(out.shape[1]) * float(value.abs().max())
        right = rest.numpy().astype(np.longdouble)
        for row, point, box in zip(pulled, points, boxes):
            delta = (point.numpy().astype(np.longdouble) - box.point.numpy()).reshape(samples, -1)
            right = right + (row * delta[owner]).sum(axis=1)
            room = room + (np.abs(row) * np.abs(delta[owner])).sum(axis=1)
        bounded = np.isfinite(rest.numpy())
        assert not (bounded & (left < right - ROOM * room)).any()
    for part in parts:
        mass = part.values.abs().flatten(1).sum(dim=1)
        assert not bool((part.mass < mass * (1 - 1e-12)).any())


@pytest.mark.parametrize("case", [c for c in CHOSEN if c.op == "Conv"], ids=lambda c: c.name)
@settings(max_examples=examples(10), deadline=None)
@given(seed=seeds)
def test_patches_are_the_rows_of_the_matrix(case: Case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, shapes = case.build(rng)
    assert isinstance(layer, Affine)
    n = numel(layer.out_shape)
    owner, index = torch.zeros(n, dtype=torch.int64), torch.arange(n)
    unit = torch.eye(n, dtype=torch.float64)
    dense = layer.transpose(unit.reshape(n, *layer.out_shape))
    mass = torch.full((n,), 1e9, dtype=torch.float64)
    whole = layer.pull(Rows.of(unit, owner, layer.out_shape), mass).flat(shapes[0])
    assert torch.allclose(whole, dense, rtol=1e-12, atol=1e-12)
    rows = layer.single(index, owner)
    if rows is not None:
        assert torch.equal(rows.flat(shapes[0]), dense)
        # what lies off the plane is 0, or the next product would carry it on
        assert rows.values.count_nonzero() == dense.count_nonzero()


def test_a_scaled_reciprocal_is_no_primitive() -> None:
    case = next(c for c in CASES if c.name == "reciprocal")
    layer, boxes, value = boxed(case, np.random.default_rng(0), 1.0, 0.1, 1)
    with pytest.raises(Unsupported):
        layer.relax(boxes, value)


@pytest.mark.parametrize("end", [-np.inf, np.nan])
def test_a_padded_pool_of_unbounded_entries_gives_no_bound(end: float) -> None:
    """Entries without a bound tied with the padding, which was then picked."""
    case = next(c for c in CASES if c.name == "max_overlap")
    layer, (box,), value = boxed(case, np.random.default_rng(0), 1.0, 0.1, 1)
    low = torch.full_like(box.low, end)
    relaxation = layer.relax((Box(low, box.high, box.point),), value)
    n = value[0].numel()
    rows = Rows.of(
        -torch.eye(n, dtype=torch.float64), torch.zeros(n, dtype=torch.int64), value.shape[1:]
    )
    (part,), rest = relaxation.below(rows)
    points = inside(np.random.default_rng(1), (box,), 0)
    out = (layer.forward(*points) - value).reshape(-1)
    delta = (points[0] - box.point).reshape(-1)
    right = part.flat(tuple(box.point.shape[1:])).flatten(1) @ delta + rest
    assert not bool((-out < right - 1e-12).any())


def test_a_single_row_pays_the_whole_residual() -> None:
    """It was charged per unit of the row's own coefficients: too little for small weights."""
    rng = np.random.default_rng(0)
    weight, bias = rng.standard_normal((40, 6)) * 1e-6, rng.standard_normal(40)
    spec = NodeSpec("Gemm", "g", 18, {"transB": 1}, ((1, 6), weight, bias), (1, 40))
    layer = registry.build(spec)
    x = rng.standard_normal(6)
    point = torch.from_numpy(x).reshape(1, 1, 6)
    value = layer.forward(point)
    relaxation = layer.relax((Box(point - 1, point + 1, point),), value)
    index, owner = torch.arange(40), torch.zeros(40, dtype=torch.int64)
    for sign in (1.0, -1.0):
        _, rest = relaxation.single(index, owner, torch.full((40,), sign, dtype=torch.float64))
        for i in range(40):
            exact = sum(
                (Fraction(w) * Fraction(v) for w, v in zip(weight[i], x)), Fraction(bias[i])
            )
            off = Fraction(sign) * (exact - Fraction(float(value[0, 0, i])))
            assert off >= Fraction(float(rest[i]))


@pytest.mark.parametrize("far", [0.0, 1e3])
def test_whole_rows_of_a_matrix_pay_for_all_that_is_rounded(far: float) -> None:
    """In fractions: what the value at the sample is off by, and what coefficients are, far out."""
    rng = np.random.default_rng(1)
    weight, bias = rng.standard_normal((9, 30)), rng.standard_normal(9)
    spec = NodeSpec("Gemm", "g", 18, {"transB": 1}, ((1, 30), weight, bias), (1, 9))
    layer = registry.build(spec)
    x = rng.standard_normal(30)
    point = torch.from_numpy(x).reshape(1, 1, 30)
    value = layer.forward(point)
    relaxation = layer.relax((Box(point - far, point + far, point),), value)
    c = torch.from_numpy(rng.standard_normal((40, 1, 9)))
    (rows,), rest = relaxation.below(Rows.of(c, torch.zeros(40, dtype=torch.int64), (1, 9)))
    back = rows.flat((1, 30)).reshape(40, 30)
    w, v = [[Fraction(e) for e in row] for row in weight], value.reshape(-1).tolist()
    moved = [Fraction(x[k] + far * (-1) ** k) - Fraction(x[k]) for k in range(30)]
    for r, row in enumerate(c.reshape(40, 9).tolist()):
        out = sum(
            Fraction(e) * (sum((w[j][k] * (Fraction(x[k]) + moved[k]) for k in range(30)), start=b))
            - Fraction(e) * Fraction(v[j])
            for j, (e, b) in enumerate(zip(row, map(Fraction, bias)))
        )
        inner = sum(Fraction(e) * d for e, d in zip(back[r].tolist(), moved))
        assert out >= inner + Fraction(float(rest.expand(40)[r]))


@pytest.mark.parametrize("case", CHOSEN, ids=lambda c: c.name)
@settings(max_examples=examples(3), deadline=None)
@given(seed=seeds, patches=st.booleans())
def test_tapes_follow_every_relaxation(case: Case, seed: int, patches: bool) -> None:
    """Gradients of what rows become, against differences of the same off the tape."""
    rng = np.random.default_rng(seed)
    layer, boxes, value = boxed(case, rng, 1.0, 0.3, 2)
    relaxation, owner = layer.relax(boxes, value), torch.arange(2).repeat_interleave(3)
    rows = some_rows(rng, owner, tuple(value.shape[1:]), patches)
    weights = [torch.from_numpy(rng.standard_normal(box.point[0].shape)) for box in boxes]

    def total(rows: Rows) -> torch.Tensor:
        parts, rest = relaxation.by_lines(rows)
        whole = (part.flat(tuple(w.shape)) * w for part, w in zip(parts, weights))
        return sum(part.flatten(1).sum(dim=1) for part in whole) + rest  # type: ignore[return-value]

    taped = rows.values.float().requires_grad_()
    (grad,) = torch.autograd.grad(total(rows.with_values(taped, rows.mass)).sum(), taped)
    # along a direction that changes no sign
    way = torch.from_numpy(rng.uniform(-1, 1, rows.values.shape)) * rows.values
    apart = [total(rows.with_values(rows.values + s * way, rows.mass)) for s in (1e-4, -1e-4)]
    numeric = (apart[0] - apart[1]) / 2e-4
    found = (grad.double() * way).flatten(1).sum(dim=1)
    known = torch.isfinite(numeric)
    size = 1 + numeric.abs() + (grad.double() * way).abs().flatten(1).sum(dim=1)
    assert bool(((found - numeric).abs() <= 2e-3 * size)[known].all())
