"""Lower bounds on margins over a ball, from boxes and straight lines alone.

For every node a box holds the values that it takes over the ball, and lines hold what it computes
between them. A row c of a node's value goes back to the input: through an affine node as cW,
through any other with the line below where its coefficient is positive, above where it is
negative. At the input base + c·x − ε‖c‖_q is least over the ball (Hölder). Boxes come from those of
operands, and from rows where that may settle on which side of a bend values lie. Where a claim
says so, bounds on 2-norms join the boxes (:mod:`boundcert.checker.spread`).

All of it is computed in float64, and every sum pays for its own rounding: the computed value of n
products is off by at most γ_n = nu/(1 − nu) of the sum of their magnitudes, in whatever order
(Higham 2002, §3.1), u = 2⁻⁵³. Errors of coefficients act on values no larger than their boxes say.
What is computed from an infinity or no number ends as one, and then nothing is proved.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from boundcert.checker import pools, spread
from boundcert.checker.ball import Ball
from boundcert.checker.choices import Choices
from boundcert.checker.curves import CURVES, LEAST, UNDER, UNIT, floor, gamma
from boundcert.checker.lines import Lines, maximum_lines, usual_slopes, windows
from boundcert.checker.maps import Array, Pick
from boundcert.checker.nodes import Affine, Bend, Graph, Input, Maximum
from boundcert.checker.runtime import Runs, runtime_error
from boundcert.checker.spread import Bends, Source, bends_of, norm_bound, two_pieces

#: Numbers that the rows of one block may take at one node.
BLOCK = 4_000_000

Mask = NDArray[np.bool_]


class Carried(NamedTuple):
    """Rows (R, n) of the input, what was added up, what it may be off by, and what was left."""

    rows: Array
    base: Array
    lost: Array
    met: dict[int, Array]


class Proof:
    """Boxes and lines of a graph over one ball, and bounds on rows from them.

    Parameters
    ----------
    spreads : whether bounds on 2-norms join the boxes.
    """

    def __init__(
        self,
        graph: Graph,
        runs: Runs,
        ball: Ball,
        deployed: bool,
        choices: Choices,
        spreads: bool = False,
    ) -> None:
        self.graph, self.runs, self.ball = graph, runs, ball
        self.deployed, self.choices, self.spreads = deployed, choices, spreads
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

    def margins(self, label: int) -> tuple[Array, Array]:
        """Bounds base − s·slope on z_label − z_rival for every rival and radius s ≤ the ball's."""
        last, classes = len(self.graph.nodes) - 1, self.graph.nodes[-1].n
        rows = np.eye(classes)[label] - np.delete(np.eye(classes), label, axis=0)
        with np.errstate(all="ignore"):
            return self._bounds(last, rows)

    def _reach(self, k: int) -> None:
        """The box of node k, its lines, and what it may be off by."""
        node = self.graph.nodes[k]
        if isinstance(node, Input):
            self.low[k], self.high[k] = self.ball.box()
            self.point[k] = self.ball.x
        elif isinstance(node, Affine):
            points = [self.point[i] for i in node.inputs]
            self.point[k] = self._sum(node, points)
            self.mass[k] = node.absolute([self._size(i) for i in node.inputs]) + UNDER
            self._err(k)
            self._affine(k, node)
        else:
            self._settle(k, node)
            self.point[k] = self._value(node)
            self._redraw(k)
            if self.spreads:
                self.sources[k] = self._source(k, node)

    def _size(self, k: int) -> Array:
        return np.maximum(np.abs(self.low[k]), np.abs(self.high[k]))

    def _sum(self, node: Affine, values: list[Array]) -> Array:
        return node.bias + sum(part.forward(v) for part, v in zip(node.maps, values))

    def _err(self, k: int) -> None:
        if self.deployed:
            sizes = [self._size(j) for j in range(k)]
            error = runtime_error(self.graph, self.runs, k, sizes, self.mass.get(k))
            if error is not None:
                self.error[k] = error

    def _affine(self, k: int, node: Affine) -> None:
        """Centres times W, half widths times |W|, and γ of all magnitudes."""

        def ends(boxes: list[tuple[Array, Array]], mass: Array) -> tuple[Array, Array]:
            middle = self._sum(node, [0.5 * low + 0.5 * high for low, high in boxes])
            half = [(0.5 * high - 0.5 * low) * (1 + 4 * UNIT) + LEAST for low, high in boxes]
            wide = sum(part.forward(h, np.abs) for part, h in zip(node.maps, half))
            wide = wide + mass * gamma(node.terms + 32) + self.error.get(k, 0.0) + UNDER
            return middle - wide * (1 + 8 * UNIT), middle + wide * (1 + 8 * UNIT)

        self.low[k], self.high[k] = ends(
            [(self.low[i], self.high[i]) for i in node.inputs], self.mass[k]
        )
        if all(i in self.about for i in node.inputs):
            about = [self.about[i] for i in node.inputs]
            self.about[k] = ends(about, self.mass[k])
            norm = self.runs.row_norms.get(k)
            if norm is not None:
                move = self.ball.radius * norm * (1 + 4 * UNIT)
                low, high = self.about[k][0] - move, self.about[k][1] + move
                slack = 4 * UNIT * (np.abs(low) + np.abs(high) + move)
                self._meet(k, low - slack, high + slack)

    def _meet(self, k: int, low: Array, high: Array) -> None:
        """No number says nothing."""
        self.low[k] = np.fmax(self.low[k], np.where(np.isnan(low), -np.inf, low))
        self.high[k] = np.fmin(self.high[k], np.where(np.isnan(high), np.inf, high))

    def _settle(self, k: int, node: Bend | Maximum) -> None:
        """Rows for operands on which it depends what the lines are: the likelier end first."""
        i = node.inputs[0]
        for first in (True, False):
            mask = self._loose(node)
            lower, upper = mask, mask
            if first:
                sure = self._likely(node)
                lower, upper = lower & sure, upper & ~sure
            self._tighten(i, np.stack((lower, upper)))

    def _loose(self, node: Bend | Maximum) -> Mask:
        """Entries of the operand whose bounds matter."""
        low, high = self.low[node.inputs[0]], self.high[node.inputs[0]]
        mask = np.zeros(len(low), dtype=bool)
        if isinstance(node, Maximum):
            lows, highs = windows(low, node.table), windows(high, node.table)
            best = lows.argmax(axis=1)
            others = highs.copy()
            np.put_along_axis(others, best[:, None], -np.inf, axis=1)
            open_ = ~(lows.max(axis=1) >= others.max(axis=1))
            tied = open_[:, None] & ~(highs <= lows.max(axis=1)[:, None]) & (node.table >= 0)
            mask[node.table[tied]] = True
            return mask
        for kink in [start for start, _, _ in self._pieces(node)[1:]]:
            mask |= (low < kink) & (kink < high)
        if not CURVES[node.name].straight:
            mask |= high - low > 1e-9 * (np.abs(low) + np.abs(high))
        return mask

    def _likely(self, node: Bend | Maximum) -> Mask:
        """Where the lower end may settle it; elsewhere the upper one."""
        point = self.point[node.inputs[0]]
        if isinstance(node, Maximum):
            top = np.take_along_axis(
                node.table, windows(point, node.table).argmax(axis=1)[:, None], axis=1
            )
            return np.isin(np.arange(len(point)), top)
        pieces = self._pieces(node)
        return point >= (pieces[len(pieces) // 2][0] if len(pieces) > 1 else 0.0)

    def _pieces(self, node: Bend) -> list[tuple[float, float, int]]:
        return CURVES[node.name].pieces(float(node.a.ravel()[0]), node.b)

    def _tighten(self, k: int, wanted: Mask) -> None:
        """Rows for ends (2, n) of node k's entries, or of what they are made of."""
        node = self.graph.nodes[k]
        if isinstance(node, Bend):
            self._tighten(node.inputs[0], np.broadcast_to(wanted.any(axis=0), wanted.shape))
            self._redraw(k)
            return
        if isinstance(node, Input) or (self.ball.clip is None and k in self.runs.exact):
            return
        known = self.known.setdefault(k, np.zeros((2, node.n), dtype=bool))
        side, index = np.nonzero(wanted & ~known)
        known |= wanted
        low, high = self.low[k].copy(), self.high[k].copy()
        for block in self._blocks(k, index):
            self.choices.pause()
            s, j = side[block], index[block]
            base, slope = self._bounds(k, self._units(k, j, np.where(s == 0, 1.0, -1.0)))
            bound = base - self.ball.radius * slope
            bound = bound - (np.abs(base) + self.ball.radius * slope) * (4 * UNIT)
            bound = np.where(np.isnan(bound), -np.inf, bound)
            np.maximum.at(low, j[s == 0], bound[s == 0])
            np.minimum.at(high, j[s == 1], -bound[s == 1])
        self._meet(k, low, high)

    def _blocks(self, k: int, index: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Positions in ``index``: neighbours together, whose rows meet the same part of a plane."""
        order = np.argsort(index % self.runs.plane[k], kind="stable")
        step = max(BLOCK // max(self.runs.widest, 1), 16)
        return [order[start : start + step] for start in range(0, len(order), step)]

    def _units(self, k: int, index: NDArray[np.int64], sign: Array | float) -> Array:
        rows = np.zeros((len(index), self.graph.nodes[k].n))
        rows[np.arange(len(index)), index] = sign
        return rows

    def _redraw(self, k: int) -> None:
        """The lines of node k over its operand's box, and the box that they imply."""
        node = self.graph.nodes[k]
        i = node.inputs[0]
        if isinstance(node, Maximum):
            lows = windows(self.low[i], node.table).max(axis=1)
            highs = windows(self.high[i], node.table).max(axis=1)
            self.lines[k] = maximum_lines(node, self.low[i], self.high[i])
        else:
            assert isinstance(node, Bend)
            about = (self.low[i], self.high[i], node.a, node.b)
            slopes = self.choices.slopes(node, self.low[i], self.high[i], self.point[i])
            below, above = slopes or usual_slopes(node, self.low[i], self.high[i])
            lows = floor(node.name, 1.0, np.zeros(node.n), *about)
            highs = -floor(node.name, -1.0, np.zeros(node.n), *about)
            self.lines[k] = Lines(
                below,
                floor(node.name, 1.0, below, *about),
                above,
                -floor(node.name, -1.0, -above, *about),
            )
            self._err(k)
            if k in self.error:
                wide = self.error[k] + 8 * UNIT * (np.abs(lows) + np.abs(highs) + self.error[k])
                lows, highs = lows - wide, highs + wide
        self.low[k], self.high[k] = lows, highs

    def _value(self, node: Bend | Maximum) -> Array:
        point = self.point[node.inputs[0]]
        if isinstance(node, Maximum):
            return windows(point, node.table).max(axis=1)
        return CURVES[node.name].value(point, node.a, node.b)

    def _source(self, k: int, node: Bend | Maximum) -> Source:
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
                part, gain, spent = self._through(k, node, rows)
                parts = [(node.inputs[0], part)]
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
        self, k: int, node: Bend | Maximum | Input, rows: Array
    ) -> tuple[Array, Array, Array]:
        """Rows of the operand, what is added, and what rounding costs, by the lines."""
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
        return part, gain, lost + (np.abs(part) @ self._size(i)) * (4 * UNIT)

    def _through_maximum(self, k: int, node: Maximum, rows: Array) -> tuple[Array, Array, Array]:
        """The same where each coefficient goes to one entry of its window."""
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
        if moved is not None:
            peaks = Pick(moved.windows.peak, self.graph.nodes[i].n)
            part[moved.rows] += peaks.transpose(moved.coefficients)
            lost[moved.rows] += (np.abs(gain[moved.rows]) + np.abs(moved.gain)) * (4 * UNIT)
            gain[moved.rows] += moved.gain
        reach = windows(self._size(i), node.table).max(axis=1)
        return part, gain, lost + (size @ reach) * gamma(2 * node.n + 32)


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
