"""Rows: the linear functionals that a backward pass carries from node to node.

A value of shape (1, C, H, W) is a plane of C channels, and a row may live on a patch of it: the
receptive field of one output of a convolution, which starts anywhere, also outside the plane.
Any other value is one line of entries, (1, 1, n), and rows cover it whole. Coefficients off the
plane mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from boundcert.kernels import backend
from boundcert.layers.base import numel
from boundcert.layers.tape import Moved, gather

Plane = tuple[int, int, int]


def plane_of(shape: tuple[int, ...]) -> Plane:
    """(channels, height, width) as which rows see a value of this ONNX shape."""
    return (
        (shape[1], shape[2], shape[3])
        if len(shape) == 4 and shape[0] == 1
        else (1, 1, numel(shape))
    )


@dataclass(frozen=True)
class Rows:
    """R linear functionals of one node's value.

    Attributes
    ----------
    values : (R, C, h, w) coefficients.
    mass : (R,) at least Σ|c|, which everything that rounding loses is measured by.
    owner : (R,) int64, the sample each row belongs to, in ascending order.
    origin : (R, 2) int64, where each patch starts on the plane.
    whole : every patch is the whole plane.
    """

    values: torch.Tensor
    mass: torch.Tensor
    owner: torch.Tensor
    origin: torch.Tensor
    whole: bool

    @classmethod
    def of(
        cls,
        values: torch.Tensor,
        owner: torch.Tensor,
        shape: tuple[int, ...],
        mass: torch.Tensor | None = None,
    ) -> Rows:
        """Whole rows from coefficients (R, *shape)."""
        planes = values.reshape(len(owner), *plane_of(shape))
        if mass is None:
            mass = up(planes.flatten(1).abs().sum(dim=1, dtype=torch.float64))
        return cls(planes, mass, owner, owner.new_zeros(len(owner), 2), True)

    @classmethod
    def units(
        cls,
        index: torch.Tensor,
        owner: torch.Tensor,
        sign: torch.Tensor,
        shape: tuple[int, ...],
    ) -> Rows:
        """Rows sign·e_index, (R,) flat indices, each on the smallest patch that holds it."""
        channels, high, wide = plane_of(shape)
        rows = torch.arange(len(index))
        if high == 1:
            unit = sign.new_zeros(len(index), channels * wide)
            unit[rows, index] = sign
            return cls.of(unit, owner, shape)
        values = sign.new_zeros(len(index), channels, 1, 1)
        values[rows, index // (high * wide), 0, 0] = sign
        origin = torch.stack((index // wide % high, index % wide), dim=1)
        return cls(values, sign.abs().to(torch.float64), owner, origin, False)

    def __len__(self) -> int:
        return self.owner.shape[0]

    @property
    def proves(self) -> bool:
        """Whether what they bound is to hold: in float32, on a tape or not, they only guide."""
        return self.values.dtype is torch.float64

    @property
    def size(self) -> int:
        """Coefficients of a row."""
        return numel(self.values.shape[1:])

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of every patch."""
        return (self.values.shape[2], self.values.shape[3])

    def flat(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Coefficients over the whole value, (R, *shape)."""
        return self.spread(plane_of(shape)).values.reshape(len(self), *shape)

    def spread(self, plane: Plane) -> Rows:
        """The same rows on the whole plane."""
        if self.whole:
            return self
        return self._moved(self.origin.new_zeros(len(self), 2), plane, plane[1:], whole=True)

    def _moved(
        self, origin: torch.Tensor, plane: Plane, patch: tuple[int, int], whole: bool
    ) -> Rows:
        """The same coefficients in patches that start elsewhere and hold the old ones."""

        def move(values: torch.Tensor) -> torch.Tensor:
            columns = values.reshape(len(self), plane[0], 1, 1, *self.patch)
            out = values.new_zeros(len(self), plane[0], *patch)
            fold(columns, self.origin, origin, plane, (1, 1), (1, 1), out)
            return out

        taped = self.values.requires_grad
        values = Moved.apply(self.values, self.origin, origin, move) if taped else move(self.values)
        return Rows(values, self.mass, self.owner, origin, whole)

    def patches(self, tensor: torch.Tensor) -> torch.Tensor:
        """The entries (R, C, h, w) of a per-sample tensor (B or 1, *shape) that rows act on."""
        planes = tensor.reshape(len(tensor), *plane_of(tuple(tensor.shape[1:])))
        owner = self.owner % len(planes)
        return planes[owner] if self.whole else gather(planes, owner, self.origin, self.patch)

    def with_values(self, values: torch.Tensor, mass: torch.Tensor) -> Rows:
        """Other coefficients at the same place."""
        return Rows(values, mass, self.owner, self.origin, self.whole)

    def __neg__(self) -> Rows:
        return replace(self, values=-self.values)

    def plus(self, other: Rows, shape: tuple[int, ...]) -> Rows:
        """The sum (rounded once an entry) of two sets of functionals of the same value."""
        plane, a, b = plane_of(shape), self, other
        if a.whole or b.whole:
            a, b = a.spread(plane), b.spread(plane)
        elif a.patch != b.patch or not torch.equal(a.origin, b.origin):
            apart = b.origin - a.origin
            if bool((apart != apart[:1]).any()):
                a, b = a.spread(plane), b.spread(plane)
            else:
                start = torch.minimum(a.origin, b.origin)
                ends = [r.origin[0] + torch.tensor(r.patch) - start[0] for r in (a, b)]
                size = torch.maximum(*ends).tolist()
                patch = (int(size[0]), int(size[1]))
                a, b = a._moved(start, plane, patch, False), b._moved(start, plane, patch, False)
        return a.with_values(a.values + b.values, up(a.mass + b.mass))

    def take(self, rows: torch.Tensor | slice) -> Rows:
        """Some of the rows."""
        return replace(
            self,
            values=self.values[rows],
            mass=self.mass[rows],
            owner=self.owner[rows],
            origin=self.origin[rows],
        )

    def beside(self, other: Rows) -> Rows:
        """These rows and then others of the same value, on patches as large."""
        return Rows(
            torch.cat((self.values, other.values)),
            torch.cat((self.mass, other.mass)),
            torch.cat((self.owner, other.owner)),
            torch.cat((self.origin, other.origin)),
            self.whole,
        )

    def chunks(self, size: int) -> Iterator[Rows]:
        """Successive blocks of at most ``size`` rows."""
        for start in range(0, len(self), size):
            yield self.take(slice(start, start + size))

    def place(self) -> tuple[np.ndarray, np.ndarray]:
        """Owner and origin as kernels take them."""
        return self.owner.numpy(), self.origin.numpy()

    def scaled(self, weight: torch.Tensor) -> Rows:
        """Each coefficient times ``weight`` (B or 1, *shape), rounded once."""
        if self.values.requires_grad:
            factor = self.patches(weight).to(self.values.dtype)
            return self.with_values(self.values * factor, self.mass)
        out, mass = backend().scale(array(self.values), *self.place(), planes(weight))
        return self.with_values(torch.from_numpy(out), up(torch.from_numpy(mass)))


def up(mass: torch.Tensor) -> torch.Tensor:
    """A plain sum of absolute values, or of two bounds on such, rounded up (up to 10⁷ terms)."""
    return mass * (1 + 1e-8)


def array(x: torch.Tensor) -> np.ndarray:
    """A contiguous NumPy view (or copy) of a tensor, as kernels take it."""
    return np.ascontiguousarray(x.numpy(force=True))


def planes(x: torch.Tensor) -> np.ndarray:
    """A per-sample tensor (B, *shape) as planes (B, C, H, W)."""
    return array(x.reshape(x.shape[0], *plane_of(tuple(x.shape[1:]))))


def fold(
    columns: torch.Tensor,
    first: torch.Tensor,
    origin: torch.Tensor,
    plane: Plane,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    out: torch.Tensor,
) -> None:
    """Add to ``out``; see the kernel ``fold``. ``plane`` comes with its channels."""
    backend().fold(
        array(columns),
        first.numpy(),
        origin.numpy(),
        plane[1:],
        (stride[0], stride[1]),
        (dilation[0], dilation[1]),
        out.numpy(),
    )
