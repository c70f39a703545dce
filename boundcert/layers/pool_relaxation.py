"""Max-pooling relaxed window by window: by lines in one entry each, means of all, or the ball."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import backend
from boundcert.kernels.maximum_reference import LEAST, MOST
from boundcert.kernels.window_reference import BEHIND, FIRST, TIED
from boundcert.layers.base import UNDERFLOW, UNIT, numel
from boundcert.layers.lines import pulled
from boundcert.layers.relaxation import (
    NUDGE,
    Box,
    Choice,
    Loss,
    Relaxation,
    down,
    largest,
    shared_out,
)
from boundcert.layers.rows import Rows, array, plane_of, up
from boundcert.layers.spectral import gamma
from boundcert.layers.tape import DualMaximum
from boundcert.layers.window_means import Contrasts, Means, Windowed
from boundcert.layers.windows import Windows

#: Bytes that means take for an entry of a window, about.
ENTRY = 24 * 8
#: A kernel that takes rows through windows.
Kernel = Callable[..., tuple[np.ndarray, ...]]


class WindowMaximum(Relaxation):
    """max_j z_j over windows of boxes: the lines of the kernel ``window_lines``, proved there.

    Where the operand's 2-norm is bounded, too, over its bent entries at least, windows may take the
    dual bound of the kernel ``pull_maximum`` instead; an ascent moves the multipliers of rows that
    do. Where the line above is the entry itself it is exact, as its slope of 1 tells: it is
    (top − level)/(top − bottom) elsewhere, level > bottom.

    Where excesses over means are bounded, too, a share m of a coefficient c may take the mean, the
    rest the line: c·δ_out = mc·δ_out + (1 − m)c·δ_out, whatever m in [0, 1].

    Parameters
    ----------
    windows : over the planes of the operand.
    table : (windows, entries) flat indices on a plane, −1 for padding.
    overlap : in how many windows one entry sits, at most.
    """

    def __init__(
        self,
        box: Box,
        value: torch.Tensor,
        windows: Windows,
        table: torch.Tensor,
        overlap: int,
    ) -> None:
        super().__init__(tuple(value.shape[1:]))
        self.shape_in = tuple(box.low.shape[1:])
        samples, count = len(value), len(table)
        self.channels = value[0].numel() // count
        self.size = box.low[0].numel() // self.channels
        self._tables: dict[tuple[int, int], torch.Tensor] = {}
        self.box, self.value, self.windows, self.table = box, value, windows, table
        self.overlap = overlap
        self.means: Means | None = None
        self.square = None if box.spread is None else self._square(box.spread)
        ends = (array(x.reshape(samples, -1, self.size)) for x in (box.low, box.high, box.point))
        at = array(value.reshape(samples, -1, count))
        taps, lines, marks, far = backend().window_lines(*ends, at, array(table))
        plane = plane_of(self.shape)
        self._taps, self._lines = (x.reshape(samples, 3, *plane) for x in (taps, lines))
        self._marks = torch.from_numpy(marks).reshape(samples, 3, *self.shape_in)
        # the largest of a plane for each of its entries: at least their sum
        deviation = torch.from_numpy(far)
        self.farthest = largest(deviation)
        self.loss = Loss.of(self.farthest * gamma(overlap + 8), deviation * self.size)

    def _square(self, spread: torch.Tensor) -> np.ndarray:
        """(B,) bounds on squares added up over windows: entries count as often as they are in."""
        square = spread * spread * (self.overlap * (1 + 8 * UNIT)) + 1e-290
        return array(torch.where(square.isfinite(), square, torch.inf))

    @cached_property
    def bent(self) -> torch.Tensor:
        """The entries of windows whose lines are not exact."""
        crooked = torch.from_numpy(self._lines[:, 1] != 1.0).reshape(
            -1, self.channels, len(self.table)
        )
        found = crooked.new_zeros(*crooked.shape[:2], self.size + 1)
        for column in self.table.T:
            # windows of one shape start at different places: no entry is twice in a column
            found[:, :, column] |= crooked
        return found[:, :, : self.size].reshape(-1, *self.shape_in)

    def within(self, spread: torch.Tensor) -> WindowMaximum:
        assert self.square is not None
        other = copy.copy(self)
        other.square = np.minimum(self.square, self._square(spread))
        return other

    @cached_property
    def _windowed(self) -> Windowed:
        return Windowed.of(self.box, self.windows, self.table)

    def contrasts(self, room: int) -> Contrasts | None:
        if self.value.numel() * self.table.shape[1] * ENTRY > room:
            return None
        exact = torch.from_numpy(self._lines[:, 1] == 1.0)
        return Contrasts.of(self._windowed, exact.reshape(self._windowed.point.shape[:-1]))

    def beside(self, weight: torch.Tensor, excess: torch.Tensor) -> WindowMaximum:
        other, shape = copy.copy(self), excess.shape
        slope, at = (torch.from_numpy(self._lines[:, k]).reshape(shape) for k in (1, 2))
        other.means = Means.of(self._windowed, self.value, (slope, at), weight, excess)
        return other

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if self.square is None:
            return self.by_lines(rows)
        if self.means is not None:
            return self.mixed(rows, self.start(rows))
        tap, out, rest, mass, _ = self._searched(rows)
        return self._scattered(tap, rows.with_values(out, up(mass)), rest)

    def _searched(self, rows: Rows) -> tuple[torch.Tensor, ...]:
        arrays = (array(rows.values), *rows.place(), *self._over)
        return tuple(torch.from_numpy(x) for x in backend().pull_maximum(*arrays))

    @property
    def free(self) -> bool:
        return self.square is not None or self.means is not None

    def start(self, rows: Rows) -> Choice:
        mix = None if self.means is None else 2 * self.means.share(rows, self.means.chosen)
        if self.square is None:
            return Choice(mix)
        multiplier = self._searched(rows)[-1]
        dual = multiplier > 0
        if not bool(dual.any()):
            return Choice(mix)
        return Choice(mix, torch.where(dual, multiplier, 1.0).log2() / 2, dual)

    def mixed(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        return shared_out(rows, choice, self._lines_of, self._dual)

    def _lines_of(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if self.means is None or choice.mix is None:
            return self.by_lines(rows)
        return self._parted(rows, choice.mix / 2)

    def _dual(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """The dual bound with the multipliers chosen."""
        multiplier = choice.multiplier
        if multiplier.requires_grad:
            tap, out, rest = DualMaximum.apply(rows.values, multiplier, *rows.place(), *self._over)
            return self._scattered(tap, rows.with_values(out, rows.mass), rest)
        arrays = (array(rows.values), *rows.place(), array(multiplier), *self._over)
        found = backend().pull_dual_maximum(*arrays)
        tap, out, rest, mass = (torch.from_numpy(x) for x in found)
        return self._scattered(tap, rows.with_values(out, up(mass)), rest)

    def by_lines(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if self.means is None:
            return self._by_lines(rows)
        return self._parted(rows, self.means.share(rows, self.means.chosen))

    def _by_lines(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if rows.values.requires_grad:
            out, rest = pulled(rows, self._arguments)
            return self._scattered(self._tap(rows), out, rest)
        return self._through(rows, backend().pull_windows, self._taps, self._lines)

    def _by_means(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        means = self.means
        assert means is not None
        if not rows.values.requires_grad:
            return self._through(rows, backend().pull_means, means.weights, means.constants)
        total, rest = means.taped(rows, *self._places(rows), self.channels)
        return self._paid(self._landed(rows, total, rows.mass), rest)

    def _parted(self, rows: Rows, share: torch.Tensor) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """Rows of which a share goes through means, where there are any, and what is left by lines.

        What is left is rounded, so that the two add up to what there was but for that, which acts
        on maxima that deviate no further than entries do.
        """
        assert self.means is not None
        able = self.means.share(rows, self.means.able)
        through = rows.values * (share.clamp(0, 1) * able).to(rows.values.dtype)
        ways = (through, self._by_means), (rows.values - through, self._by_lines)
        found = [pull(rows.with_values(values, rows.mass)) for values, pull in ways]
        ((one,), rest), ((other,), more) = found
        rest = rest + more
        if one.proves:
            lost = rows.mass * self.farthest[rows.owner] * (4 * UNIT) + UNDERFLOW
            rest = down(rest, -lost)
        return (one.with_values(one.values + other.values, up(one.mass + other.mass)),), rest

    def _through(
        self, rows: Rows, kernel: Kernel, *arrays: np.ndarray
    ) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """Rows through a kernel that takes them, per-sample arrays and where entries are."""
        table, size = self._places(rows)
        values = array(rows.values)
        if rows.whole:  # windows of any rank in a line
            line = (self.channels, 1, len(self.table))
            values = values.reshape(len(rows), *line)
            arrays = tuple(x.reshape(*x.shape[:-3], *line) for x in arrays)
        found = kernel(values, *rows.place(), *arrays, array(table), size)
        total, rest, mass = (torch.from_numpy(x) for x in found)
        return self._paid(self._landed(rows, total, up(mass)), rest)

    def _tap(self, rows: Rows) -> torch.Tensor:
        """Which entry of its window the line of each coefficient is in."""
        taps = torch.from_numpy(self._taps)
        least, most = (rows.patches(taps[:, k].unsqueeze(1)) for k in (LEAST, MOST))
        return torch.where(rows.values > 0, least, most)

    @cached_property
    def _arguments(self) -> tuple[np.ndarray, ...]:
        """Slopes and constants below and above, as the kernel ``pull_lines`` takes them."""
        low, slope, high = (np.ascontiguousarray(self._lines[:, k]) for k in range(3))
        return np.ones_like(low), low, slope, high

    def _scattered(
        self, tap: torch.Tensor, out: Rows, rest: torch.Tensor
    ) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """Coefficients at the entries that taps say, added up where windows overlap."""
        table, size = self._places(out)
        shape = (len(out), self.channels, len(table))
        index = table[torch.arange(len(table)), tap.reshape(shape)]
        zeros = out.values.new_zeros(*shape[:2], size)
        total = zeros.scatter_add(2, index, out.values.reshape(shape))
        return self._paid(self._landed(out, total, out.mass), rest)

    def _paid(self, found: Rows, rest: torch.Tensor) -> tuple[tuple[Rows, ...], torch.Tensor]:
        """Rows of the operand and their rest, less what adding them up lost."""
        return (found,), rest + self.loss.rest(found) if found.proves else rest

    def _places(self, rows: Rows) -> tuple[torch.Tensor, int]:
        """Where on a plane of the operand's row entries of windows lie, as ``table``; its size."""
        if rows.whole:
            return self.table, self.size
        # on a patch the entries of a window keep their places, wherever the patch starts
        if rows.patch not in self._tables:
            table = self.windows.over(rows.patch).table()
            self._tables[rows.patch] = torch.from_numpy(table)
        return self._tables[rows.patch], numel(self.windows.reach(rows.patch))

    def _landed(self, rows: Rows, total: torch.Tensor, mass: torch.Tensor) -> Rows:
        """What rows became, (R, channels, size) of planes or of the patches that windows cover."""
        if rows.whole:
            return Rows.of(total, rows.owner, self.shape_in, mass)
        w = self.windows
        first = rows.origin * torch.tensor(w.stride) - torch.tensor(w.before)
        return Rows(total.unflatten(2, w.reach(rows.patch)), mass, rows.owner, first, False)

    @property
    def _over(self) -> tuple[np.ndarray, ...]:
        """What the kernels take that see the ball."""
        assert self.square is not None
        return self._taps, self._lines, self._ball, self.square

    @cached_property
    def _ball(self) -> np.ndarray:
        """Windows as the kernel ``pull_maximum`` takes them."""
        point, value = self._entries(self.box.point, -torch.inf), self.value
        gap = value.reshape(*point.shape[:-1], 1) - point
        apart = [self._entries(end - self.box.point, 0.0) for end in (self.box.low, self.box.high)]
        # what has no end bounds nothing: windows with exact lines keep these, and are in no ball
        exact = torch.from_numpy(self._lines[:, 1] == 1.0).reshape(*point.shape[:-1], 1)
        ends = [
            torch.where(exact, sign * torch.inf, end + sign * end.abs() * NUDGE)
            for end, sign in zip(apart, (-1, 1))
        ]
        plane = plane_of(self.shape)
        return array(torch.stack((gap, *ends), dim=-1).reshape(len(value), *plane, -1, 3))

    def _entries(self, x: torch.Tensor, fill: float) -> torch.Tensor:
        """(B, C, windows, K) the entries of every window."""
        flat = F.pad(x.reshape(len(x), -1, self.size), (0, 1), value=fill)
        return flat[:, :, self.table]

    def loose(self) -> tuple[torch.Tensor | None, ...]:
        return (self._marks[:, TIED].view(torch.bool),)

    def telling(self) -> tuple[torch.Tensor | None, ...]:
        """Of the greatest entry at the sample the lower end, of the others the upper."""
        first, behind = (self._marks[:, kind].view(torch.int8) for kind in (FIRST, BEHIND))
        return (first - behind,)
