"""Rows of coefficients carried back to the input, by lines or about a point.

How, and what rounding costs, is told in :mod:`boundcert.checker.proof`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boundcert.checker import pools, spread
from boundcert.checker.ball import Ball
from boundcert.checker.choices import Choices
from boundcert.checker.lines import Lines, windows
from boundcert.checker.maps import Array, Pick
from boundcert.checker.nodes import Affine, Bend, Graph, Input, Maximum, Product
from boundcert.checker.rounding import UNDER, UNIT, gamma
from boundcert.checker.runtime import Runs
from boundcert.checker.spread import Bends, Source

#: Numbers that the rows of one block may take at one node.
BLOCK = 4_000_000

Mask = NDArray[np.bool_]


class Carried(NamedTuple):
    """Rows (R, n) of the input, what was added up, what it may be off by, and what was left."""

    rows: Array
    base: Array
    lost: Array
    met: dict[int, Array]


class Carrier(ABC):
    """What is known of a graph's nodes over one ball, and bounds on rows from it.

    Parameters
    ----------
    spreads : whether bounds on 2-norms join the boxes.
    means : whether maxima lie between means of their entries, without the former.
    """

    def __init__(
        self,
        graph: Graph,
        runs: Runs,
        ball: Ball,
        deployed: bool,
        choices: Choices,
        spreads: bool = False,
        means: bool = False,
    ) -> None:
        self.graph, self.runs, self.ball = graph, runs, ball
        self.deployed, self.choices, self.spreads = deployed, choices, spreads
        self.means = means and not spreads
        count = len(graph.nodes)
        self.low: list[Array] = [np.empty(0)] * count
        self.high: list[Array] = [np.empty(0)] * count
        self.point: list[Array] = [np.empty(0)] * count
        #: affine nodes that only affine ones lie in front of: what they are besides L·q
        self.about: dict[int, tuple[Array, Array]] = {0: (ball.x, ball.x)}
        self.error: dict[int, Array] = {}
        self.mass: dict[int, Array] = {}
        self.lines: dict[int, Lines] = {}
        self.known: dict[int, Mask] = {}
        self.bends: dict[int, tuple[Bends, float]] = {}
        self.pools: dict[int, tuple[pools.Tied, float]] = {}
        self.sources: dict[int, Source] = {}
        with np.errstate(all="ignore"):
            for k in range(count):
                self._reach(k)

    @abstractmethod
    def _reach(self, k: int) -> None:
        """Find out what is to be known of node k; all is known of those before."""

    def _size(self, k: int) -> Array:
        return np.maximum(np.abs(self.low[k]), np.abs(self.high[k]))

    def _blocks(self, k: int, index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Positions in ``index``: neighbours together, whose rows meet the same part of a plane."""
        order = np.argsort(index % self.runs.plane[k], kind="stable")
        step = max(BLOCK // max(self.runs.widest, 1), 16)
        return [order[start : start + step] for start in range(0, len(order), step)]

    def _units(self, k: int, index: NDArray[np.int64], sign: Array | float) -> Array:
        rows = np.zeros((len(index), self.graph.nodes[k].n))
        rows[np.arange(len(index)), index] = sign
        return rows

    def _bounds(self, start: int, rows: Array) -> tuple[Array, Array]:
        """Bounds on rows (R, n) of node ``start``: base and slope of :meth:`Ball.least`."""
        found = self._carry(start, rows)
        return self.ball.least(found.rows, _less(found.base, found.lost, 8))

    def _carry(self, start: int, rows: Array, about: bool = False) -> Carried:
        """Rows (R, n) of node ``start`` carried to the input.

        ``about`` the point instead of by lines: then sources keep what rows leave with them.
        """
        waiting, met = {start: rows}, {}
        base, lost = np.zeros(len(rows)), np.zeros(len(rows))
        for k in range(start, 0, -1):
            if k not in waiting:
                continue
            rows, node = waiting.pop(k), self.graph.nodes[k]
            size = np.abs(rows)
            if k in self.error:
                lost = lost + (size @ self.error[k]) * (1 + gamma(node.n + 8))
            if isinstance(node, Affine):
                gain = rows @ node.bias
                spent = (size @ self.mass[k]) * (gamma(node.spread + 8) + gamma(node.n + 16))
                parts = [(i, part.transpose(rows)) for i, part in zip(node.inputs, node.maps)]
            elif about:
                met[k] = rows[:, self.sources[k].entries]
                part, gain, spent = self._past(k, node.inputs[0], rows, size)
                parts = [] if part is None else [(node.inputs[0], part)]
            else:
                through, gain, spent = self._through(k, node, rows)
                parts = list(zip(node.inputs, through))
            for i, part in parts:
                if i in waiting:
                    part = waiting[i] + part
                    spent = spent + (np.abs(part) @ self._size(i)) * (4 * UNIT)
                waiting[i] = part
                spent = spent + UNDER * (1 + self._size(i).sum())
            lost = lost + spent + (np.abs(base) + np.abs(gain)) * (2 * UNIT)
            base = base + gain
        rows = waiting.get(0, np.zeros((len(base), self.graph.nodes[0].n)))
        return Carried(rows, base, lost * (1 + gamma(8 * (start + 1))), met)

    def _past(self, k: int, i: int, rows: Array, size: Array) -> tuple[Array | None, Array, Array]:
        """Rows of the operand by the slopes about the point, what is added, and rounding."""
        source = self.sources[k]
        if source.slope is None:
            spent = (size @ np.abs(source.value)) * gamma(rows.shape[1] + 16)
            return None, rows @ source.value, spent
        moved = source.slope * self.point[i]
        most = np.abs(source.value) + np.abs(moved)
        part, gain = rows * source.slope, rows @ (source.value - moved)
        spent = (size @ most) * gamma(rows.shape[1] + 16)
        return part, gain, spent + (np.abs(part) @ self._size(i)) * (4 * UNIT)

    def _through(
        self, k: int, node: Bend | Maximum | Product | Input, rows: Array
    ) -> tuple[list[Array], Array, Array]:
        """Rows of the operands, what is added, and what rounding costs, by the lines."""
        i, lines = node.inputs[0], self.lines[k]
        if isinstance(node, Maximum):
            return self._through_maximum(k, node, rows)
        freed = None
        if k in self.bends:
            freed = spread.by_multipliers(rows, *self.bends[k], lines, self.choices)
        if freed is not None:
            rows = rows.copy()
            rows[np.ix_(freed.rows, freed.entries)] = 0.0
        up, down, gain, lost = _constants(rows, lines)
        part = up * lines.below_slope + down * lines.above_slope
        if freed is not None:
            part[np.ix_(freed.rows, freed.entries)] = freed.slopes
            lost[freed.rows] += (np.abs(gain[freed.rows]) + np.abs(freed.gain)) * (4 * UNIT)
            gain[freed.rows] += freed.gain
        lost = lost + (np.abs(part) @ self._size(i)) * (4 * UNIT)
        if lines.others is None:
            return [part], gain, lost
        other = up * lines.others[0] + down * lines.others[1]
        lost = lost + (np.abs(other) @ self._size(node.inputs[1])) * (4 * UNIT)
        return [part, other], gain, lost

    def _through_maximum(
        self, k: int, node: Maximum, rows: Array
    ) -> tuple[list[Array], Array, Array]:
        """The same where each coefficient goes to one entry of its window, or is shared out."""
        i, lines, size = node.inputs[0], self.lines[k], np.abs(rows)
        assert lines.below_at is not None and lines.above_at is not None
        moved = None
        if k in self.pools:
            ties, square = self.pools[k]
            about = (ties, square, lines, self.point[i], self.choices)
            moved = pools.by_multipliers(rows, *about)
        if moved is not None:
            rows = rows.copy()
            places = np.ix_(moved.rows, moved.windows.which)
            rows[places] = np.where(moved.coefficients != 0, 0.0, rows[places])
        up, down, gain, lost = _constants(rows, lines)
        part = lines.below_at.transpose(up * lines.below_slope)
        part = part + lines.above_at.transpose(down * lines.above_slope)
        if lines.shares is not None:
            part = part + lines.shares[0].transpose(up) + lines.shares[1].transpose(down)
        if moved is not None:
            peaks = Pick(moved.windows.peak, self.graph.nodes[i].n)
            part[moved.rows] += peaks.transpose(moved.coefficients)
            lost[moved.rows] += (np.abs(gain[moved.rows]) + np.abs(moved.gain)) * (4 * UNIT)
            gain[moved.rows] += moved.gain
        reach = windows(self._size(i), node.table).max(axis=1)
        return [part], gain, lost + (size @ reach) * gamma(2 * node.n + 32)


def _constants(rows: Array, lines: Lines) -> tuple[Array, Array, Array, Array]:
    """Positive and negative coefficients, what lines add to rows, and what rounding costs."""
    up, down = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
    gain = up @ lines.below + down @ lines.above
    most = up @ np.abs(lines.below) - down @ np.abs(lines.above)
    under = np.abs(rows).sum(axis=1) * UNDER
    return up, down, gain, most * gamma(rows.shape[1] + 16) + under


def _less(base: Array, lost: Array, terms: int) -> Array:
    """base − lost, rounded down; ``lost`` is a computed sum of so many terms ≥ 0."""
    return base - lost * (1 + gamma(terms + 8)) - (np.abs(base) + lost) * (4 * UNIT)
