"""The CUDA kernels as Python functions, whatever runs them.

:class:`Calls` prepares operands and results and says which kernel to launch; a :class:`Launcher`
does it: :mod:`gpu` on a device, :mod:`cuda_host` on the CPU. So the tests of one cover both.
Names, signatures and contracts are those of the NumPy references.
"""

from __future__ import annotations

import numpy as np

from .cuda_calls_ball import BallCalls
from .cuda_calls_clip import ClipCalls
from .cuda_launch import FOLDER, MAX_LANES, MODULES, Array, Launcher, source
from .shapes import EPS

__all__ = ["FOLDER", "MAX_LANES", "MODULES", "Calls", "Launcher", "source"]


class Calls(BallCalls, ClipCalls):
    """All kernels; those on rows are inherited."""

    # kernels of the walk ---------------------------------------------------------------------

    def activation_slopes(
        self,
        kind: int,
        order: int,
        z: Array,
        unit: Array,
        scale: Array,
        offset: Array,
        a: Array,
        b: Array,
        critical: Array,
    ) -> tuple[Array, Array]:
        """See :func:`reference.activation_slopes`."""
        z, unit, scale, offset, a, b, critical = self._doubles(
            z, unit, scale, offset, a, b, critical
        )
        low, high = self._empty(*z.shape), self._empty(*z.shape)
        args = (z, unit, scale, offset, a, a.size, b, b.size, critical, len(critical), low, high)
        head = (int(kind), int(order), *z.shape)
        self._strided("walk", "activation_slopes", z.size, *head, *args)
        return low, high

    def activation_gain(
        self,
        kind: int,
        p: float,
        z: Array,
        unit: Array,
        scale: Array,
        offset: Array,
        a: Array,
        b: Array,
        critical: Array,
    ) -> tuple[Array, Array]:
        """See :func:`reference.activation_gain`."""
        z, unit, scale, offset, a, b, critical = self._doubles(
            z, unit, scale, offset, a, b, critical
        )
        gain, size = self._empty(len(z)), self._empty(len(z))
        args = (z, unit, scale, offset, a, a.size, b, b.size, critical, len(critical), gain, size)
        head = (int(kind), float(p), z.shape[1])
        self._run("walk", "activation_gain", len(z), z.shape[1], *head, *args)
        return gain, size

    def slope_remainder(
        self,
        weight: Array,
        low: Array,
        high: Array,
        unit: Array,
        scale: Array,
        offset: Array,
        size: Array,
        q: float,
    ) -> tuple[Array, Array]:
        """See :func:`reference.slope_remainder`."""
        arrays = self._doubles(weight, low, high, unit, scale, offset, size)
        count, samples, n = weight.shape
        linear, rest = self._empty(count, samples, n), self._empty(count, samples)
        args = (samples, n, float(q), *arrays, linear, rest)
        self._run("walk", "slope_remainder", count * samples, n, *args)
        return linear, rest

    def lrn_gain(
        self,
        x: Array,
        reach: Array,
        size: int,
        alpha: float,
        beta: float,
        bias: float,
        p: float,
    ) -> Array:
        """See :func:`reference.lrn_gain`."""
        x, reach = self._doubles(x, reach)
        out = self._empty(len(x))
        numbers = (float(alpha), float(beta), float(bias), float(p))
        args = (x, reach, *x.shape[1:], int(size), *numbers, out)
        self._run("walk", "lrn_gain", len(x), x.shape[2], *args)
        return out

    def pool_multiplicity(self, x: Array, windows: Array, reach: Array) -> Array:
        """See :func:`reference.pool_multiplicity`."""
        x, reach = self._doubles(x, reach)
        (windows,) = self._integers(windows)
        out, seen = self._empty(len(x)), self._xp.zeros(x.shape, dtype=np.uint64)
        args = (x, x.shape[1], windows, *windows.shape, reach, seen, out)
        self._run("walk", "pool_multiplicity", len(x), len(windows), *args)
        return out

    def pairwise_norms(self, w: Array, p: float) -> Array:
        """See :func:`reference.pairwise_norms`."""
        (w,) = self._doubles(w)
        out = self._empty(len(w), len(w))
        self._run("walk", "pairwise_norms", len(w) ** 2, w.shape[1], w, *w.shape, float(p), out)
        return out

    def margin_distances(self, logits: Array, error: Array, norms: Array, label: Array) -> Array:
        """See :func:`reference.margin_distances`."""
        arrays = [*self._doubles(logits, error, norms), *self._integers(label)]
        out = self._empty(*logits.shape)
        self._strided("walk", "margin_distances", out.size, *arrays, *out.shape, out)
        return out

    def taylor_recursion(
        self, steep: Array, curved: Array, spectral: Array, row: Array
    ) -> tuple[Array, Array]:
        """See :func:`reference.taylor_recursion`."""
        arrays = self._doubles(steep, curved, spectral, row)
        lipschitz, smoothness = self._empty(len(steep)), self._empty(len(steep))
        args = (*arrays, *steep.shape, lipschitz, smoothness)
        self._strided("walk", "taylor_recursion", len(steep), *args)
        return lipschitz, smoothness

    # relaxations of activations --------------------------------------------------------------

    def activation_range(
        self, kind: int, low: Array, high: Array, a: Array, b: Array, pieces: Array
    ) -> tuple[Array, Array]:
        """See :func:`relax_reference.activation_range`."""
        return self._each(2, "activation_range", kind, low, high, a, b, pieces)

    def activation_lines(
        self, kind: int, low: Array, high: Array, a: Array, b: Array, pieces: Array
    ) -> tuple[Array, Array, Array, Array]:
        """See :func:`relax_reference.activation_lines`."""
        return self._each(4, "activation_lines", kind, low, high, a, b, pieces)

    def _each(self, outputs: int, kernel: str, kind: int, *arrays: Array) -> tuple[Array, ...]:
        low, high, a, b, pieces = self._doubles(*arrays)
        out = tuple(self._empty(*low.shape) for _ in range(outputs))
        args = (low, high, a, a.size, b, b.size, pieces, len(pieces), *out)
        self._strided("relax", kernel, low.size, int(kind), *low.shape, *args)
        return out

    def activation_floor(
        self,
        kind: int,
        weight: Array,
        slope: Array,
        lam: Array,
        centre: Array,
        low: Array,
        high: Array,
        owner: Array,
        a: Array,
        b: Array,
        pieces: Array,
    ) -> tuple[Array, Array, Array, Array]:
        """See :func:`relax_reference.activation_floor`."""
        arrays = self._doubles(weight, slope, lam, centre, low, high)
        a, b, pieces = self._doubles(a, b, pieces)
        rows, n = weight.shape
        out = (self._empty(rows), self._empty(rows, n), self._empty(rows, n), self._empty(rows))
        shapes = (a, a.size, b, b.size, pieces, len(pieces))
        args = (int(kind), n, *arrays, *self._integers(owner), *shapes, *out)
        self._run("relax", "activation_floor", rows, n, *args)
        return out

    def activation_pencil(
        self,
        kind: int,
        low: Array,
        high: Array,
        point: Array,
        a: Array,
        b: Array,
        pieces: Array,
    ) -> tuple[Array, Array]:
        """See :func:`pencil_reference.activation_pencil`."""
        low, high, point, a, b, pieces = self._doubles(low, high, point, a, b, pieces)
        table, start = self._empty(len(low), 12, low.shape[1]), self._empty(*low.shape)
        args = (low, high, point, a, a.size, b, b.size, pieces, len(pieces), table, start)
        self._strided("relax", "activation_pencil", low.size, int(kind), *low.shape, *args)
        return table, start

    def deviation_lines(
        self,
        kind: int,
        low: Array,
        high: Array,
        point: Array,
        value_at: Array,
        a: Array,
        b: Array,
        pieces: Array,
    ) -> tuple[Array, Array, Array, Array, Array, Array]:
        """See :func:`relax_reference.deviation_lines`."""
        arrays = self._doubles(low, high, point, value_at, a, b, pieces)
        low, high, point, value_at, a, b, pieces = arrays
        out = tuple(self._empty(*low.shape) for _ in range(6))
        terms = low.shape[1] + 32
        gamma = terms * EPS / (1.0 - terms * EPS)
        args = (low, high, point, value_at, a, a.size, b, b.size, pieces, len(pieces), gamma, *out)
        self._strided("relax", "deviation_lines", low.size, int(kind), *low.shape, *args)
        return out

    def shift_lines(
        self,
        slope: Array,
        constant: Array,
        point: Array,
        value: Array,
        deviation: Array,
        outward: float,
    ) -> Array:
        """See :func:`relax_reference.shift_lines`."""
        arrays = self._doubles(slope, constant, point, value, deviation)
        out, terms = self._empty(*slope.shape), slope.shape[1] + 32
        gamma = terms * EPS / (1.0 - terms * EPS)
        args = (slope.size, *arrays, gamma, float(outward), out)
        self._strided("relax", "shift_lines", slope.size, *args)
        return out
