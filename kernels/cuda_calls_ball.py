"""The CUDA kernels on rows over boxes and balls as Python functions; see :mod:`cuda_calls`."""

from __future__ import annotations

import numpy as np

from .cuda_calls_rows import RowCalls
from .cuda_launch import Array
from .shapes import EPS


class BallCalls(RowCalls):
    """The kernels on rows, those over a box and a ball, and those of windows over a box."""

    def _typed(self, name: str, rows: Array, *others: Array) -> tuple[str, list[Array]]:
        """Module and operands in the precision of the rows: it is that of what is found."""
        kind = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)
        arrays = [self._xp.ascontiguousarray(x, dtype=kind) for x in (rows, *others)]
        return f"{name}_{kind.name}", arrays

    def pull_ball(
        self, rows: Array, owner: Array, origin: Array, table: Array, square: Array
    ) -> tuple[Array, Array, Array, Array]:
        """See :func:`ball_reference.pull_ball`."""
        values, table, square = self._doubles(rows, table, square)
        owner, origin = self._integers(owner, origin)
        out = self._empty(*values.shape)
        rest, mass, multiplier = (self._empty(len(values)) for _ in range(3))
        count, shape = values[:1].size, (*values.shape[1:], len(table), *table.shape[3:])
        args = (values, owner, origin, table, square, out, rest, mass, multiplier, *shape)
        self._run("ball", "pull_ball", len(values), count, *args)
        return out.astype(rows.dtype, copy=False), rest, mass, multiplier

    def pull_dual(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        mix: Array,
        multiplier: Array,
        table: Array,
        square: Array,
    ) -> tuple[Array, Array, Array]:
        """See :func:`dual_reference.pull_dual`."""
        module, (values, mix) = self._typed("dual", rows, mix)
        multiplier, table, square = self._doubles(multiplier, table, square)
        owner, origin = self._integers(owner, origin)
        out = self._xp.empty_like(values)
        rest, mass = self._empty(len(values)), self._empty(len(values))
        count, shape = values[:1].size, (*values.shape[1:], len(table), *table.shape[3:])
        args = (values, owner, origin, mix, multiplier, table, square, out, rest, mass, *shape)
        self._run(module, "pull_dual", len(values), count, *args)
        return out, rest, mass

    def dual_gradient(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        mix: Array,
        multiplier: Array,
        table: Array,
        square: Array,
        out_grad: Array,
        rest_grad: Array,
    ) -> tuple[Array, Array, Array]:
        """See :func:`dual_reference.dual_gradient`."""
        module, (values, mix, back) = self._typed("dual", rows, mix, out_grad)
        multiplier, table, square, weight = self._doubles(multiplier, table, square, rest_grad)
        owner, origin = self._integers(owner, origin)
        found = (*(self._xp.empty_like(values) for _ in range(2)), self._empty(len(values)))
        count, shape = values[:1].size, (*values.shape[1:], len(table), *table.shape[3:])
        args = (values, owner, origin, mix, multiplier, table, square, back, weight)
        self._run(module, "dual_gradient", len(values), count, *args, *found, *shape)
        return found

    def pull_maximum(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        taps: Array,
        lines: Array,
        windows: Array,
        square: Array,
    ) -> tuple[Array, Array, Array, Array, Array]:
        """See :func:`maximum_reference.pull_maximum`."""
        module, (values,) = self._typed("maximum", rows)
        lines, windows, square = self._doubles(lines, windows, square)
        owner, origin, taps = self._integers(owner, origin, taps)
        tap, out = self._xp.empty(values.shape, dtype=np.int64), self._xp.empty_like(values)
        found = (tap, out, *(self._empty(len(values)) for _ in range(3)))
        count, shape = values[:1].size, (*values.shape[1:], len(taps), *windows.shape[2:5])
        args = (values, owner, origin, taps, lines, windows, square)
        self._run(module, "pull_maximum", len(values), count, *args, *found, *shape)
        return found

    def pull_dual_maximum(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        multiplier: Array,
        taps: Array,
        lines: Array,
        windows: Array,
        square: Array,
    ) -> tuple[Array, Array, Array, Array]:
        """See :func:`dual_maximum_reference.pull_dual_maximum`."""
        module, (values,) = self._typed("dual_maximum", rows)
        multiplier, lines, windows, square = self._doubles(multiplier, lines, windows, square)
        owner, origin, taps = self._integers(owner, origin, taps)
        tap, out = self._xp.empty(values.shape, dtype=np.int64), self._xp.empty_like(values)
        found = (tap, out, self._empty(len(values)), self._empty(len(values)))
        count, shape = values[:1].size, (*values.shape[1:], len(taps), *windows.shape[2:5])
        args = (values, owner, origin, multiplier, taps, lines, windows, square)
        self._run(module, "pull_dual_maximum", len(values), count, *args, *found, *shape)
        return found

    def dual_maximum_gradient(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        multiplier: Array,
        taps: Array,
        lines: Array,
        windows: Array,
        square: Array,
        out_grad: Array,
        rest_grad: Array,
    ) -> tuple[Array, Array]:
        """See :func:`dual_maximum_reference.dual_maximum_gradient`."""
        module, (values, back) = self._typed("dual_maximum", rows, out_grad)
        multiplier, lines, windows = self._doubles(multiplier, lines, windows)
        square, weight = self._doubles(square, rest_grad)
        owner, origin, taps = self._integers(owner, origin, taps)
        found = (self._xp.empty_like(values), self._empty(len(values)))
        count, shape = values[:1].size, (*values.shape[1:], len(taps), *windows.shape[2:5])
        args = (values, owner, origin, multiplier, taps, lines, windows, square, back, weight)
        self._run(module, "dual_maximum_gradient", len(values), count, *args, *found, *shape)
        return found

    def window_lines(
        self, low: Array, high: Array, point: Array, value: Array, table: Array
    ) -> tuple[Array, Array, Array, Array]:
        """See :func:`window_reference.window_lines`."""
        arrays = self._doubles(low, high, point, value)
        (table,) = self._integers(table)
        samples, channels, size = low.shape
        count, entries = table.shape
        taps = self._xp.empty((samples, 3, channels, count), dtype=np.int64)
        lines, far = self._empty(samples, 3, channels, count), self._empty(samples, channels)
        marks = self._xp.zeros((samples, 3, channels, size), dtype=np.uint8)
        terms = channels * count + 32
        gamma = terms * EPS / (1.0 - terms * EPS)
        args = (*arrays, table, taps, lines, marks, far, gamma, channels, size, count, entries)
        self._run("window", "window_lines", samples * channels, count, *args)
        return taps, lines, marks, far

    def pull_windows(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        taps: Array,
        lines: Array,
        table: Array,
        size: int,
    ) -> tuple[Array, Array, Array]:
        """See :func:`window_rows_reference.pull_windows`."""
        module, (values,) = self._typed("window_rows", rows)
        (lines,) = self._doubles(lines)
        owner, origin, taps, table = self._integers(owner, origin, taps, table)
        out = self._xp.zeros((*values.shape[:2], int(size)), dtype=values.dtype)
        rest, mass = self._empty(len(values)), self._empty(len(values))
        count, shape = values[:1].size, (*values.shape[1:], len(taps), *taps.shape[3:])
        args = (values, owner, origin, taps, lines, table, out, rest, mass, *shape)
        sizes = (int(table.shape[1]), int(size))
        self._run(module, "pull_windows", len(values), count, *args, *sizes)
        return out, rest, mass

    def pull_means(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        weights: Array,
        constants: Array,
        table: Array,
        size: int,
    ) -> tuple[Array, Array, Array]:
        """See :func:`window_rows_reference.pull_means`."""
        module, (values,) = self._typed("window_rows", rows)
        weights, constants = self._doubles(weights, constants)
        owner, origin, table = self._integers(owner, origin, table)
        out = self._xp.zeros((*values.shape[:2], int(size)), dtype=values.dtype)
        rest, mass = self._empty(len(values)), self._empty(len(values))
        count, shape = values[:1].size, (*values.shape[1:], len(weights), *weights.shape[4:])
        args = (values, owner, origin, weights, constants, table, out, rest, mass, *shape)
        sizes = (int(table.shape[1]), int(size))
        self._run(module, "pull_means", len(values), count, *args, *sizes)
        return out, rest, mass
