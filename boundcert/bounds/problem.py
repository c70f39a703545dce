"""Samples of one network in one norm, made ready for frames at any radii."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from boundcert.bounds.prefix import Prefix
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.region import Region
from boundcert.clip import Clip
from boundcert.layers.relaxation import Box
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: Bytes that are kept from frame to frame where nothing else is said.
ROOM = 2**28


@dataclass(frozen=True)
class Problem:
    """Samples of one network in one norm, made ready for frames at any radii.

    Attributes
    ----------
    network : made of primitive layers only.
    region : where perturbed inputs may be.
    prefix : the part in front of every nonlinear layer.
    evaluation : the network evaluated at the samples.
    points : boxes of the prefix' exact values at the samples.
    widths : how many coefficients rows of a node had on their way, as far as seen: a hint.
    room : bytes that may be kept from one frame to the next, and that matrices of rows may take.
    """

    network: Network
    region: Region
    prefix: Prefix
    evaluation: Evaluation
    points: dict[int, Box]
    widths: dict[int, int] = field(default_factory=dict)
    room: int = ROOM

    @property
    def values(self) -> list[torch.Tensor]:
        """The computed value of every node at the samples, (B, *shape) each."""
        return self.evaluation.values

    @property
    def norm(self) -> Norm:
        """Of the perturbation."""
        return self.region.norm

    @classmethod
    def of(
        cls,
        network: Network,
        norm: Norm,
        prefix: Prefix,
        x: torch.Tensor,
        clip: Clip | None = None,
        room: int = ROOM,
    ) -> Problem:
        """The problem of samples x (B, *input shape)."""
        values, region = network.run(x), Region.of(norm, x, clip)
        evaluation, points = Evaluation(network, values), prefix.points(values)
        return cls(network, region, prefix, evaluation, points, room=room)

    def take(self, samples: torch.Tensor) -> Problem:
        """The problem of some of the samples."""
        points = {k: box.take(samples) for k, box in self.points.items()}
        evaluation, region = self.evaluation.take(samples, 0), self.region.take(samples)
        return Problem(
            self.network, region, self.prefix, evaluation, points, self.widths, self.room
        )
