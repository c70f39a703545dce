"""2-norms of what nodes deviate by from their values at the point.

How they come about is told in :mod:`boundcert.checker.spread`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from boundcert.checker import pools, spread
from boundcert.checker.carry import Carrier
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Affine, Bend, Input, Maximum, Product
from boundcert.checker.rounding import UNDER, UNIT, gamma
from boundcert.checker.spread import Source, bends_of, norm_bound, two_pieces


class Deviations(Carrier):
    """Bounds on them, for all nodes behind which rows stop, or leave something."""

    def _source(self, k: int, node: Bend | Maximum | Product) -> Source:
        """What node k leaves when rows go back about the point; and how far it may bend."""
        i, value = node.inputs[0], self.point[k]
        if isinstance(node, Bend) and two_pieces(node):
            bends, middle = bends_of(node, self.low[i], self.high[i], self.point[i])
            weights = (np.ones(len(bends.entries)), bends.half)
            whole, left = self._spread(i, bends.entries, weights)
            if math.isfinite(left):
                self.bends[k] = bends, whole
                return Source(value, middle, bends.entries, left)
        far = np.maximum(self.high[k] - value, value - self.low[k]) * (1 + 4 * UNIT)
        entries = np.nonzero(~(far <= 0))[0]
        size = float(np.linalg.norm(far[entries])) * (1 + gamma(len(far) + 16)) + UNDER**0.5
        if isinstance(node, Maximum):
            size = min(size, self._pooled(k, node))
        return Source(value, None, entries, size)

    def _pooled(self, k: int, node: Maximum) -> float:
        """At least the 2-norm of what maxima deviate by; and windows that are tied get theirs.

        No maximum deviates by more than the entries of its window, of which each sits in so many.
        """
        i, copies = node.inputs[0], pools.overlap(node.table)
        loose = pools.tied(node, self.low[i], self.high[i], self.point[i])
        entries = np.unique(node.table[node.table >= 0])
        marked = np.isin(entries, node.table[loose.which])
        weights = (np.ones(len(entries)), marked.astype(np.float64))
        whole, some = self._spread(i, entries, weights)
        self.pools[k] = loose, copies * some * some * (1 + 8 * UNIT) + UNDER
        return math.sqrt(copies) * whole * (1 + 4 * UNIT)

    def _spread(
        self, k: int, entries: NDArray[np.int64], weights: tuple[Array, ...]
    ) -> tuple[float, ...]:
        """For each weight at least the 2-norm of weight∘(z − p) over entries of node k's value."""
        if self._products(k, len(entries)) > spread.MOST:
            return (math.inf,) * len(weights)
        order, found = np.empty(0, dtype=np.int64), []
        # rows come in the order of blocks, and so must weights
        for block in self._blocks(k, entries):
            self.choices.pause()
            found.append(self._carry(k, self._units(k, entries[block], 1.0), about=True))
            order = np.concatenate((order, block))
        if not found:
            return (0.0,) * len(weights)
        rows = np.concatenate([part.rows for part in found])
        base = np.concatenate([part.base for part in found])
        lost = np.concatenate([part.lost for part in found])
        x, point = self.ball.x, self.point[k][entries[order]]
        size = np.abs(rows) @ np.abs(x) + np.abs(base) + np.abs(point)
        rest = np.abs(rows @ x + base - point) + lost + size * gamma(len(x) + 16) + UNDER
        # ‖q‖₂ ≤ ‖q‖₁, and ‖q‖₂ ≤ √n‖q‖_∞
        copies = math.sqrt(len(x)) if self.ball.p == math.inf else 1.0
        parts = [(rows, self.ball.radius * copies * (1 + 4 * UNIT))]
        for j, source in self.sources.items():
            if any(j in part.met for part in found):
                zero = np.zeros((0, len(source.entries)))
                met = [part.met.get(j, zero) for part in found]
                parts.append((np.concatenate(met), source.size))
        return tuple(
            norm_bound(parts, w)
            + float(np.linalg.norm(w * rest)) * (1 + gamma(len(w) + 16)) * (1 + 8 * UNIT)
            + UNDER**0.5
            for w in (weight[order] for weight in weights)
        )

    def _products(self, k: int, count: int) -> int:
        """How many products the norm of so many rows of node k takes."""
        widths, waiting, seen = [], [k], set()
        while waiting:
            j = waiting.pop()
            node = self.graph.nodes[j]
            if j in seen:
                continue
            seen.add(j)
            if isinstance(node, Input):
                widths.append(node.n)
            elif isinstance(node, Affine):
                waiting += node.inputs
            else:
                widths.append(len(self.sources[j].entries))
                waiting += node.inputs if self.sources[j].slope is not None else ()
        if len(widths) == 1:
            return min(count, widths[0]) * count * widths[0]
        return count * count * sum(widths)
