"""Points inside a ball that are likely to expose an unsound bound. A heuristic falsifier.

Finding no counterexample among them proves nothing; finding one disproves a certificate.
"""

from __future__ import annotations

import torch

from boundcert.attacks.base import Victim
from boundcert.attacks.clipped import Clipped
from boundcert.attacks.geometry import per_row, steepest, step_within, unit
from boundcert.attacks.gradients import checked_logits, gradient, without_label
from boundcert.clip import Clip
from boundcert.errors import UsageError
from boundcert.norms import Norm

_STEPS = 8
# A direction is stretched by at most 2 to the power of this.
_STRETCH = 12


def _noise(x: torch.Tensor, norm: Norm, generator: torch.Generator) -> torch.Tensor:
    """Random vectors spread over all directions of the norm's sphere, not yet scaled."""
    shape = tuple(x.shape)
    if norm is Norm.L2:
        noise = torch.randn(shape, generator=generator, dtype=x.dtype)
    else:
        noise = 2 * torch.rand(shape, generator=generator, dtype=x.dtype) - 1
        if norm is Norm.L1:  # signed exponentials are uniform on the L1 sphere once scaled
            noise = noise.sign() * -torch.log1p(-noise.abs().clamp(max=1 - 1e-12))
    return noise.to(x.device)


def _corner(x: torch.Tensor, norm: Norm, generator: torch.Generator) -> torch.Tensor:
    """A random vertex: a sign vector for L-inf, else a signed unit vector."""
    return steepest(_noise(x, Norm.LINF, generator), Norm.LINF if norm is Norm.LINF else Norm.L1)


def _climb(
    victim: Victim,
    x: torch.Tensor,
    label: torch.Tensor,
    norm: Norm,
    epsilon: torch.Tensor,
    start: torch.Tensor,
    rank: int,
) -> torch.Tensor:
    """Directions with the largest score difference met while climbing towards one rival.

    A Frank-Wolfe walk: each step is a convex combination with the steepest vertex, so it
    stays in the ball of any norm without a projection.
    """
    with torch.no_grad():
        order = without_label(checked_logits(victim, x), label).argsort(dim=1, descending=True)
    rival = order[:, rank % (order.shape[1] - 1)]

    def gap(scores: torch.Tensor) -> torch.Tensor:
        pair = scores.gather(1, torch.stack([rival, label], dim=1))
        return pair[:, 0] - pair[:, 1]

    direction = best = start
    record = torch.full_like(epsilon, -torch.inf)
    for k in range(_STEPS):
        point = step_within(x, direction, norm, epsilon)
        with torch.no_grad():
            value = gap(checked_logits(victim, point))
        better = value > record
        best = torch.where(per_row(better, x), direction, best)
        record = torch.where(better, value, record)
        share = 2.0 / (k + 2.0)
        vertex = steepest(gradient(victim, point, gap), norm)
        direction = (1.0 - share) * direction + share * vertex
    return best


def _stretched(
    x: torch.Tensor, direction: torch.Tensor, norm: Norm, epsilon: torch.Tensor, clip: Clip
) -> torch.Tensor:
    """The point along a direction, moved into the box, stretched to ``epsilon`` in turn.

    What a side of the box takes off a step is added to the other entries.
    """
    best, least = clip.project(step_within(x, direction, norm, epsilon)), torch.ones_like(epsilon)
    most = least * 2.0**_STRETCH
    for _ in range(2 * _STRETCH):
        size = (least * most).sqrt()
        point = clip.project(x + per_row(size * epsilon, x) * direction)
        inside = norm.of_rows(point - x) <= epsilon
        best = torch.where(per_row(inside, x), point, best)
        least, most = torch.where(inside, size, least), torch.where(inside, most, size)
    return best


def gradient_guided_points(
    victim: Victim,
    x: torch.Tensor,
    label: torch.Tensor,
    norm: Norm,
    epsilon: torch.Tensor,
    n: int,
    seed: int,
    clip: Clip | None = None,
) -> torch.Tensor:
    """Points of the closed balls around ``x`` that try to change the class: a falsifier.

    In turn: a gradient climb towards the best rival, then the second best, …; a corner; a
    point of the sphere; a point of the interior. The same seed gives the same points.

    Parameters
    ----------
    victim : Victim
        The network to climb.
    x : torch.Tensor
        Centres, (B, *S) float64.
    label : torch.Tensor
        The class predicted at each centre, (B,) int64.
    norm : Norm
        The norm of the balls.
    epsilon : torch.Tensor
        Radii in the units of ``x``, (B,) float64, finite and not negative.
    n : int
        Points per sample.
    seed : int
        Seed of the random numbers, which are drawn on the CPU for every device.
    clip : Clip, optional
        A box that holds ``x``, and then the points.

    Returns
    -------
    torch.Tensor
        (n, B, *S) float64 with ``norm.of_rows(points[i] - x) <= epsilon`` for every i, in the box.

    Raises
    ------
    UsageError
        A radius is negative, infinite or NaN.
    """
    if not bool(((epsilon >= 0) & torch.isfinite(epsilon)).all()):
        raise UsageError("every epsilon must be finite and not negative")
    generator = torch.Generator().manual_seed(seed)
    if clip is not None:
        victim = Clipped(victim, clip)
    points = x.new_empty((n, *x.shape))
    for i in range(n):
        noise = unit(_noise(x, norm, generator), norm)
        radius = torch.rand(x.shape[0], generator=generator, dtype=x.dtype).to(x.device)
        kind = i % 4
        if kind == 0:
            start = noise * per_row(radius, x)
            direction = _climb(victim, x, label, norm, epsilon, start, rank=i // 4)
        elif kind == 1:
            direction = _corner(x, norm, generator)
        else:
            direction = noise if kind == 2 else noise * per_row(radius, x)
        if clip is None:
            points[i] = step_within(x, direction, norm, epsilon)
        else:
            points[i] = _stretched(x, direction, norm, epsilon, clip)
    return points
