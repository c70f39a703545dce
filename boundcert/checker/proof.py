"""Lower bounds on margins over a ball, from boxes and straight lines alone.

For every node a box holds the values that it takes over the ball, and lines hold what it computes
between them. A row c of a node's value goes back to the input: through an affine node as cW,
through any other with the line below where its coefficient is positive, above where it is
negative. At the input base + c·x − ε‖c‖_q is least over the ball (Hölder). Boxes come from those of
operands, and from rows where that may settle on which side of a bend values lie.

All of it is computed in float64, and every sum pays for its own rounding: the computed value of n
products is off by at most γ_n = nu/(1 − nu) of the sum of their magnitudes, in whatever order
(Higham 2002, §3.1), u = 2⁻⁵³. Errors of coefficients act on values no larger than their boxes say.
What is computed from an infinity or no number ends as one, and then nothing is proved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.curves import CURVES, UNIT, floor
from boundcert.checker.maps import Array, Pick
from boundcert.checker.nodes import Affine, Bend, Graph, Input, Maximum
from boundcert.checker.runtime import Runs, runtime_error

#: Covers what underflow may cost any sum that fits into memory, of numbers up to 1.
UNDER = 1e-300
#: Numbers that the rows of one block may take at one node.
BLOCK = 4_000_000

#: Slopes of lines below and above (n,) for node k over [low, high], or None for the usual ones.
Choose = Callable[[int, Bend, Array, Array, Array], tuple[Array, Array] | None]
Mask = NDArray[np.bool_]


def gamma(terms: float) -> float:
    """γ_n of float64, twice over: it pays for the sum of magnitudes, computed too, as well."""
    return 2 * terms * UNIT / (1 - terms * UNIT)


@dataclass(frozen=True)
class Ball:
    """x + q, ‖q‖_p ≤ radius, with every entry in ``clip`` if there is one."""

    x: Array
    p: float
    radius: float
    clip: tuple[float, float] | None = None

    def box(self) -> tuple[Array, Array]:
        slack = (np.abs(self.x) + self.radius) * (4 * UNIT)
        low, high = self.x - self.radius - slack, self.x + self.radius + slack
        if self.clip is not None:
            low, high = np.maximum(low, self.clip[0]), np.minimum(high, self.clip[1])
        return low, high

    def least(self, rows: Array, base: Array) -> tuple[Array, Array]:
        """Lower bounds base − s‖v‖ on rows at every radius s: base and ‖v‖ (R,), best at mine.

        With a clip, |c| = u + v for any v: what u adds is at most u times the room there is.
        """
        size, n = np.abs(rows), rows.shape[1]
        rate = gamma(n + 16)
        value = base + rows @ self.x
        value = value - (np.abs(base) + np.abs(value)) * (2 * UNIT)
        value = value - (size @ np.abs(self.x)) * rate - UNDER
        if self.clip is not None:
            room = np.where(rows > 0, self.x - self.clip[0], self.clip[1] - self.x)
            room = np.maximum(room, 0.0) * (1 + 4 * UNIT)
            free = self._free(size, room)
            value = value - ((size - free) * room).sum(axis=1) * (1 + rate) - UNDER
            value, size = value - np.abs(value) * (4 * UNIT), free * (1 + 4 * UNIT)
        q = {1.0: np.inf, 2.0: 2, math.inf: 1}[self.p]
        return value, np.linalg.norm(size, q, axis=1) * (1 + rate) + UNDER

    def _free(self, size: Array, room: Array) -> Array:
        """The part v of magnitudes that is left to the ball; any is right, this is a good one."""
        if self.p == math.inf:
            return np.where(room > self.radius, size, 0.0)
        # the best v is cut at a level where the move it stands for is as long as the radius
        if self.p == 2.0:
            high = np.linalg.norm(size, axis=1) / self.radius
        else:
            high = size.max(axis=1, initial=0.0)
        low = high * 2.0**-40
        for _ in range(14):
            level = (np.sqrt(low) * np.sqrt(high))[:, None]
            if self.p == 2.0:
                move = np.linalg.norm(np.minimum(size / level, room), axis=1)
            else:
                move = np.where(size > level, room, 0.0).sum(axis=1)
            over = move > self.radius
            low, high = np.where(over, level[:, 0], low), np.where(over, high, level[:, 0])
        return np.minimum(size, high[:, None] * (room if self.p == 2.0 else 1.0))


@dataclass(frozen=True)
class Lines:
    """below_slope·z + below ≤ σ(z) ≤ above_slope·z + above, entry by entry.

    Of maxima z is the entry that ``below_at`` or ``above_at`` pick; else these are None.
    """

    below_slope: Array
    below: Array
    above_slope: Array
    above: Array
    below_at: Pick | None = None
    above_at: Pick | None = None


class Proof:
    """Boxes and lines of a graph over one ball, and bounds on rows from them."""

    def __init__(self, graph: Graph, runs: Runs, ball: Ball, deployed: bool, choose: Choose):
        self.graph, self.runs, self.ball = graph, runs, ball
        self.deployed, self.choose = deployed, choose
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
        with np.errstate(all="ignore"):
            for k in range(count):
                self._reach(k)

    def margins(self, label: int) -> tuple[Array, Array]:
        """Bounds base − s·slope on z_label − z_rival for every rival and radius s ≤ the ball's."""
        last, classes = len(self.graph.nodes) - 1, self.graph.nodes[-1].n
        rows = np.eye(classes)[label] - np.delete(np.eye(classes), label, axis=0)
        with np.errstate(all="ignore"):
            return self._carry(last, rows)

    def _reach(self, k: int) -> None:
        """The box of node k, its lines, and what it may be off by."""
        node = self.graph.nodes[k]
        if isinstance(node, Input):
            self.low[k], self.high[k] = self.ball.box()
            self.point[k] = self.ball.x
        elif isinstance(node, Affine):
            points = [self.point[i] for i in node.inputs]
            self.point[k] = self._sum(node, points)
            self.mass[k] = node.absolute([self._size(i) for i in node.inputs])
            self._err(k)
            self._affine(k, node)
        else:
            self._settle(k, node)
            self.point[k] = self._value(node)
            self._redraw(k)

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
            half = [(0.5 * high - 0.5 * low) * (1 + 4 * UNIT) for low, high in boxes]
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
            lower, upper = self._loose(node)
            if first:
                sure = self._likely(node)
                lower, upper = lower & sure, upper & ~sure
            self._tighten(i, np.stack((lower, upper)))

    def _loose(self, node: Bend | Maximum) -> tuple[Mask, Mask]:
        low, high = self.low[node.inputs[0]], self.high[node.inputs[0]]
        if isinstance(node, Maximum):
            lows, highs = _windows(low, node.table), _windows(high, node.table)
            best = lows.argmax(axis=1)
            others = highs.copy()
            np.put_along_axis(others, best[:, None], -np.inf, axis=1)
            open_ = ~(lows.max(axis=1) >= others.max(axis=1))
            tied = open_[:, None] & ~(highs <= lows.max(axis=1)[:, None]) & (node.table >= 0)
            mask = np.zeros(len(low), dtype=bool)
            mask[node.table[tied]] = True
            return mask, mask
        inner = [s for s, _, _ in self._pieces(node)[1:]]
        mask = np.zeros(len(low), dtype=bool)
        for kink in inner:
            mask |= (low < kink) & (kink < high)
        if not CURVES[node.name].straight:
            mask |= high - low > 1e-9 * (np.abs(low) + np.abs(high))
        return mask, mask

    def _likely(self, node: Bend | Maximum) -> Mask:
        """Where the lower end may settle it; elsewhere the upper one."""
        point = self.point[node.inputs[0]]
        if isinstance(node, Maximum):
            top = np.take_along_axis(
                node.table, _windows(point, node.table).argmax(axis=1)[:, None], axis=1
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
        # neighbours together: their rows meet the same part of a plane
        order = np.argsort(index % self.runs.plane[k], kind="stable")
        side, index, size = side[order], index[order], max(self.runs.widest, 1)
        step = max(BLOCK // size, 16)
        low, high = self.low[k].copy(), self.high[k].copy()
        for start in range(0, len(index), step):
            s, j = side[start : start + step], index[start : start + step]
            rows = np.zeros((len(j), node.n))
            rows[np.arange(len(j)), j] = 1.0 - 2.0 * s
            base, slope = self._carry(k, rows)
            bound = base - self.ball.radius * slope
            bound = bound - (np.abs(base) + self.ball.radius * slope) * (4 * UNIT)
            bound = np.where(np.isnan(bound), -np.inf, bound)
            np.maximum.at(low, j[s == 0], bound[s == 0])
            np.minimum.at(high, j[s == 1], -bound[s == 1])
        self._meet(k, low, high)

    def _redraw(self, k: int) -> None:
        """The lines of node k over its operand's box, and the box that they imply."""
        node = self.graph.nodes[k]
        i = node.inputs[0]
        if isinstance(node, Maximum):
            lows = _windows(self.low[i], node.table).max(axis=1)
            highs = _windows(self.high[i], node.table).max(axis=1)
            self.lines[k] = _maximum_lines(node, self.low[i], self.high[i])
        else:
            assert isinstance(node, Bend)
            about = (self.low[i], self.high[i], node.a, node.b)
            slopes = self.choose(k, node, self.low[i], self.high[i], self.point[i])
            below, above = _usual(node, self.low[i], self.high[i]) if slopes is None else slopes
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
            return _windows(point, node.table).max(axis=1)
        return CURVES[node.name].value(point, node.a, node.b)

    def _carry(self, start: int, rows: Array) -> tuple[Array, Array]:
        """Rows (R, n) of node ``start`` to the input: base and slope of :meth:`Ball.least`."""
        waiting = {start: rows}
        base = np.zeros(len(rows))
        for k in range(start, 0, -1):
            if k not in waiting:
                continue
            rows, node = waiting.pop(k), self.graph.nodes[k]
            size = np.abs(rows)
            if k in self.error:
                base = _less(base, size @ self.error[k], node.n)
            if isinstance(node, Affine):
                base = base + rows @ node.bias
                lost = (size @ self.mass[k]) * (gamma(node.spread + 8) + gamma(node.n + 16))
                parts = [(i, part.transpose(rows)) for i, part in zip(node.inputs, node.maps)]
            else:
                part, gain, lost = self._through(k, node, rows, size)
                base, parts = base + gain, [(node.inputs[0], part)]
            for i, part in parts:
                if i in waiting:
                    part = waiting[i] + part
                    lost = lost + (np.abs(part) @ self._size(i)) * (4 * UNIT)
                waiting[i] = part
                lost = lost + UNDER * (1 + self._size(i).sum())
            base = _less(base, lost, 8)
        return self.ball.least(waiting.get(0, np.zeros((len(rows), self.graph.nodes[0].n))), base)

    def _through(
        self, k: int, node: Bend | Maximum | Input, rows: Array, size: Array
    ) -> tuple[Array, Array, Array]:
        """Rows of the operand, what is added, and what rounding costs, by the lines."""
        lines, i = self.lines[k], node.inputs[0]
        up, down = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
        gain = up @ lines.below + down @ lines.above
        most = up @ np.abs(lines.below) - down @ np.abs(lines.above)
        lost = most * gamma(node.n + 16)
        if lines.below_at is None or lines.above_at is None:
            part = up * lines.below_slope + down * lines.above_slope
            return part, gain, lost + (np.abs(part) @ self._size(i)) * (4 * UNIT)
        part = lines.below_at.transpose(up * lines.below_slope)
        part = part + lines.above_at.transpose(down * lines.above_slope)
        assert isinstance(node, Maximum)
        reach = _windows(self._size(i), node.table).max(axis=1)
        return part, gain, lost + (size @ reach) * gamma(2 * node.n + 16)


def _less(base: Array, lost: Array, terms: int) -> Array:
    """base − lost, rounded down; ``lost`` is a computed sum of so many terms ≥ 0."""
    return base - lost * (1 + gamma(terms + 8)) - (np.abs(base) + lost) * (4 * UNIT)


def _windows(x: Array, table: NDArray[np.int64]) -> Array:
    return np.where(table >= 0, x[np.maximum(table, 0)], -np.inf)


def _maximum_lines(node: Maximum, low: Array, high: Array) -> Lines:
    """Below the entry of greatest lower end; above a line in that of greatest upper end.

    max_j z_j ≤ max(z_i, U) with U ≥ u_j for all others: convex in z_i, so that it is at most
    s·z_i + max(U − s·l_i, (1 − s)·u_i) over [l_i, u_i] for every s in [0, 1].
    """
    lows, highs = _windows(low, node.table), _windows(high, node.table)
    row = np.arange(len(node.table))
    least, most = lows.argmax(axis=1), highs.argmax(axis=1)
    top, bottom = highs[row, most], lows[row, most]
    others = highs.copy()
    others[row, most] = -np.inf
    level = others.max(axis=1)
    slope = np.clip((top - np.maximum(level, bottom)) / (top - bottom), 0.0, 1.0)
    settled = bottom >= level
    slope = np.where(settled, 1.0, slope)
    at = np.maximum(np.maximum(level, bottom) - slope * bottom, (1.0 - slope) * top)
    at = at + 8 * UNIT * (np.abs(level) + np.abs(bottom) + np.abs(top)) + UNDER
    one = np.ones(node.n)
    at, below = np.where(settled, 0.0, at), np.zeros(node.n)
    picks = (Pick(node.table[row, tap], len(low)) for tap in (least, most))
    return Lines(one, below, slope, at, *picks)


def _usual(node: Bend, low: Array, high: Array) -> tuple[Array, Array]:
    """Chords; where two straight pieces meet the longer of the two on the side they lie on."""
    curve = CURVES[node.name]

    def chord(left: Array, right: Array) -> Array:
        rise = curve.value(right, node.a, node.b) - curve.value(left, node.a, node.b)
        return np.where(right > left, rise / np.where(right > left, right - left, 1.0), 0.0)

    pieces = curve.pieces(float(node.a.ravel()[0]), node.b)
    whole = chord(low, high)
    if len(pieces) != 2 or not curve.straight:
        return whole, whole
    kink = pieces[0][1]
    left, right = chord(low, np.clip(kink, low, high)), chord(np.clip(kink, low, high), high)
    across = (low < kink) & (kink < high)
    side = np.where(across, np.where(high - kink > kink - low, right, left), whole)
    convex = right >= left
    return np.where(convex, side, whole), np.where(convex, whole, side)
