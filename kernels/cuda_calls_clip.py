"""The CUDA kernel on rows over ball and box as a Python function; see :mod:`cuda_calls`."""

from __future__ import annotations

import numpy as np

from .cuda_calls_rows import RowCalls
from .cuda_launch import Array


class ClipCalls(RowCalls):
    """The kernels on rows, and the one over a ball that is cut with a box."""

    def clipped_norm(
        self,
        rows: Array,
        owner: Array,
        origin: Array,
        below: Array,
        above: Array,
        eps: Array,
        p: float,
    ) -> tuple[Array, Array, Array]:
        """See :func:`clip_reference.clipped_norm`."""
        kind = np.dtype(np.float32 if rows.dtype == np.float32 else np.float64)
        values = self._xp.ascontiguousarray(rows, dtype=kind)
        below, above, eps = self._doubles(below, above, eps)
        owner, origin = self._integers(owner, origin)
        out = tuple(self._empty(len(values)) for _ in range(3))
        count, shape = values[:1].size, (*values.shape[1:], len(below), *below.shape[2:])
        args = (values, owner, origin, below, above, eps, *out, *shape, float(p))
        self._run(f"clip_{kind.name}", "clipped_norm", len(values), count, *args)
        return out
