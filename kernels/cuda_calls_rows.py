"""The CUDA kernels on rows as Python functions; see :mod:`cuda_calls`."""

from __future__ import annotations

import numpy as np

from .cuda_launch import MAX_CHUNKS, MAX_LANES, Array, Tools


class RowCalls(Tools):
    """The kernels on rows that know of no ball."""

    def _rows(self, rows: Array, *others: Array, family: str = "rows") -> tuple[str, list[Array]]:
        """Module of a family and operands, in the precision they have together."""
        arrays = (rows, *others)
        single = all(x.dtype == np.float32 for x in arrays)
        kind = np.dtype(np.float32 if single else np.float64)
        return f"{family}_{kind.name}", [self._xp.ascontiguousarray(x, dtype=kind) for x in arrays]

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

    def weigh(self, rows: Array, owner: Array, origin: Array, weight: Array) -> Array:
        """See :func:`rows_reference.weigh`."""
        module, (values, weight) = self._rows(rows, weight)
        owner, origin = self._integers(owner, origin)
        out, shape = self._empty(len(values)), (*values.shape[1:], len(weight), *weight.shape[2:])
        args = (values, owner, origin, weight, out, *shape)
        self._run(module, "weigh", len(values), values[:1].size, *args)
        return out

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
        rows, channels, tall, broad, high, wide = values.shape
        count = out[:1].size
        chunks = max(1, min(MAX_CHUNKS, count // MAX_LANES))
        steps = (int(x) for x in (*plane, *stride, *dilation))
        sizes = (chunks, channels, tall, broad, high, wide, *steps, *out.shape[2:])
        if count:
            args = (values, first, origin, target, *sizes)
            self._run(module, "fold", rows * chunks, count, *args)
        if target is not out:
            out[...] = target

    def pull_pencil(
        self, rows: Array, owner: Array, origin: Array, mix: Array, table: Array
    ) -> tuple[Array, Array, Array]:
        """See :func:`pencil_reference.pull_pencil`."""
        module, (values, mix, table) = self._rows(rows, mix, table, family="pencil")
        owner, origin = self._integers(owner, origin)
        out = self._xp.empty_like(values)
        rest, mass = self._empty(len(values)), self._empty(len(values))
        count, shape = values[:1].size, (*values.shape[1:], len(table), *table.shape[3:])
        args = (values, owner, origin, mix, table, out, rest, mass, *shape)
        self._run(module, "pull_pencil", len(values), count, *args)
        return out.astype(rows.dtype, copy=False), rest, mass

    def pencil_gradient(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        mix: Array,
        table: Array,
        out_grad: Array,
        rest_grad: Array,
    ) -> tuple[Array, Array]:
        """See :func:`pencil_reference.pencil_gradient`."""
        module, (values, *parts) = self._rows(rows, mix, table, out_grad, family="pencil")
        owner, origin = self._integers(owner, origin)
        found = (self._xp.empty_like(values), self._xp.empty_like(values))
        count, shape = values[:1].size, (*values.shape[1:], len(table), *table.shape[3:])
        args = (values, owner, origin, *parts, *self._doubles(rest_grad), *found, *shape)
        self._run(module, "pencil_gradient", len(values), count, *args)
        row_grad, mix_grad = (part.astype(rows.dtype, copy=False) for part in found)
        return row_grad, mix_grad
