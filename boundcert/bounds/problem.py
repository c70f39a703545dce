"""Samples of one network in one norm, made ready for frames at any radii."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from boundcert.bounds.deployed import Rounded
from boundcert.bounds.prefix import Prefix
from boundcert.bounds.primitives import Primitive
from boundcert.bounds.propagate import Evaluation
from boundcert.bounds.region import Region
from boundcert.clip import Clip
from boundcert.layers.arithmetic import Arithmetic
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
    arithmetic : of the runtime that bounds are about; None: they are about exact arithmetic.
    rounded : the nodes that a runtime computes, and how.
    room : bytes that may be kept from one frame to the next, and that matrices of rows may take.
    """

    network: Network
    region: Region
    prefix: Prefix
    evaluation: Evaluation
    points: dict[int, Box]
    arithmetic: Arithmetic | None = None
    rounded: Mapping[int, Rounded] = field(default_factory=dict)
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
        primitive: Primitive,
        norm: Norm,
        prefix: Prefix,
        x: torch.Tensor,
        clip: Clip | None = None,
        arithmetic: Arithmetic | None = None,
        room: int = ROOM,
    ) -> Problem:
        """The problem of samples x (B, *input shape)."""
        network = primitive.network
        values, region = network.run(x), Region.of(norm, x, clip)
        evaluation, points = Evaluation(network, values), prefix.points(values)
        rounded = primitive.rounded
        return cls(network, region, prefix, evaluation, points, arithmetic, rounded, room=room)

    def take(self, samples: torch.Tensor) -> Problem:
        """The problem of some of the samples."""
        points = {k: box.take(samples) for k, box in self.points.items()}
        evaluation, region = self.evaluation.take(samples, 0), self.region.take(samples)
        return replace(self, evaluation=evaluation, region=region, points=points)
