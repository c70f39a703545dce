"""Max-pooling relaxed window by window: one entry below, one line in one entry above."""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.kernels import backend
from boundcert.kernels.maximum_reference import LEAST, MOST
from boundcert.kernels.window_reference import BEHIND, FIRST, TIED
from boundcert.layers.base import UNIT, numel
from boundcert.layers.lines import pulled
from boundcert.layers.relaxation import NUDGE, Box, Choice, Loss, Relaxation, largest, shared_out
from boundcert.layers.rows import Rows, array, plane_of, up
from boundcert.layers.spectral import gamma
from boundcert.layers.tape import DualMaximum
from boundcert.layers.windows import Windows


class WindowMaximum(Relaxation):
    """max_j z_j over windows of boxes: the lines of the kernel ``window_lines``, proved there.

    Where the operand's 2-norm is bounded, too, over its bent entries at least, windows may take the
    dual bound of the kernel ``pull_maximum`` instead; an ascent moves the multipliers of rows that
    do. Where the line above is the entry itself it is exact, as its slope of 1 tells: it is
    (top − level)/(top − bottom) elsewhere, level > bottom.

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
        self.square = None if box.spread is None else self._square(box.spread)
        ends = (array(x.reshape(samples, -1, self.size)) for x in (box.low, box.high, box.point))
        at = array(value.reshape(samples, -1, count))
        taps, lines, marks, far = backend().window_lines(*ends, at, array(table))
        plane = plane_of(self.shape)
        self._taps, self._lines = (x.reshape(samples, 3, *plane) for x in (taps, lines))
        self._marks = torch.from_numpy(marks).reshape(samples, 3, *self.shape_in)
        # the largest of a plane for each of its entries: at least their sum
        deviation = torch.from_numpy(far)
        share = largest(deviation) * gamma(overlap + 8)
        self.loss = Loss.of(share, deviation * self.size)

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

    def below(self, rows: Rows) -> tuple[tuple[Rows, ...], torch.Tensor]:
        if self.square is None:
            return self.by_lines(rows)
        tap, out, rest, mass, _ = self._searched(rows)
        return self._scattered(tap, rows.with_values(out, up(mass)), rest)

    def _searched(self, rows: Rows) -> tuple[torch.Tensor, ...]:
        arrays = (array(rows.values), *rows.place(), *self._over)
        return tuple(torch.from_numpy(x) for x in backend().pull_maximum(*arrays))

    @property
    def free(self) -> bool:
        return self.square is not None

    def start(self, rows: Rows) -> Choice:
        multiplier = self._searched(rows)[-1]
        dual = multiplier > 0
        if not bool(dual.any()):
            return Choice()
        return Choice(level=torch.where(dual, multiplier, 1.0).log2() / 2, dual=dual)

    def mixed(self, rows: Rows, choice: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        return shared_out(rows, choice, self._lines_of, self._dual)

    def _lines_of(self, rows: Rows, _: Choice) -> tuple[tuple[Rows, ...], torch.Tensor]:
        return self.by_lines(rows)

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
        if rows.values.requires_grad:
            out, rest = pulled(rows, self._arguments)
            return self._scattered(self._tap(rows), out, rest)
        table, size = self._places(rows)
        arrays = [array(rows.values), self._taps, self._lines]
        if rows.whole:  # windows of any rank in a line
            line = (self.channels, 1, len(self.table))
            arrays = [x.reshape(*x.shape[:-3], *line) for x in arrays]
        values, *lines = arrays
        found = backend().pull_windows(values, *rows.place(), *lines, array(table), size)
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
