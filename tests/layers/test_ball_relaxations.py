"""Relaxations over a box and a ball at once, at points of both where they are tightest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from boxed_cases import (
    CHOSEN,
    ROOM,
    boxed,
    elementwise,
    exact,
    inside,
    scales,
    seeds,
    some_choice,
    widths,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import Case

from boundcert.layers.base import Layer, numel
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from examples import examples

#: Steps of a descent, and by how much each is shorter than the one before.
STEPS, SHORTER = 12, 0.75


def within(box: Box, bent: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
    """Deviations moved into the box, and those of bent entries shrunk into the ball."""
    assert box.spread is not None
    delta = torch.minimum(torch.maximum(delta, box.low - box.point), box.high - box.point)
    share = box.spread / torch.where(bent, delta, 0.0).flatten(1).norm(dim=1)
    share = torch.clamp(share, max=1.0).nan_to_num(1.0) * (1 - 1e-12)
    return torch.where(bent, delta * share.reshape(-1, *[1] * (delta.dim() - 1)), delta)


def tightest(
    layer: Layer,
    box: Box,
    bent: torch.Tensor,
    c: torch.Tensor,
    row: torch.Tensor,
    delta: torch.Tensor,
) -> torch.Tensor:
    """A descent of c·layer(point + δ) − row·δ, every row for itself."""
    assert box.spread is not None
    for step in range(STEPS):
        leaf = delta.clone().requires_grad_()
        total = (c * layer.forward(box.point + leaf)).sum() - (row * leaf).sum()
        (grad,) = torch.autograd.grad(total, leaf)
        length = box.spread / grad.flatten(1).norm(dim=1) * SHORTER**step
        move = (grad * length.reshape(-1, *[1] * (grad.dim() - 1))).nan_to_num(0.0, 0.0, 0.0)
        delta = within(box, bent, delta - move)
    return delta


@pytest.mark.parametrize(
    "case", [c for c in CHOSEN if elementwise(c) or "MaxPool" in c.op], ids=lambda c: c.name
)
@settings(max_examples=examples(15), deadline=None)
@given(
    seed=seeds,
    scale=scales,
    width=widths,
    share=st.sampled_from([1e-6, 0.03, 0.3, 1.0]),
    chosen=st.booleans(),
)
def test_relaxation_over_a_ball_holds(
    case: Case, seed: int, scale: float, width: float, share: float, chosen: bool
) -> None:
    """c·δ_out ≥ c'·δ + rest in the box, ‖δ‖₂ ≤ spread where bent, whatever an ascent chooses."""
    rng = np.random.default_rng(seed)
    samples, count = 2, 6
    layer, (box,), value = boxed(case, rng, scale, width, samples)
    box = replace(box, spread=box.deviation.flatten(1).norm(dim=1) * share)
    shape = tuple(value.shape[1:])
    owner = torch.arange(samples).repeat_interleave(count)
    c = torch.from_numpy(rng.standard_normal((len(owner), numel(shape))))
    c = c * torch.from_numpy(rng.random(c.shape) < 0.7)
    c[::2] = -c[::2].abs()  # of one sign: what adds up most
    relaxation, rows = layer.relax((box,), value), Rows.of(c, owner, shape)
    if chosen and relaxation.free:
        (part,), rest = relaxation.mixed(rows, some_choice(rng, relaxation, rows, ball=True))
    else:
        (part,), rest = relaxation.below(rows)
    c, row = (
        c.reshape(-1, *shape),
        part.flat(tuple(box.point.shape[1:])).reshape(-1, *box.point.shape[1:]),
    )
    assert relaxation.bent is not None
    each, bent = box.take(owner), relaxation.bent[owner]
    for kind in range(4):
        (start,) = inside(rng, (each,), kind)
        delta = within(each, bent, start - each.point)
        for point in (each.point + delta, each.point + tightest(layer, each, bent, c, row, delta)):
            out = exact(layer, [point]) - value[owner].numpy()
            move = point.numpy().astype(np.longdouble) - each.point.numpy()
            left = (c.numpy() * out).reshape(len(owner), -1).sum(axis=1)
            pulled = (row.numpy() * move).reshape(len(owner), -1)
            room = c.abs().flatten(1).sum(dim=1).numpy() * float(
                value.abs().max() + point.abs().max()
            ) + np.abs(pulled).sum(axis=1)
            bounded = np.isfinite(rest.numpy())
            right = pulled.sum(axis=1) + rest.numpy()
            assert not (bounded & (left < right - ROOM * room)).any()
