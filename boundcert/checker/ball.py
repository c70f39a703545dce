"""The inputs that a claim is about: a ball about the sample, cut with a range if there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from boundcert.checker.maps import Array
from boundcert.checker.rounding import UNDER, UNIT, gamma


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
        # squares underflow sooner than what they are of
        under = UNDER**0.5 if q == 2 else UNDER
        return value, np.linalg.norm(size, q, axis=1) * (1 + rate) + under

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
