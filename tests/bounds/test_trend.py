"""Where scouts look ahead, bounds are about as far out as a frame there finds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from bounds.frame_checks import classes, problem_of
from network_factory import Builder, relu_mlp

from boundcert.bounds.frame import Frame
from boundcert.bounds.looks import STEEP, frame_root
from boundcert.bounds.margins import Margins
from boundcert.bounds.problem import Problem
from boundcert.bounds.trend import FIRST, SECOND, Trend
from boundcert.layers.relaxation import Box
from boundcert.network.graph import Network
from boundcert.norms import Norm

SAMPLES = 4


def problem(network: Network) -> Problem:
    """Samples of a network, the same every time."""
    x = torch.rand(SAMPLES, *network.input_shape, generator=torch.Generator().manual_seed(1))
    return problem_of(network, Norm.L2, x.double())


def frame_at(samples: Problem, radius: float) -> Frame:
    return Frame.build(samples, torch.full((SAMPLES,), radius, dtype=torch.float64))


def widths(frame: Frame, node: int) -> torch.Tensor:
    """How far bounds are from the value at the sample, (2, B, n); nan where there is none."""
    form, box = frame.forms[node], frame.boxes[node]
    far = torch.stack((box.point - box.low, box.high - box.point))
    return torch.where(torch.stack(form.known), far, torch.nan)


def off_by(network: Network, radii: tuple[float, ...], there: float) -> tuple[float, float]:
    """The mean error of logarithms of widths at a radius ``there``, as frames at some radii
    tell, and the error of taking them to be those of the last frame times the radii's ratio."""
    samples = problem(network)
    rows, trend, truth = torch.arange(SAMPLES), Trend(SAMPLES), frame_at(samples, there)
    for radius in radii:
        frame = frame_at(samples, radius)
        ahead = trend.ahead(rows, frame)
        nodes = [k for k in frame.forms if k in truth.forms]
        boxes = {k: ahead(k, frame.boxes[k], truth.eps) for k in nodes}
    errors, plain = [], []
    for k in nodes:
        box, real, last = boxes[k], widths(truth, k), widths(frame, k)
        far = torch.stack((box.point - box.low, box.high - box.point))
        both = real.isfinite() & last.isfinite() & (real > 0)
        errors.append((far / real).log().abs()[both])
        plain.append((last * (there / radii[-1]) / real).log().abs()[both])
    return float(torch.cat(errors).mean()), float(torch.cat(plain).mean())


@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize("there", [0.1, 0.25, 0.4])
def test_one_frame_says_what_bounds_elsewhere_are(seed: int, there: float) -> None:
    error, plain = off_by(relu_mlp(seed, (60, 60, 60)), (0.2,), there)
    assert error < 0.5 * plain


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_two_frames_say_it(seed: int) -> None:
    error, plain = off_by(relu_mlp(seed, (60, 60, 60)), (0.14, 0.2), 0.25)
    assert error < 0.5 * plain


@pytest.mark.parametrize("size", [1e60, 1e-60])
def test_numbers_beyond_float32_are_told_as_well(size: float) -> None:
    error, _ = off_by(relu_mlp(0, (60, 60), size), (0.2,), 0.25)
    other, _ = off_by(relu_mlp(0, (60, 60)), (0.2,), 0.25)
    assert error == pytest.approx(other, rel=1e-3)


def test_an_end_that_nobody_bounded_is_as_far_as_the_other() -> None:
    frame = frame_at(problem(relu_mlp(0, (60, 60))), 0.2)
    ahead = Trend(SAMPLES).ahead(torch.arange(SAMPLES), frame)
    (node,) = frame.forms
    low, high = (end.clone() for end in frame.forms[node].known)
    box = ahead(node, frame.boxes[node], frame.eps)
    far = torch.stack((box.point - box.low, box.high - box.point))
    alone = low & ~high
    assert bool(alone.any())
    assert bool(((far[0] - far[1]).abs() <= 1e-5 * far[0])[alone].all())


@pytest.mark.parametrize(("pooled", "order"), [(True, FIRST), (False, SECOND)])
def test_what_is_lost_behind_maxima_of_windows_is_of_first_order(
    pooled: bool, order: float
) -> None:
    b = Builder((1, 1, 6, 6), np.random.default_rng(0), 1.0)
    k = b.conv(0, 3)
    k = b.add("MaxPool", [k], kernel_shape=[2, 2]) if pooled else b.add("Relu", [k])
    network = b.finish(b.add("Relu", [b.dense(b.flatten(k), 9)]), 3)
    frame = frame_at(problem(network), 0.3)
    trend = Trend(SAMPLES)
    ahead = trend.ahead(torch.arange(SAMPLES), frame)
    for node in frame.forms:
        ahead(node, frame.boxes[node], frame.eps)
    assert trend.last[max(frame.forms)].order == order


def test_what_is_only_estimated_proves_nothing() -> None:
    """Boxes ahead that are points would have lines without a gap, and margins that never vanish."""
    samples = problem(network := relu_mlp(0, (60, 60)))
    margins = Margins.of(samples, classes(network, samples.values[0]))
    frame = frame_at(samples, 0.4)

    def points(k: int, box: Box, eps: torch.Tensor) -> Box:
        return replace(box, low=box.point.clone(), high=box.point.clone())

    steep = np.full(SAMPLES, STEEP)
    with np.errstate(all="ignore"):
        real = frame_root(frame, margins, steep.copy(), within=1e-4)
        false = frame_root(frame, margins, steep.copy(), points)
    assert bool((real.root < 0.4).all())
    assert bool((false.root > real.root).all())
    assert bool((false.proved <= real.root).all())
