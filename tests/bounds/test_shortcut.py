"""Shortcuts to the input against exact fractions, and against the way layer by layer."""

from __future__ import annotations

from fractions import Fraction
from operator import mul

import numpy as np
import pytest
import torch
from bounds.frame_checks import classes, margins_of, problem_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network_factory import Builder

from boundcert.bounds.backward import concretise
from boundcert.bounds.frame import Frame
from boundcert.bounds.shortcut import Shortcut
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from boundcert.network.graph import Network
from boundcert.norms import Norm
from examples import examples

norms = st.sampled_from(list(Norm))
#: Entries of the matrix, whose squares stay numbers.
scales = st.sampled_from([1e-60, 1e-3, 1.0, 1e8, 1e60])


def fractions(values: torch.Tensor) -> list[Fraction]:
    return [Fraction(v) for v in values.flatten().tolist()]


def drop(row: list[Fraction], eps: Fraction, norm: Norm) -> tuple[Fraction, int]:
    """ε‖row‖_q to the power that makes it rational, and the power."""
    if norm is Norm.L2:
        return eps**2 * sum((v * v for v in row), Fraction()), 2
    size = [abs(v) for v in row]
    return eps * (max(size) if norm is Norm.L1 else sum(size, Fraction())), 1


def cancelling_rows(rng: np.random.Generator, count: int, height: int) -> np.ndarray:
    """Rows of which some cancel what the matrix' rows have in common."""
    rows = rng.standard_normal((count, height))
    rows[::2] -= rows[::2].mean(axis=1, keepdims=True)
    return rows


def check(values: np.ndarray, rows: np.ndarray, norm: Norm, slack: float) -> Shortcut:
    """Bounds lie below the exact minimum over the ball, by little; the shortcut."""
    matrix, height = torch.from_numpy(values), len(values)
    owner, eps = torch.tensor([0, 0, 1, 1]), torch.tensor([0.5, 3.0], dtype=torch.float64)
    zero = torch.zeros(2, height, dtype=torch.float64)
    shortcut = Shortcut.of(matrix, torch.zeros(height, dtype=torch.float64), norm)
    way = shortcut.at(Box(zero, zero, zero), eps)
    (found,), rest = way.below(Rows.of(torch.from_numpy(rows), owner, (height,)))
    lower = concretise(found, rest, tuple(found.values.shape[1:]), norm).at(eps[owner])
    exact = [fractions(column) for column in matrix.T]
    for r, row in enumerate(torch.from_numpy(rows)):
        coefficients = fractions(row)
        product = [sum(map(mul, coefficients, column), Fraction()) for column in exact]
        least, power = drop(product, Fraction(float(eps[owner[r]])), norm)
        mine = Fraction(-float(lower[r]))
        assert mine**power >= least
        allowed = slack * float(eps[owner[r]] * (row.abs() @ matrix.abs()).sum()) + 1e-280
        assert float(mine) <= float(least) ** (1 / power) + allowed
    return shortcut


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    norm=norms,
    scale=scales,
    common=st.sampled_from([0.0, 1e6]),
    shape=st.sampled_from([(3, 12), (5, 6), (6, 4), (1, 9)]),
)
def test_bounds_hold_exactly(seed, norm, scale, common, shape) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    height, width = shape
    values = (rng.standard_normal(shape) + common * rng.standard_normal(width)) * scale
    shortcut = check(values, cancelling_rows(rng, 4, height), norm, 1e-9)
    narrow = norm is Norm.L2 and height < width / 2
    assert shortcut.matrix.shape[1] == (height if narrow else width)


@pytest.mark.parametrize("off", ["q", "r"])
@settings(max_examples=examples(20), deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_poor_factor_only_loosens(off: str, seed: int) -> None:
    """Nothing is believed of the library's factors."""
    rng, qr = np.random.default_rng(seed), torch.linalg.qr

    def poor(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q, r = qr(matrix)
        if off == "q":
            # a longer q and a shorter r: their product is right, q's columns are no unit vectors
            return q * (1 + 3e-8), r / (1 + 3e-8)
        return q, r * (1 - 1e-7)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.linalg, "qr", poor)
        rows = cancelling_rows(rng, 4, 4)
        shortcut = check(rng.standard_normal((4, 16)), rows, Norm.L2, 1e-5)
    assert shortcut.matrix.shape[1] == 4


def network_with_prefix(seed: int) -> Network:
    """x ↦ (x − a)/b in front of a wide input's dense layers, two of them without activation."""
    b = Builder((1, 1, 4, 5), np.random.default_rng(seed))
    shift, size = b.weight(1, 1, 4, 5), np.abs(b.weight(1)) + 0.5
    k = b.add("Div", [b.add("Sub", [0], None, [shift])], None, [size])
    k = b.dense(b.dense(b.flatten(k), 12), 9)
    return b.finish(b.activation(b.dense(b.activation(k), 8)), 4)


@pytest.mark.parametrize("norm", list(Norm))
def test_shortcuts_change_no_bound(norm: Norm) -> None:
    """Boxes and margins are those of the way layer by layer."""
    for seed in range(6):
        network = network_with_prefix(seed)
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.standard_normal((3, *network.input_shape)))
        problem, label = problem_of(network, norm, x), classes(network, x)
        eps = torch.full((3,), 0.05, dtype=torch.float64)
        assert problem.prefix.shortcuts
        short = Frame.build(problem, eps)
        margins = margins_of(short, label)
        problem.prefix.shortcuts.clear()
        long = Frame.build(problem, eps)
        wanted = margins_of(long, label)
        for a, b in ((short.boxes[k], long.boxes[k]) for k in range(len(problem.values))):
            torch.testing.assert_close(a.low, b.low, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(a.high, b.high, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(margins.base, wanted.base, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(margins.slope, wanted.slope, rtol=1e-9, atol=1e-12)
