"""Confirmation by the deployed network: the only way a result comes into being."""

from __future__ import annotations

import numpy as np
import torch

from boundcert.attacks.base import Oracle
from boundcert.attacks.geometry import finite_rows, per_row
from boundcert.attacks.search import smallest_size
from boundcert.clip import Clip
from boundcert.errors import UsageError
from boundcert.norms import Norm

# Multiples of a candidate's step, tried in order until the oracle agrees. Most candidates
# hold at 1; the last ones serve samples closer to a boundary than float32 can resolve.
_STRETCHES = (0.999, 1.0, 1.001, 1.01, 1.1, 2.0, 10.0, 100.0)


def oracle_classes(oracle: Oracle, x: np.ndarray) -> np.ndarray:
    """The oracle's classes, checked to be one integer per sample, (B, *S) → (B,) int64.

    Raises
    ------
    UsageError
        The oracle returned another shape or no integers.
    """
    classes = np.asarray(oracle.classify(x))
    if classes.shape != (x.shape[0],) or classes.dtype.kind not in "iu":
        raise UsageError(
            f"the oracle returned {classes.dtype} of shape {classes.shape} for inputs of shape "
            f"{x.shape}; classify must return one integer class per sample, shape ({x.shape[0]},)"
        )
    return classes.astype(np.int64)


def measured(points: np.ndarray, x: torch.Tensor, norm: Norm) -> np.ndarray:
    """‖float64(point) − x‖_p, rounded up: (B, *S) float32 and (B, *S) float64 → (B,) float64."""
    distance = norm.of_rows(torch.from_numpy(points.astype(np.float64)) - x.cpu()).numpy()
    # 1e-12 relative covers the rounding of the differences and of the norm's long sum.
    return np.nextafter(distance * (1.0 + 1e-12), np.inf)


class Ledger:
    """The nearest oracle-confirmed point per sample, over everything that was ever tried.

    Parameters
    ----------
    oracle : Oracle
        The deployed network; it is asked for its class at ``x`` first.
    x : torch.Tensor
        Samples, (B, *S) float64.
    norm : Norm
        The norm in which nearness is measured.
    clip : Clip, optional
        The box that points are moved into before the oracle sees them.
    """

    def __init__(
        self, oracle: Oracle, x: torch.Tensor, norm: Norm, clip: Clip | None = None
    ) -> None:
        self.oracle, self.x, self.norm, self.clip = oracle, x, norm, clip
        self.x32 = x.detach().to(torch.float32).cpu().numpy()
        self.base = oracle_classes(oracle, self.x32)
        self.upper = np.full(x.shape[0], np.nan)
        self.points = np.full_like(self.x32, np.nan)
        self.attack: list[str | None] = [None] * x.shape[0]

    def test(self, points: torch.Tensor, rows: torch.Tensor, name: str) -> torch.Tensor:
        """Ask the oracle about the float32 roundings of ``points`` and record what holds.

        Parameters
        ----------
        points : torch.Tensor
            (A, *S) float64, a candidate for each of ``rows``.
        rows : torch.Tensor
            (A,) int64, positions in ``x``.
        name : str
            The attack to credit.

        Returns
        -------
        torch.Tensor
            (A,) bool: the oracle's class differs from its class at ``x``.
        """
        at = rows.cpu().numpy()
        rounded = points.detach().to(torch.float32).cpu().numpy()
        axes = tuple(range(1, rounded.ndim))
        # An overflow to infinity is no input, and x itself is no perturbation.
        usable = np.isfinite(rounded).all(axis=axes)
        if self.clip is not None:
            rounded = self.clip.rounded(rounded)
            usable &= self.clip.holds(rounded)
        usable &= (rounded != self.x32[at]).any(axis=axes)
        held = np.zeros(len(at), dtype=bool)
        if usable.any():
            held[usable] = oracle_classes(self.oracle, rounded[usable]) != self.base[at[usable]]
        if held.any():
            self._record(rounded[held], at[held], name)
        return torch.from_numpy(held).to(rows.device)

    def _record(self, points: np.ndarray, at: np.ndarray, name: str) -> None:
        distance = measured(
            points, self.x.detach()[torch.from_numpy(at).to(self.x.device)], self.norm
        )
        better = np.isfinite(distance) & ~(distance >= self.upper[at])  # true where upper is NaN
        self.upper[at[better]] = distance[better]
        self.points[at[better]] = points[better]
        for i in at[better].tolist():
            self.attack[i] = name

    def confirm(self, candidates: torch.Tensor, name: str, tolerance: float) -> None:
        """Confirm an attack's candidates and pull them back along the segment to ``x``.

        Parameters
        ----------
        candidates : torch.Tensor
            (B, *S) float64; rows with NaN or infinity are ignored.
        name : str
            The attack to credit.
        tolerance : float
            Relative width of the final bracket on the segment.
        """
        offset = candidates - self.x

        def flips(size: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            points = self.x[rows] + per_row(size, offset) * offset[rows]
            return self.test(points, rows, name)

        usable = finite_rows(candidates)
        start = torch.ones_like(usable, dtype=self.x.dtype).masked_fill(~usable, torch.nan)
        smallest_size(flips, start, _STRETCHES, tolerance)
