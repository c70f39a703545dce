"""How bounds widen with the radius, as the last frames show: what scouts look ahead with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from boundcert.layers.relaxation import Box

if TYPE_CHECKING:
    from boundcert.bounds.frame import Frame

#: A bound lies d(ε) = d·(ε/ε₀)^(1 + p) from the value at the sample: p where only one frame is
#: known, and the least and the most that two frames may say.
WIDENING, LEAST, MOST = 0.3, 0.0, 4.0


class Trend:
    """Distances of nodes' bounds from the samples' values in the last frame, and how they grow.

    They follow a power of the radius closely, each entry with its own exponent, which two frames
    tell. Bounds in between or a little beyond are then known without carrying anything back, to
    second order. These are estimates, which prove nothing: they say where the next frame goes.

    Attributes
    ----------
    eps : (B,) radii of the last frames.
    logs, powers : by node (2, B, *shape), low ends first: logarithms of distances, nan where the
        last frame had no bound, and exponents.
    """

    def __init__(self, count: int) -> None:
        self.eps = torch.full((count,), torch.nan, dtype=torch.float64)
        self.logs: dict[int, torch.Tensor] = {}
        self.powers: dict[int, torch.Tensor] = {}

    def add(self, rows: torch.Tensor, frame: Frame) -> None:
        """A new frame of samples ``rows``."""
        step = (frame.eps / self.eps[rows]).log().float()
        self.eps[rows] = frame.eps
        for k in {*self.logs, *frame.forms}:
            value, box = frame.problem.values[k], frame.boxes[k]
            if k not in self.logs:
                shape = (2, len(self.eps), *value.shape[1:])
                self.logs[k] = torch.full(shape, torch.nan, dtype=torch.float32)
                self.powers[k] = self.logs[k].clone()
            far = torch.stack([value - box.low, box.high - value]).clamp(min=1e-300).log().float()
            known = torch.zeros_like(far, dtype=torch.bool)
            if k in frame.forms:
                known = torch.stack(frame.forms[k].known) & far.isfinite()
            far = torch.where(known, far, torch.nan)
            self.powers[k][:, rows] = _powers(far - self.logs[k][:, rows], step)
            self.logs[k][:, rows] = far

    def box(self, k: int, box: Box, eps: torch.Tensor, rows: torch.Tensor) -> Box:
        """The box of node k of samples ``rows`` as it would be at radii ``eps``.

        Ends that the last frame did not bound keep what ``box`` says.
        """
        if k not in self.logs:
            return box
        ahead = (eps / self.eps[rows]).log().float().reshape(-1, *([1] * (box.low.dim() - 1)))
        far = (self.logs[k][:, rows] + self.powers[k][:, rows] * ahead).double().exp()
        known = far.isfinite()
        return replace(
            box,
            low=torch.where(known[0], box.point - far[0], box.low),
            high=torch.where(known[1], box.point + far[1], box.high),
        )


def _powers(grown: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Exponents (2, B, …) of distances that grew so much, in logarithms, where ε grew by ``step``.

    What two frames say of a sample's entries on the whole is for those that only one saw.
    """
    wide = (-1, *([1] * (grown.dim() - 2)))
    power = grown / step.reshape(wide)
    power = torch.where(power.isfinite(), power, torch.nan)
    usual = power.flatten(2).nanmean(dim=2).nan_to_num(1 + WIDENING).reshape(2, *wide)
    return torch.where(power.isnan(), usual, power).clamp(1 + LEAST, 1 + MOST)
