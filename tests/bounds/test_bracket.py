"""Searches rest on no hint: what frames prove farther out is found, whatever slopes say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_factory import Builder, random_network

from boundcert.bounds.enclosure import Enclosure
from boundcert.bounds.frame import Frame
from boundcert.bounds.looks import decided
from boundcert.bounds.margins import Margins
from boundcert.bounds.methods import Limits
from boundcert.bounds.problem import Problem
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.relax import RELAX, Ladder
from boundcert.network.graph import Network
from boundcert.norms import Norm


def plateau(seed: int, widths: tuple[int, ...] = (24, 24)) -> Network:
    """At 0 every unit of the first layer is off: no slope there says anything."""
    rng = np.random.default_rng(seed)
    b = Builder((1, 8), rng, 1.5)
    k = 0
    for width in widths:
        weight, shift = b.weight(width, b.shape(k)[1]), -np.abs(b.weight(width)) - 0.05
        k = b.add("Relu", [b.add("Gemm", [k], (1, width), [weight, shift], transB=1)])
    return b.finish(k, 3)


def bisected(problem: Problem, label: torch.Tensor, start: float) -> float:
    """The radius up to which frames prove themselves, by doubling and bisection alone."""
    margins = Margins.of(problem, label)

    def holds(eps: float) -> bool:
        frame = Frame.build(problem, torch.tensor([eps], dtype=torch.float64))
        return bool(decided(frame, margins.reach(frame))[0] >= eps)

    low = start
    while holds(2 * low) and low < 1e6:
        low *= 2
    high = 2 * low
    for _ in range(12):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@torch.no_grad()
def radii(network: Network, norm: Norm, x: torch.Tensor) -> tuple[float, float, float]:
    """Of the walk, of ``relax``, and by bisection from there on."""
    evaluation = Evaluation(network, network.run(x))
    label = evaluation.values[-1].reshape(1, -1).argmax(dim=1)
    ladder = Ladder(network, norm, Limits(), (RELAX,), False)
    walk = float(ladder.walk(evaluation, label).radius[0])
    found = float(ladder(evaluation, label).radius[0])
    assert ladder.primitive is not None and ladder.prefix is not None
    problem = Problem.of(ladder.primitive, norm, ladder.prefix, x)
    return walk, found, bisected(problem, label, walk)


@pytest.mark.parametrize("norm", list(Norm), ids=lambda norm: norm.value)
@pytest.mark.parametrize("seed", range(4))
def test_on_a_plateau_frames_are_tried_farther_out(seed: int, norm: Norm) -> None:
    network = plateau(seed)
    walk, found, plain = radii(network, norm, torch.zeros(1, 1, 8, dtype=torch.float64)[:, 0])
    assert plain > 1.5 * walk
    assert found >= 0.99 * plain


@pytest.mark.parametrize("seed", range(12))
def test_no_less_is_found_than_by_bisection(seed: int) -> None:
    network, norm = random_network(700 + seed, (0.3, 1.0, 3.0)[seed % 3]), list(Norm)[seed % 3]
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, *network.input_shape, generator=random, dtype=torch.float64)
    _, found, plain = radii(network, norm, x)
    assert found >= 0.99 * plain


@pytest.mark.parametrize("start", [1e-12, 1e-3, 1.0, 1e9, 1e280])
@pytest.mark.parametrize("known", [0.0, 1e-9, 0.01])
@pytest.mark.parametrize("hint", ["nothing", "a little up", "a little down", "true"])
def test_a_bracket_closes_whatever_hints_say(start: float, known: float, hint: str) -> None:
    """Frames at ε ≤ 0.5 hold, others do not; the hint of a root is of no use, or right."""
    root, rows = 0.5, np.arange(1)
    at = np.array([max(start, known * 1.01)])
    enclosure = Enclosure(at, 1.1, np.array([known]))
    best = known
    for _ in range(80):
        holds = bool(at[0] <= root)
        best = max(best, float(at[0])) if holds else best
        told = {
            "nothing": np.array([np.inf if holds else np.nan]),
            "a little up": at * (1.001 if holds else 0.999),
            "a little down": at * (1.00001 if holds else 0.99999),
            "true": np.array([root]),
        }[hint]
        shown = np.nan_to_num(told, posinf=8 * at[0]).clip(at / 8, at * 8)
        further = enclosure.next(rows, at, shown)
        further, _ = enclosure.halved(rows, at, shown)
        at, _ = enclosure.closed(rows, at, told, further)
    assert best > 0.95 * root
