"""The CUDA kernels as Python functions, whatever runs them.

:class:`Calls` prepares operands and results and says which kernel to launch; a :class:`Launcher`
does it: :mod:`gpu` on a device, :mod:`cuda_host` on the CPU. So the tests of one cover both.
Names, signatures and contracts are those of the NumPy references.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = Any  # of the launcher's array module

FOLDER = Path(__file__).with_name("cuda")
#: Threads a block at most, MAX_LANES of common.cuh.
MAX_LANES = 256
#: The blocks that share a row of a fold: enough to fill a device with few rows.
MAX_CHUNKS = 64
#: Modules: source file and the type ``REAL`` stands for in it.
MODULES = {
    "rows_float32": ("rows.cu", "float"),
    "rows_float64": ("rows.cu", "double"),
    "walk": ("walk.cu", "double"),
    "relax": ("relax.cu", "double"),
}


class Launcher(Protocol):
    """What runs kernels."""

    xp: Any  # its array module, NumPy or CuPy

    def launch(self, module: str, kernel: str, blocks: int, lanes: int, args: tuple) -> None:
        """Run a kernel of a module of :data:`MODULES`.

        ``args`` are contiguous arrays, ``np.int64`` and ``np.float64``; ``lanes`` a power of two.
        """


def source(module: str) -> str:
    """The source of a module in one piece, its headers inlined.

    Compile caches see the text of a program, not the files it includes.
    """
    name, real = MODULES[module]
    seen: set[str] = set()

    def inlined(file: str) -> str:
        if file in seen:
            return ""
        seen.add(file)
        text = (FOLDER / file).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return re.sub(r'#include "(\w+\.cuh)"\n', lambda found: inlined(found[1]), text)

    return f"#define REAL {real}\n{inlined(name)}"


def _lanes(count: int) -> int:
    """Threads for ``count`` entries: a power of two, at least a warp."""
    return min(MAX_LANES, max(32, 1 << max(count - 1, 0).bit_length()))


class Calls:
    """All kernels over one launcher; arrays are its own."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher, self._xp = launcher, launcher.xp

    def _doubles(self, *arrays: Array) -> list[Array]:
        return [self._xp.ascontiguousarray(x, dtype=np.float64) for x in arrays]

    def _integers(self, *arrays: Array) -> list[Array]:
        return [self._xp.ascontiguousarray(x, dtype=np.int64) for x in arrays]

    def _empty(self, *shape: int) -> Array:
        return self._xp.empty(shape, dtype=np.float64)

    def _run(self, module: str, kernel: str, blocks: int, count: int, *args: Any) -> None:
        """Launch with a block of threads for ``count`` entries each."""
        if blocks == 0:
            return
        if count >= 2**31 or blocks >= 2**31:
            raise ValueError(f"{kernel}: {blocks} blocks of {count} entries, 2**31 is too many")
        plain = tuple(
            np.int64(x) if isinstance(x, int) else np.float64(x) if isinstance(x, float) else x
            for x in args
        )
        self._launcher.launch(module, kernel, blocks, _lanes(count), plain)

    def _strided(self, module: str, kernel: str, total: int, *args: Any) -> None:
        """Launch a thread an entry."""
        self._run(module, kernel, -(-total // MAX_LANES), MAX_LANES, *args)

    # kernels on rows -------------------------------------------------------------------------

    def _rows(self, rows: Array, *others: Array) -> tuple[str, list[Array]]:
        """Module and operands in the precision they have together."""
        arrays = (rows, *others)
        single = all(x.dtype == np.float32 for x in arrays)
        kind = np.dtype(np.float32 if single else np.float64)
        return f"rows_{kind.name}", [self._xp.ascontiguousarray(x, dtype=kind) for x in arrays]

    def pull_lines(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        below_slope: Array,
        below_const: Array,
        above_slope: Array,
        above_const: Array,
    ) -> tuple[Array, Array, Array]:
        """See :func:`rows_reference.pull_lines`."""
        lines: tuple[Array, ...] = (below_slope, below_const, above_slope, above_const)
        samples = max(len(line) for line in lines)
        lines = tuple(self._xp.broadcast_to(t, (samples, *t.shape[1:])) for t in lines)
        module, (values, *parts) = self._rows(rows, *lines)
        owner, origin = self._integers(owner, origin)
        out = self._xp.empty_like(values)
        rest, mass = self._empty(len(values)), self._empty(len(values))
        count, shape = values[:1].size, (*values.shape[1:], samples, *below_slope.shape[2:])
        args = (values, owner, origin, *parts, out, rest, mass, *shape)
        self._run(module, "pull_lines", len(values), count, *args)
        return out, rest, mass

    def scale(self, rows: Array, owner: Array, origin: Array, weight: Array) -> tuple[Array, Array]:
        """See :func:`rows_reference.scale`."""
        module, (values, weight) = self._rows(rows, weight)
        owner, origin = self._integers(owner, origin)
        out, mass = self._xp.empty_like(values), self._empty(len(values))
        count, shape = values[:1].size, (*values.shape[1:], len(weight), *weight.shape[2:])
        args = (values, owner, origin, weight, out, mass, *shape)
        self._run(module, "scale", len(values), count, *args)
        return out, mass

    def dual_norm(self, rows: Array, origin: Array, plane: tuple[int, int], q: float) -> Array:
        """See :func:`rows_reference.dual_norm`."""
        module, (values,) = self._rows(rows)
        (origin,) = self._integers(origin)
        out, shape = self._empty(len(values)), (*values.shape[1:], int(plane[0]), int(plane[1]))
        args = (values, origin, out, *shape, float(q))
        self._run(module, "dual_norm", len(values), values[:1].size, *args)
        return out

    def fold(
        self,
        columns: Array,
        first: Array,
        origin: Array,
        plane: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int],
        out: Array,
    ) -> None:
        """See :func:`rows_reference.fold`."""
        module, (values,) = self._rows(columns)
        if values.dtype != out.dtype:
            raise TypeError(f"fold adds {values.dtype} to {out.dtype}")
        first, origin = self._integers(first, origin)
        target = self._xp.ascontiguousarray(out)
        channels, tall, broad, rows, high, wide = values.shape
        count = out[:1].size
        chunks = max(1, min(MAX_CHUNKS, count // MAX_LANES))
        steps = (int(x) for x in (*plane, *stride, *dilation))
        sizes = (chunks, rows, channels, tall, broad, high, wide, *steps, *out.shape[2:])
        if count:
            args = (values, first, origin, target, *sizes)
            self._run(module, "fold", rows * chunks, count, *args)
        if target is not out:
            out[...] = target

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
