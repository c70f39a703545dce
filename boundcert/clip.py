"""The data's own range, which perturbed inputs are to stay in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from boundcert.errors import RefusedInput, UsageError


@dataclass(frozen=True)
class Clip:
    """The box [low, high]ⁿ of inputs, in the units of the data: those of the radii."""

    low: float
    high: float

    @classmethod
    def of(cls, ends: Clip | Sequence[float] | None) -> Clip | None:
        """Read (low, high); None is no box.

        Raises
        ------
        UsageError
            These are not two finite numbers, the first the smaller.
        """
        if ends is None or isinstance(ends, Clip):
            return ends
        values = tuple(float(end) for end in ends)
        if len(values) != 2 or not values[0] < values[1] or not all(map(math.isfinite, values)):
            raise UsageError(f"clip {values} must be two finite numbers LO < HI")
        return cls(*values)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"

    def check(self, x: np.ndarray | torch.Tensor, places: Sequence[int] | None = None) -> None:
        """Refuse samples (N, …) outside the box; ``places`` are their numbers in the data.

        Raises
        ------
        RefusedInput
            Names the first such sample, its value, and the least range that would do.
        """
        values = np.asarray(x)
        outside = (values < self.low) | (values > self.high)
        if not outside.any():
            return
        at = tuple(int(k) for k in np.argwhere(outside)[0])
        number = at[0] if places is None else places[at[0]]
        raise RefusedInput(
            f"sample {number} has the value {values[at].item()!r} at {at[1:]}, outside the range "
            f"{self} to clip to; these samples lie in [{values.min().item()!r}, "
            f"{values.max().item()!r}], and any range that holds it works"
        )

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest points of the box, in every norm; nan stays."""
        return x.clamp(self.low, self.high)

    def rounded(self, x: np.ndarray) -> np.ndarray:
        """Points as float32, which may round out of the box, moved to the float32 in it.

        They stay outside where it holds none: see :meth:`holds`.
        """
        ends = np.array([self.low, self.high])
        with np.errstate(over="ignore"):
            low, high = ends.astype(np.float32)
        low = np.nextafter(low, np.float32(np.inf)) if low < ends[0] else low
        high = np.nextafter(high, np.float32(-np.inf)) if high > ends[1] else high
        return np.clip(x, low, high)

    def holds(self, x: np.ndarray) -> np.ndarray:
        """Which points (B, …) lie in the box."""
        wide = x.astype(np.float64)
        inside = (wide >= self.low) & (wide <= self.high)
        return np.asarray(inside.all(axis=tuple(range(1, x.ndim))))
