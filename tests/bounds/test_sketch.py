"""Sketches say where frames go, about, and nothing is proved by them."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch
from bounds.frame_checks import classes, problem_of
from network_factory import Builder, relu_mlp, smooth_mlp

from boundcert.bounds import sketch
from boundcert.bounds.clock import Clock
from boundcert.bounds.first import sketched, straight
from boundcert.bounds.form import Form
from boundcert.bounds.frame import Frame
from boundcert.bounds.looks import STEEP
from boundcert.bounds.margins import Margins
from boundcert.bounds.problem import Problem
from boundcert.bounds.relax import RELAX
from boundcert.bounds.root import largest_radius
from boundcert.bounds.sketch import ROWS, Sketch, fill, worthwhile
from boundcert.network.graph import Network
from boundcert.norms import Norm

SAMPLES = 4


def pooled(seed: int) -> Network:
    """Convolutions and a max-pool between them."""
    b = Builder((1, 2, 8, 8), np.random.default_rng(seed), 1.0)
    k = b.add("MaxPool", [b.add("Relu", [b.conv(0, 6)])], kernel_shape=[2, 2])
    return b.finish(b.add("Relu", [b.dense(b.flatten(b.conv(k, 4)), 30)]), 5)


NETWORKS = {
    "dense": relu_mlp(0, (60, 60, 60), classes=10),
    "smooth": smooth_mlp(3),
    "pooled": pooled(2),
}


@pytest.fixture(autouse=True)
def always():
    """However few rows there are."""
    with patch.object(sketch, "MANY", 0), torch.no_grad(), np.errstate(all="ignore"):
        yield


def case(name: str, norm: Norm) -> tuple[Problem, torch.Tensor, torch.Tensor]:
    """Samples of a network, their classes and the radii that ``relax`` proves."""
    network = NETWORKS[name]
    x = torch.rand(SAMPLES, *network.input_shape, generator=torch.Generator().manual_seed(5))
    problem = problem_of(network, norm, x.double())
    label = classes(network, x.double())
    zero = torch.zeros(SAMPLES, dtype=torch.float64)
    return problem, label, largest_radius(problem, label, zero, RELAX, Clock())


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("off", [0.4, 2.0])
def test_sketches_say_where_roots_are(name: str, norm: Norm, off: float) -> None:
    problem, label, radius = case(name, norm)
    _, near = straight(problem, Margins.of(problem, label))
    guess, steep = radius.numpy() * off, np.full(SAMPLES, STEEP)
    found = sketched(problem, near, guess, steep, Clock())
    # at least twice as near as the guess
    assert np.abs(np.log(found / radius.numpy())).mean() < 0.5 * abs(np.log(off))


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("name", ["dense", "pooled"])
def test_what_is_guessed_is_about_what_a_frame_finds(name: str, norm: Norm) -> None:
    problem, _, radius = case(name, norm)
    real, guess = Frame.build(problem, radius), Frame.build(problem, radius, sketch=Sketch())
    node = max(real.forms)
    errors = []
    for end in ("low", "high"):
        one, two = (getattr(frame.forms[node], end) for frame in (real, guess))
        point = problem.values[node] * (1 if end == "low" else -1)
        wide = radius.reshape(-1, *([1] * (point.dim() - 1)))
        found, guessed = ((point - bound.at(wide)).log() for bound in (one, two))
        both = found.isfinite() & guessed.isfinite()
        errors.append((guessed - found)[both])
    error = torch.cat(errors)
    assert abs(float(error.mean())) < 0.1
    assert float(error.abs().mean()) < 0.3


def test_a_frame_of_a_sketch_proves_nothing() -> None:
    problem, _, radius = case("dense", Norm.L2)
    frame = Frame.build(problem, radius, sketch=Sketch())
    assert frame.precision is torch.float32


def test_few_rows_are_not_worth_a_sketch() -> None:
    problem, _, _ = case("dense", Norm.L2)
    # 60 entries behind two affine layers, 60 behind three
    with patch.object(sketch, "MANY", SAMPLES * 60 * 5):
        assert worthwhile(problem)
    with patch.object(sketch, "MANY", SAMPLES * 60 * 5 + 1):
        assert not worthwhile(problem)


def test_a_few_of_the_wanted_ends_are_bounded() -> None:
    wanted = torch.zeros(SAMPLES, 60, 2, dtype=torch.bool)
    wanted[0, :30], wanted[1, 7, 1] = True, True
    some = Sketch().some(wanted)
    assert some.flatten(1).sum(dim=1).tolist() == [ROWS, 1, 0, 0]
    assert bool((wanted | ~some).all())


def test_bounds_that_are_known_stay_and_no_others_are_guessed() -> None:
    problem, _, radius = case("dense", Norm.L2)
    plain = Frame.build(problem, radius)
    node = max(plain.forms)
    whole = plain.forms[node]
    form = Form.unknown(whole.low.base.shape)
    wanted = torch.stack([known.flatten(1) for known in whole.known], dim=-1)
    wanted[1] = False
    found = torch.nonzero(Sketch().some(wanted))
    parts = torch.stack([whole.low.base, whole.high.base], dim=-1).reshape(SAMPLES, -1, 2)
    slopes = torch.stack([whole.low.slope, whole.high.slope], dim=-1).reshape(SAMPLES, -1, 2)
    places = found.unbind(dim=1)
    bound = type(whole.low)(parts[places], slopes[places])
    form.keep(found, bound)
    fill(form, wanted, found, bound, problem.values[node])
    base = torch.stack([form.low.base, form.high.base], dim=-1).reshape(SAMPLES, -1, 2)
    assert torch.equal(base[places], parts[places])
    assert torch.equal(base.isfinite(), wanted)
