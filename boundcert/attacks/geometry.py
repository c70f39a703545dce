"""Directions in the three norms, and steps that floating-point rounding cannot carry too far."""

from __future__ import annotations

import torch

from boundcert.norms import Norm, flat

# Shrinks a radius by more than the rounding of the norm that a caller will check it with.
_SLACK = 1.0 - 1e-12


def per_row(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Reshape (B,) values so that they broadcast against (B, *S)."""
    return values.reshape(-1, *([1] * (like.dim() - 1)))


def finite_rows(x: torch.Tensor) -> torch.Tensor:
    """Which samples hold no NaN and no infinity, (B, *S) → (B,) bool."""
    return flat(torch.isfinite(x)).all(dim=1)


def largest_entry(x: torch.Tensor) -> torch.Tensor:
    """Largest absolute value of each sample, and 1 for an all-zero one: (B, *S) → (B,)."""
    largest = Norm.LINF.of_rows(x)
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def unit(direction: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Scale each sample to norm 1, (B, *S) → (B, *S); all-zero samples stay zero.

    The largest entry is divided out first, so gradients near either end of the float64
    range neither underflow nor overflow in the norm.
    """
    scaled = direction / per_row(largest_entry(direction), direction)
    length = norm.of_rows(scaled)
    return scaled / per_row(torch.where(length > 0, length, torch.ones_like(length)), scaled)


def steepest(gradient: torch.Tensor, norm: Norm) -> torch.Tensor:
    """The point of the unit ball that maximises ⟨gradient, ·⟩, (B, *S) → (B, *S).

    It attains Hölder's bound ‖gradient‖_q: gradient/‖gradient‖₂ for L2, sign(gradient) for
    L-inf, and for L1 the signed unit vector of the largest entry. All-zero samples give zero.
    """
    if norm is Norm.L2:
        return unit(gradient, norm)
    if norm is Norm.LINF:
        return gradient.sign()
    rows = flat(gradient)
    top = rows.abs().argmax(dim=1, keepdim=True)
    vertex = torch.zeros_like(rows).scatter(1, top, rows.gather(1, top).sign())
    return vertex.reshape(gradient.shape)


def step_within(
    x: torch.Tensor, direction: torch.Tensor, norm: Norm, epsilon: torch.Tensor
) -> torch.Tensor:
    """``x + epsilon * direction``, kept inside the closed ball as float64 measures it.

    Parameters
    ----------
    x : torch.Tensor
        Centres, (B, *S) float64.
    direction : torch.Tensor
        (B, *S) float64 with norm at most 1.
    norm : Norm
        The norm of the ball.
    epsilon : torch.Tensor
        Radii, (B,) float64.

    Returns
    -------
    torch.Tensor
        (B, *S) float64 with ``norm.of_rows(result - x) <= epsilon``.
    """
    delta = direction * per_row(epsilon * _SLACK, x)
    moved = x + delta
    # The sum may round away from x; one float back is then no further than delta. Entry by
    # entry this holds in every p-norm, also where epsilon is below the resolution of x.
    too_far = (moved - x).abs() > delta.abs()
    inside = torch.where(too_far, torch.nextafter(moved, x), moved)
    # Only a radius near the smallest float escapes the argument above.
    outside = norm.of_rows(inside - x) > epsilon
    return torch.where(per_row(outside, x), x, inside)
