"""Looks find where the margins of a frame vanish, however steeply bounds fall there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bounds.frame_checks import classes, problem_of
from network_factory import Builder, relu_mlp

from boundcert.bounds.frame import Frame
from boundcert.bounds.looks import STEEP, frame_root
from boundcert.bounds.margins import Margins
from boundcert.network.graph import Network
from boundcert.norms import Norm

SAMPLES = 4
#: How far a root may lie from the real one in log s: steps of up to four times that end the looks.
OFF = 0.00375


def steep_mlp(seed: int) -> Network:
    """Activations one behind the other, whose bounds grow by a high power of the radius."""
    b = Builder((1, 8), np.random.default_rng(seed), 1.5)
    k = 0
    for _ in range(6):
        k = b.activation(b.dense(k, 30), ("Tanh",))
    return b.finish(k, 4)


def gap(frame: Frame, margins: Margins, at: torch.Tensor) -> torch.Tensor:
    """How much further than a radius (B,) margins reach there."""
    return margins.reach(frame.tightened(at)).amin(dim=1) - at


def root_by_halves(frame: Frame, margins: Margins, reach: float) -> torch.Tensor:
    """Where the gap changes sign within a factor of the frame's radius; nan where it does not."""
    low, high = frame.eps / reach, frame.eps * reach
    there = (gap(frame, margins, low) > 0) & ~(gap(frame, margins, high) > 0)
    for _ in range(20):
        middle = torch.sqrt(low * high)
        holds = gap(frame, margins, middle) > 0
        low, high = torch.where(holds, middle, low), torch.where(holds, high, middle)
    return torch.where(there, low, torch.nan)


@pytest.mark.parametrize("make", [lambda seed: relu_mlp(seed, (30, 30, 30)), steep_mlp])
@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("times", [0.7, 1.0, 1.4])
def test_looks_end_at_the_root(make, seed: int, times: float) -> None:  # type: ignore[no-untyped-def]
    network = make(seed)
    x = torch.rand(SAMPLES, *network.input_shape, generator=torch.Generator().manual_seed(seed))
    problem = problem_of(network, Norm.L2, x.double())
    margins = Margins.of(problem, classes(network, x.double()))
    eps, steep = torch.full((SAMPLES,), 1e-2, dtype=torch.float64), np.full(SAMPLES, STEEP)
    with np.errstate(all="ignore"):
        for _ in range(6):
            found = frame_root(Frame.build(problem, eps), margins, steep)
            eps = torch.from_numpy(np.where(found.root > 0, found.root, eps.numpy() / 2))
        frame = Frame.build(problem, eps * times)
        found = frame_root(frame, margins, steep)
    real = root_by_halves(frame, margins, 8.0).numpy()
    known = np.isfinite(real)
    assert known.any()
    assert np.abs(np.log(found.root / real))[known].max() <= OFF
