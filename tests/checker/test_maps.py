"""The checker's linear maps: forward as torch has it, and transposes that are adjoint to it."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.checker.maps import Convolution, Map, Matrix, Pick, Total
from examples import examples

seeds = st.integers(0, 2**32 - 1)
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def assert_adjoint(part: Map, n: int, rng: np.random.Generator) -> None:
    """⟨c, W x⟩ = ⟨Wᵀc, x⟩, entry by entry; |W| and W² are of the same W; counts hold."""
    whole = np.stack([part.forward(e) for e in np.eye(n)], axis=1)
    rows = rng.standard_normal((3, len(whole))) * (rng.random((3, len(whole))) < 0.4)
    np.testing.assert_allclose(part.transpose(rows), rows @ whole, rtol=1e-12, atol=1e-12)
    x = rng.standard_normal(n)
    for change in (np.abs, np.square):
        expected = change(whole) @ x
        np.testing.assert_allclose(part.forward(x, change), expected, rtol=1e-12, atol=1e-12)
    assert (whole != 0).sum(axis=1).max(initial=0) <= part.terms
    assert (whole != 0).sum(axis=0).max(initial=0) <= part.spread


@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, axes=st.sampled_from([1, 2, 2, 3]))
def test_convolutions(seed: int, axes: int) -> None:
    rng = np.random.default_rng(seed)
    stride, dilation, kernel = (tuple(rng.integers(1, 4, axes).tolist()) for _ in range(3))
    pads = tuple(tuple(p) for p in rng.integers(0, 3, (axes, 2)).tolist())
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
    size = tuple(int(max(s - sum(p), 1) + rng.integers(0, 4)) for s, p in zip(span, pads))
    groups, inner, outer = rng.integers(1, 3, 3).tolist()
    weight = rng.standard_normal((outer * groups, inner, *kernel))
    part = Convolution(weight, size, pads, stride, dilation, groups)
    x = rng.standard_normal((1, inner * groups, *size))
    wide = F.pad(torch.from_numpy(x), [v for p in pads[::-1] for v in p])
    expected = CONV[axes](wide, torch.from_numpy(weight), None, stride, 0, dilation, groups)
    assert tuple(expected.shape[2:]) == part.out
    found = part.forward(x.ravel())
    np.testing.assert_allclose(found, expected.numpy().ravel(), rtol=1e-12, atol=1e-12)
    assert_adjoint(part, x.size, rng)


@settings(max_examples=examples(30), deadline=None)
@given(seed=seeds)
def test_matrices_and_picks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms, outs, copies = rng.integers(1, 5, 3).tolist()
    matrix = Matrix(rng.standard_normal((terms, outs)))
    x = rng.standard_normal((copies, terms))
    np.testing.assert_allclose(matrix.forward(x.ravel()), (x @ matrix.weight).ravel())
    assert_adjoint(matrix, x.size, rng)
    index = rng.integers(-1, terms, 7)
    pick = Pick(index, terms, rng.standard_normal(7))
    assert_adjoint(pick, terms, rng)
    assert (pick.forward(x[0])[index < 0] == 0).all()


@settings(max_examples=examples(30), deadline=None)
@given(seed=seeds, apart=st.booleans())
def test_totals(seed: int, apart: bool) -> None:
    """Of rows that share entries, or none."""
    rng = np.random.default_rng(seed)
    count, terms, n = rng.integers(1, 5, 3).tolist()
    n += terms * count
    rows = rng.permutation(n)[: terms * count].reshape(count, terms)
    table = rows if apart else np.stack([rng.permutation(n)[:terms] for _ in range(count)])
    table = np.where(rng.random(table.shape) < 0.3, -1, table)
    total, x = Total(table, n, rng.standard_normal(count)), rng.standard_normal(n)
    expected = [f * sum(x[i] for i in row if i >= 0) for f, row in zip(total.factor, table)]
    np.testing.assert_allclose(total.forward(x), expected, rtol=1e-12, atol=1e-12)
    assert_adjoint(total, n, rng)
