"""Linear maps between flat values, with |coefficients| for what rounding may do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Change = Callable[[Array], Array]
#: One whole axis.
ALL = (slice(None),)


def same(x: Array) -> Array:
    """The coefficients as they are."""
    return x


class Map(Protocol):
    """x (n,) ↦ W x (m,).

    Attributes
    ----------
    terms, spread : most entries that a row, or a column, of W may hold.
    """

    terms: int
    spread: int

    def forward(self, x: Array, change: Change = same) -> Array:
        """W x, each coefficient changed: to its magnitude, or its square."""
        ...

    def transpose(self, rows: Array) -> Array:
        """(R, m) → (R, n): rows times W."""
        ...


class Pick:
    """y_i = factor_i · x_index(i); 0 where the index is −1."""

    terms = 1

    def __init__(self, index: NDArray[np.int64], n: int, factor: Array | float = 1.0) -> None:
        self.index, self.n, self.real = index, n, index >= 0
        self.factor = np.broadcast_to(np.where(self.real, factor, 0.0), index.shape)
        # entries that are picked more than once are added one occurrence after the other
        order = np.argsort(index[self.real], kind="stable")
        found = index[self.real][order]
        rank = np.arange(len(found)) - np.searchsorted(found, found)
        self.spread = int(rank.max(initial=0)) + 1
        source = np.nonzero(self.real)[0][order]
        self.rounds = [(source[rank == r], found[rank == r]) for r in range(self.spread)]

    def forward(self, x: Array, change: Change = same) -> Array:
        return np.where(self.real, x[np.maximum(self.index, 0)], 0.0) * change(self.factor)

    def transpose(self, rows: Array) -> Array:
        out = np.zeros((len(rows), self.n))
        for source, target in self.rounds:
            out[:, target] += rows[:, source] * self.factor[source]
        return out


class Shares:
    """Σ_j weights_ij·x over row i of a table, which holds no entry twice, −1 for none."""

    def __init__(self, table: NDArray[np.int64], n: int, weights: Array) -> None:
        self.n = n
        self.picks = [Pick(column, n, weight) for column, weight in zip(table.T, weights.T)]

    def transpose(self, rows: Array) -> Array:
        """yA for rows y (R, m), (R, n)."""
        out = np.zeros((len(rows), self.n))
        for pick in self.picks:
            out += pick.transpose(rows)
        return out


class Total:
    """y_i = factor_i·Σ x over row i of a table, which holds no entry twice, −1 for none."""

    def __init__(self, table: NDArray[np.int64], n: int, factor: Array | float = 1.0) -> None:
        self.pick, self.terms = Pick(table.ravel(), n), table.shape[1]
        self.factor = np.broadcast_to(np.asarray(factor, dtype=np.float64), (len(table),))
        self.spread = self.pick.spread
        # where rows overlap, all their entries side by side may be many
        self.columns = [Pick(column, n) for column in table.T] if self.spread > 1 else []

    def forward(self, x: Array, change: Change = same) -> Array:
        return self.pick.forward(x).reshape(-1, self.terms).sum(axis=1) * change(self.factor)

    def transpose(self, rows: Array) -> Array:
        rows = rows * self.factor
        if not self.columns:
            return self.pick.transpose(np.repeat(rows, self.terms, axis=1))
        total = self.columns[0].transpose(rows)
        for column in self.columns[1:]:
            total += column.transpose(rows)
        return total


class Matrix:
    """Rows of length K times a (K, N) matrix."""

    def __init__(self, weight: Array) -> None:
        self.weight = weight
        self.terms, self.spread = weight.shape

    def forward(self, x: Array, change: Change = same) -> Array:
        return (x.reshape(-1, self.terms) @ change(self.weight)).ravel()

    def transpose(self, rows: Array) -> Array:
        return (rows.reshape(-1, self.spread) @ self.weight.T).reshape(len(rows), -1)


class Convolution:
    """Any number of axes, strides, dilations, padding and groups."""

    def __init__(
        self,
        weight: Array,
        size: tuple[int, ...],
        pads: tuple[tuple[int, int], ...],
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
    ) -> None:
        filters, channels, *kernel = weight.shape
        self.size, self.pads, self.groups = size, pads, groups
        self.strides, self.dilations = strides, dilations
        self.offsets = list(itertools.product(*map(range, kernel)))
        self.wide = tuple(s + sum(p) for s, p in zip(size, pads))
        self.out = tuple(
            (w - d * (k - 1) - 1) // s + 1
            for w, d, k, s in zip(self.wide, dilations, kernel, strides)
        )
        self.channels, self.filters = channels * groups, filters
        # (groups, filters of one, channels of one, offsets)
        self.weight = weight.reshape(groups, filters // groups, channels, -1)
        self.terms = channels * math.prod(kernel)
        self.spread = (filters // groups) * math.prod(kernel)

    def _places(
        self, offset: tuple[int, ...], start: tuple[int, ...], count: tuple[int, ...]
    ) -> tuple[slice, ...]:
        """Where outputs from ``start`` on read their input at an offset of the kernel."""
        first = [o * d + f * s for o, d, f, s in zip(offset, self.dilations, start, self.strides)]
        return tuple(
            slice(f, f + (c - 1) * s + 1, s) for f, c, s in zip(first, count, self.strides)
        )

    def _inner(self) -> tuple[slice, ...]:
        return tuple(slice(p[0], p[0] + s) for p, s in zip(self.pads, self.size))

    def forward(self, x: Array, change: Change = same) -> Array:
        padded = np.zeros((self.channels, *self.wide))
        padded[ALL + self._inner()] = x.reshape(self.channels, *self.size)
        out = np.zeros((self.groups, self.filters // self.groups, math.prod(self.out)))
        for k, offset in enumerate(self.offsets):
            places = self._places(offset, (0,) * len(self.out), self.out)
            out += change(self.weight[..., k]) @ padded[ALL + places].reshape(
                self.groups, -1, math.prod(self.out)
            )
        return out.ravel()

    def transpose(self, rows: Array) -> Array:
        rows = rows.reshape(len(rows), self.filters, *self.out)
        used = np.nonzero((rows != 0).any(axis=(0, 1)))
        out = np.zeros((len(rows), self.channels, *self.wide))
        if len(used[0]):
            # only the part of the plane that some row is not 0 on
            start = tuple(int(u.min()) for u in used)
            count = tuple(int(u.max()) - s + 1 for u, s in zip(used, start))
            part = rows[ALL + ALL + tuple(slice(s, s + c) for s, c in zip(start, count))]
            part = part.reshape(len(rows), self.groups, self.filters // self.groups, -1)
            part = np.ascontiguousarray(np.moveaxis(part, 2, 3))
            for k, offset in enumerate(self.offsets):
                pulled = part @ self.weight[None, ..., k]
                pulled = np.moveaxis(pulled, 3, 2).reshape(len(rows), self.channels, *count)
                out[ALL + ALL + self._places(offset, start, count)] += pulled
        return out[ALL + ALL + self._inner()].reshape(len(rows), -1)
