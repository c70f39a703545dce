"""Lower bounds on margins over a ball, from boxes and straight lines alone.

For every node a box holds the values that it takes over the ball, and lines hold what it computes
between them (planes, of products). A row c of a node's value goes back to the input: through an
affine node as cW, through any other with the line below where its coefficient is positive, above
where it is negative. At the input base + c·x − ε‖c‖_q is least over the ball (Hölder). Boxes come
from those of operands, and from rows where that may settle on which side of a bend values lie.
Where a claim says so, bounds on 2-norms join the boxes (:mod:`boundcert.checker.spread`).

All of it is computed in float64, and every sum pays for its own rounding: the computed value of n
products is off by at most γ_n = nu/(1 − nu) of the sum of their magnitudes, in whatever order
(Higham 2002, §3.1), u = 2⁻⁵³. Errors of coefficients act on values no larger than their boxes say.
What is computed from an infinity or no number ends as one, and then nothing is proved.
"""

from __future__ import annotations

import numpy as np

from boundcert.checker import means
from boundcert.checker.carry import Mask
from boundcert.checker.curves import CURVES
from boundcert.checker.deviations import Deviations
from boundcert.checker.floors import floor
from boundcert.checker.lines import Lines, maximum_lines, usual_slopes, windows
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Affine, Bend, Input, Maximum, Product
from boundcert.checker.products import ends_of, planes
from boundcert.checker.rounding import LEAST, UNDER, UNIT, gamma
from boundcert.checker.runtime import runtime_error


class Proof(Deviations):
    """Boxes and lines of a graph over one ball, and bounds on margins from them."""

    def margins(self, label: int) -> tuple[Array, Array]:
        """Bounds base − s·slope on z_label − z_rival for every rival and radius s ≤ the ball's."""
        last, classes = len(self.graph.nodes) - 1, self.graph.nodes[-1].n
        rows = np.eye(classes)[label] - np.delete(np.eye(classes), label, axis=0)
        with np.errstate(all="ignore"):
            return self._bounds(last, rows)

    def _reach(self, k: int) -> None:
        """Its box, its lines, and what it may be off by."""
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
            if self.means and isinstance(node, Maximum):
                self.lines[k] = self._between(k, node)
            if self.spreads:
                self.sources[k] = self._source(k, node)

    def _between(self, k: int, node: Maximum) -> Lines:
        """The lines of node k, or means of windows with what rows say that exceeds them."""
        i = node.inputs[0]
        box = self.low[i], self.high[i], self.point[i]
        found = means.contrasts(node, *box[:2])
        if found is None:
            return self.lines[k]
        excess = np.empty(len(found.entry))
        for block in self._blocks(i, node.table[found.which[found.window], found.entry]):
            self.choices.pause()
            excess[block] = -self._least(i, found.rows(node, block, len(box[0])))
        return means.means(node, found, excess, self.lines[k], box)

    def _least(self, k: int, rows: Array) -> Array:
        """Bounds on rows (R, n) of node k over the ball; no number where there is none."""
        base, slope = self._bounds(k, rows)
        bound = base - self.ball.radius * slope
        return bound - (np.abs(base) + self.ball.radius * slope) * (4 * UNIT)

    def _sum(self, node: Affine, values: list[Array]) -> Array:
        return node.bias + sum(part.forward(v) for part, v in zip(node.maps, values))

    def _err(self, k: int) -> None:
        if self.deployed:
            sizes = [self._size(j) for j in range(k)]
            i = self.graph.nodes[k].inputs[0]
            about = self.mass.get(k), (self.low[i], self.high[i])
            error = runtime_error(self.graph, self.runs, k, sizes, *about)
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

    def _settle(self, k: int, node: Bend | Maximum | Product) -> None:
        """Rows for operands on which it depends what the lines are: the likelier end first."""
        i = node.inputs[0]
        if isinstance(node, Product):
            pair = node.inputs
            # a factor that hardly moves makes no difference to what the other one may be
            mask = np.logical_and(*(self._wide(j) for j in pair))
            for j in pair:
                self._tighten(j, np.stack((mask, mask)))
            return
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
            mask |= self._wide(node.inputs[0])
        return mask

    def _wide(self, k: int) -> Mask:
        """Entries whose values are not known anyway."""
        low, high = self.low[k], self.high[k]
        return np.asarray(high - low > 1e-9 * (np.abs(low) + np.abs(high)))

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
            bound = self._least(k, self._units(k, j, np.where(s == 0, 1.0, -1.0)))
            bound = np.where(np.isnan(bound), -np.inf, bound)
            np.maximum.at(low, j[s == 0], bound[s == 0])
            np.minimum.at(high, j[s == 1], -bound[s == 1])
        self._meet(k, low, high)

    def _redraw(self, k: int) -> None:
        """The lines of node k over its operand's box, and the box that they imply."""
        node = self.graph.nodes[k]
        i = node.inputs[0]
        if isinstance(node, Maximum):
            lows = windows(self.low[i], node.table).max(axis=1)
            highs = windows(self.high[i], node.table).max(axis=1)
            self.lines[k] = maximum_lines(node, self.low[i], self.high[i])
        elif isinstance(node, Product):
            u, v = ((self.low[j], self.high[j]) for j in node.inputs)
            lows, highs = ends_of(u, v)
            self.lines[k] = planes(u, v, (self.point[i], self.point[node.inputs[1]]))
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

    def _value(self, node: Bend | Maximum | Product) -> Array:
        point = self.point[node.inputs[0]]
        if isinstance(node, Product):
            return point * self.point[node.inputs[1]]
        if isinstance(node, Maximum):
            return windows(point, node.table).max(axis=1)
        return CURVES[node.name].value(point, node.a, node.b)
