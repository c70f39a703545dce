"""Radii of inputs in a range against everything that could refute them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bounds.frame_checks import CLIMB, assert_holds, classes, margins_of, problem_of, radii_of
from hypothesis import given, settings
from hypothesis import strategies as st
from network_factory import linear_network, random_network, relu_mlp, smooth_mlp

from boundcert.attacks import ATTACKS, gradient_guided_points
from boundcert.attacks.clipped import Clipped
from boundcert.bounds import sketch
from boundcert.bounds.frame import Frame
from boundcert.bounds.methods import About, Limits
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.region import Region
from boundcert.bounds.relax import RELAX, Ladder
from boundcert.clip import Clip
from boundcert.layers.rows import Rows
from boundcert.network.graph import Network
from boundcert.norms import Norm
from examples import examples

seeds = st.integers(0, 2**32 - 1)
norms = st.sampled_from(list(Norm))
factories = st.sampled_from([random_network, random_network, smooth_mlp])
weights = st.sampled_from([0.3, 1.0, 3.0])
inputs = st.sampled_from([1e-3, 1.0, 50.0])
#: Of the ball, in units of the box: far inside it, cut by it, around it.
radii = st.sampled_from([1e-3, 0.1, 0.5, 1.0, 30.0])

SAMPLES = 3
ALL, SOME = torch.arange(SAMPLES), torch.tensor([2, 0])


def box_of(seed: int, scale: float) -> Clip:
    """A range about so wide, which may hold 0 or lie far from it."""
    rng = np.random.default_rng(seed + 2)
    low = float(rng.choice([0.0, -0.5, rng.normal()])) * scale
    return Clip(low, low + scale * float(rng.choice([1.0, 0.2])))


def samples_of(network: Network, seed: int, clip: Clip) -> torch.Tensor:
    """Samples with entries in the range, and on either end of it."""
    rng = np.random.default_rng(seed + 1)
    place = rng.uniform(-0.5, 1.5, (SAMPLES, *network.input_shape)).clip(0.0, 1.0)
    return clip.project(torch.from_numpy(clip.low + place * (clip.high - clip.low)))


def points_of(
    network: Network,
    x: torch.Tensor,
    label: torch.Tensor,
    norm: Norm,
    eps: torch.Tensor,
    clip: Clip,
    seed: int,
) -> list[torch.Tensor]:
    """Points of ball and box: along gradients, random, on the axes, at the samples."""
    args = (network, x, label, norm, eps * (1 - 1e-9), 8, seed % 1000, clip)
    points = [*gradient_guided_points(*args), x]
    for point in points:
        assert clip.holds(point.numpy()).all()
        assert bool((norm.of_rows(point - x) <= eps).all())
    return points


@settings(max_examples=examples(60), deadline=None)
@given(
    make=factories,
    seed=seeds,
    weight=weights,
    scale=inputs,
    size=radii,
    norm=norms,
    ball=st.booleans(),
    means=st.booleans(),
    steps=st.sampled_from([0, 0, 3]),
)
def test_boxes_and_margins_hold(  # type: ignore[no-untyped-def]
    make, seed, weight, scale, size, norm, ball, means, steps
) -> None:
    """Every node's box, and the margins, at points of ball and box; also after tightening."""
    network, clip = make(seed, weight), box_of(seed, scale)
    x = samples_of(network, seed, clip)
    label = classes(network, x)
    eps = torch.full((SAMPLES,), size * (clip.high - clip.low), dtype=torch.float64)
    with torch.no_grad():
        problem = problem_of(network, norm, x, clip)
        wide = Frame.build(problem, eps, ball=ball, means=means, steps=steps)
        frames = [wide, wide.tightened(eps * 0.6), wide.take(SOME)]
    for frame, part in zip(frames, (ALL, ALL, SOME)):
        points = points_of(network, x[part], label[part], norm, frame.eps, clip, seed)
        assert_holds(frame, label[part], points)


@settings(max_examples=examples(25), deadline=None)
@given(
    make=factories,
    seed=seeds,
    weight=weights,
    scale=inputs,
    norm=norms,
    many=st.sampled_from([0, sketch.MANY]),
)
def test_no_perturbation_in_the_range_changes_the_class(  # type: ignore[no-untyped-def]
    make, seed, weight, scale, norm, many
) -> None:
    network, clip = make(seed, weight), box_of(seed, scale)
    x = samples_of(network, seed, clip)
    method = Ladder(network, norm, Limits(), CLIMB, False, About(clip))
    label, bounds, walked = radii_of(method, network, x, many)
    farthest = Region.of(norm, x, clip).within(torch.full((SAMPLES,), torch.inf))
    assert bool((bounds.radius >= walked.radius).all())
    assert bool((bounds.radius <= torch.maximum(farthest, walked.radius)).all())
    reached = torch.minimum(bounds.radius, farthest)
    for batch in points_of(network, x, label, norm, reached, clip, seed):
        z = network.logits(batch)
        behind = z.amax(dim=1) - z.gather(1, label[:, None])[:, 0]
        assert not bool((behind > 1e-11 * z.abs().amax(dim=1)).any())
    points = ATTACKS["deepfool"].minimize(Clipped(network, clip), x, label, norm)
    points = clip.project(points)
    with torch.no_grad():
        changed = network.logits(torch.nan_to_num(points)).argmax(dim=1) != label
    distance = norm.of_rows(points - x)
    found = changed & torch.isfinite(distance)
    assert not bool((found & (bounds.radius > distance * (1 + 1e-9))).any())


def nearest(w: np.ndarray, gap: float, below: Any, above: Any, p: float) -> float:
    """min ‖q‖_p with w·q ≤ −gap, −below ≤ q ≤ above; inf where there is none. Exact, but for a
    bisection."""
    top = max(float(np.abs(w).max()), 1e-300)
    c, gap, r = np.abs(w) / top, gap / top, np.where(w > 0, below, above)

    def most(eps: float) -> float:
        if p == np.inf:
            return float(c @ np.minimum(r, eps))
        if p == 1.0:
            left, total = eps, 0.0
            for i in np.argsort(-c):
                total, left = total + c[i] * min(r[i], left), left - min(r[i], left)
            return total
        low, high = 1e-12, 1e12
        for _ in range(120):
            step = np.sqrt(low * high)
            fits = np.linalg.norm(np.minimum(step * c, r)) <= eps
            low, high = (step, high) if fits else (low, step)
        return float(c @ np.minimum(low * c, r))

    if c @ r < gap:
        return np.inf
    low, high = 0.0, float(np.linalg.norm(r, p))
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if most(middle) < gap else (low, middle)
    return high


@settings(max_examples=examples(40), deadline=None)
@given(seed=seeds, weight=st.sampled_from([1e-8, 1.0, 1e8]), scale=inputs, norm=norms)
def test_exact_on_linear_networks(seed: int, weight: float, scale: float, norm: Norm) -> None:
    network, clip = linear_network(seed, weight), box_of(seed, scale)
    x = samples_of(network, seed, clip)
    label = classes(network, x)
    with torch.no_grad():
        problem = problem_of(network, norm, x, clip)
        reach = margins_of(Frame.build(problem, torch.zeros(SAMPLES, dtype=torch.float64)), label)
        radius = problem.region.within(reach.reach().reshape(SAMPLES, -1).amin(dim=1))
        eye = torch.eye(x[0].numel(), dtype=torch.float64).reshape(-1, *network.input_shape)
        zero = network.logits(torch.zeros_like(eye[:1]))
        w = (network.logits(eye) - zero).T.numpy()
        z = network.logits(x).numpy()
    flat = x.reshape(SAMPLES, -1).numpy()
    below, above = flat - clip.low, clip.high - flat
    for s, c in enumerate(label.tolist()):
        others = [j for j in range(z.shape[1]) if j != c]
        exact = min(
            nearest(w[c] - w[j], z[s, c] - z[s, j], below[s], above[s], norm.p) for j in others
        )
        exact = min(exact, np.linalg.norm(np.maximum(below[s], above[s]), norm.p))
        assert float(radius[s]) == pytest.approx(exact, rel=2e-5, abs=1e-12 * scale)


@settings(max_examples=examples(30), deadline=None)
@given(seed=seeds, norm=norms, share=st.sampled_from([0.0, 0.05, 0.5, 2.0]))
def test_the_drop_on_a_tape_is_the_bound_and_its_gradient_the_perturbation(
    seed: int, norm: Norm, share: float
) -> None:
    rng, shape = np.random.default_rng(seed), (1, 2, 4, 3)
    clip = Clip(-1.0, 2.0)
    x = torch.from_numpy(rng.uniform(-2, 3, (2, *shape)).clip(-1.0, 2.0))
    region, owner = Region.of(norm, x, clip), torch.tensor([0, 0, 1])
    values = torch.from_numpy(rng.standard_normal((3, *shape))).requires_grad_()
    rows, eps = Rows.of(values, owner, shape), torch.full((3,), share, dtype=torch.float64)
    drop = region.drop(rows, eps, shape)
    off = Rows.of(values.detach(), owner, shape)
    bound = -region.concretise(off, torch.zeros(3, dtype=torch.float64), shape, eps).at(eps)
    assert torch.allclose(drop, bound, rtol=1e-6, atol=1e-12)
    q = -torch.autograd.grad(drop.sum(), values)[0]
    assert bool((norm.of_rows(q) <= eps * (1 + 1e-6)).all())
    moved = x[owner] + q
    assert bool(((moved >= clip.low - 1e-12) & (moved <= clip.high + 1e-12)).all())
    assert torch.allclose((values * q).flatten(1).sum(dim=1), -drop, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_range_raises_radii(norm: Norm) -> None:
    network, clip = relu_mlp(3, (20, 20)), Clip(0.0, 1.0)
    x = samples_of(network, 5, clip)
    label = classes(network, x)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))
        plain, cut, wide = (
            Ladder(network, norm, Limits(), (RELAX,), False, About(box))(evaluation, label).radius
            for box in (None, clip, Clip(-1e4, 1e4))
        )
    assert bool((cut >= plain).all()) and bool((cut > 1.02 * plain).any())
    # a box that no ball touches takes nothing away
    assert torch.allclose(wide, plain, rtol=3e-3)


@pytest.mark.parametrize("norm", list(Norm))
def test_a_range_without_another_class_is_proved_to_its_farthest_point(norm: Norm) -> None:
    network = relu_mlp(3, (20, 20))
    x = torch.full((1, *network.input_shape), 0.3, dtype=torch.float64)
    label = classes(network, x)
    with torch.no_grad():
        evaluation = Evaluation(network, network.run(x))

        def radius(clip: Clip | None) -> float:
            method = Ladder(network, norm, Limits(), CLIMB, False, About(clip))
            return float(method(evaluation, label).radius[0])

        side = 0.9 * radius(None) / x.numel() ** (1 / norm.p)
        clip = Clip(0.3 - side, 0.3 + 0.5 * side)
        farthest = side * x.numel() ** (1 / norm.p)
        assert farthest * (1 - 1e-3) <= radius(clip) <= farthest * (1 + 1e-9)
        # no slope is 0, so that nothing vanishes at infinity
        problem = problem_of(network, norm, x, clip)
        eps = torch.full((1,), 3.0 * farthest, dtype=torch.float64)
        reach = margins_of(Frame.build(problem, eps), label).reach()
    assert bool((reach.isfinite() & (reach >= farthest)).all())


def test_a_range_is_checked() -> None:
    from boundcert.errors import RefusedInput, UsageError

    for ends in ((1.0, 0.0), (0.0, 0.0), (0.0,), (0.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(UsageError, match="LO < HI"):
            Clip.of(ends)
    with pytest.raises(RefusedInput, match=r"sample 7 .* 1.5 at \(1,\).*\[0.0, 1.5\]"):
        Clip(0.0, 1.0).check(np.array([[0.0, 1.0], [0.5, 1.5]]), [4, 7])
    Clip(0.0, 1.0).check(np.array([[0.0, 1.0]]))
