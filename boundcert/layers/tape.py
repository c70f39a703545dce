"""Row operations that autograd can follow: the guides of slopes that are to be optimised.

Rows whose values require gradients are on a *tape*. Nothing is proved there: rounding is not paid,
masses are not kept. What is found (which lines to take) is then used off the tape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from boundcert.kernels import backend


class Pencilled(torch.autograd.Function):
    """(values, mix) → (out, rest) of the kernel ``pull_pencil``."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        mix: torch.Tensor,
        owner: np.ndarray,
        origin: np.ndarray,
        table: np.ndarray,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        arrays = values.contiguous().numpy(), owner, origin, mix.contiguous().numpy(), table
        out, rest, _ = backend().pull_pencil(*arrays)
        ctx.arrays = arrays
        return torch.from_numpy(out), torch.from_numpy(rest)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        back = [grad.contiguous().numpy() for grad in grads]
        found = backend().pencil_gradient(*ctx.arrays, *back)
        return (*(torch.from_numpy(part) for part in found), None, None, None)


class Dual(torch.autograd.Function):
    """(values, mix, multiplier) → (out, rest) of the kernel ``pull_dual``."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        mix: torch.Tensor,
        multiplier: torch.Tensor,
        owner: np.ndarray,
        origin: np.ndarray,
        table: np.ndarray,
        square: np.ndarray,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [part.detach().contiguous().numpy() for part in (mix, multiplier)]
        arrays = values.contiguous().numpy(), owner, origin, *chosen, table, square
        out, rest, _ = backend().pull_dual(*arrays)
        ctx.arrays = arrays
        return torch.from_numpy(out), torch.from_numpy(rest)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        back = [grad.contiguous().numpy() for grad in grads]
        found = backend().dual_gradient(*ctx.arrays, *back)
        return (*(torch.from_numpy(part) for part in found), None, None, None, None)


class DualMaximum(torch.autograd.Function):
    """(values, multiplier) → (tap, out, rest) of the kernel ``pull_dual_maximum``."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        multiplier: torch.Tensor,
        owner: np.ndarray,
        origin: np.ndarray,
        *windows: np.ndarray,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        chosen = multiplier.detach().contiguous().numpy()
        ctx.arrays = values.contiguous().numpy(), owner, origin, chosen, *windows
        tap, out, rest, _ = (
            torch.from_numpy(part) for part in backend().pull_dual_maximum(*ctx.arrays)
        )
        ctx.mark_non_differentiable(tap)
        return tap, out, rest

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        back = [grad.contiguous().numpy() for grad in grads[1:]]
        found = backend().dual_maximum_gradient(*ctx.arrays, *back)
        return (*(torch.from_numpy(part) for part in found), *[None] * (len(ctx.arrays) - 2))


class Transposed(torch.autograd.Function):
    """Aᵀ y of an affine layer, whose adjoint is A."""

    @staticmethod
    def forward(ctx: Any, y: torch.Tensor, layer: Any) -> torch.Tensor:
        ctx.layer = layer
        return layer.transpose(y)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.layer.apply(grads[0], lambda c: c), None


def gather(
    plane: torch.Tensor, owner: torch.Tensor, origin: torch.Tensor, patch: tuple[int, int]
) -> torch.Tensor:
    """(R, C, h, w) patches of planes (B, C, H, W) that start at ``origin``; 0 off the plane."""
    high, wide = (
        (origin[:, axis, None] + torch.arange(patch[axis])).clamp(0, plane.shape[2 + axis] - 1)
        for axis in range(2)
    )
    found = plane[owner[:, None, None], :, high[:, :, None], wide[:, None, :]]
    within = inside(origin, patch, (plane.shape[2], plane.shape[3]))
    return (found * within[..., None]).permute(0, 3, 1, 2)


def inside(origin: torch.Tensor, patch: tuple[int, ...], plane: tuple[int, ...]) -> torch.Tensor:
    """(R, h, w) which entries of patches that start at ``origin`` lie on the plane."""
    places = [origin[:, axis, None] + torch.arange(patch[axis]) for axis in range(2)]
    high, wide = ((at >= 0) & (at < size) for at, size in zip(places, plane))
    return high[:, :, None] & wide[:, None, :]


class Moved(torch.autograd.Function):
    """Patches put where others, which hold them, start; ``move`` does it, :func:`gather` undoes."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, origin: torch.Tensor, to: torch.Tensor, move: Any
    ) -> torch.Tensor:
        ctx.apart, ctx.patch = origin - to, (values.shape[2], values.shape[3])
        return move(values)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows = torch.arange(len(grads[0]))
        return gather(grads[0], rows, ctx.apart, ctx.patch), None, None, None
