"""Samples of one network in one norm, made ready for frames at any radii."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from boundcert.bounds.prefix import Prefix
from boundcert.bounds.propagate import Evaluation
from boundcert.layers.relaxation import Box
from boundcert.network.graph import Network
from boundcert.norms import Norm


@dataclass(frozen=True)
class Problem:
    """Samples of one network in one norm, made ready for frames at any radii.

    Attributes
    ----------
    network : made of primitive layers only.
    prefix : the part in front of every nonlinear layer.
    evaluation : the network evaluated at the samples.
    points : boxes of the prefix' exact values at the samples.
    """

    network: Network
    norm: Norm
    prefix: Prefix
    evaluation: Evaluation
    points: dict[int, Box]

    @property
    def values(self) -> list[torch.Tensor]:
        """The computed value of every node at the samples, (B, *shape) each."""
        return self.evaluation.values

    @classmethod
    def of(cls, network: Network, norm: Norm, prefix: Prefix, x: torch.Tensor) -> Problem:
        """The problem of samples x (B, *input shape)."""
        values = network.run(x)
        return cls(network, norm, prefix, Evaluation(network, values), prefix.points(values))

    def take(self, samples: torch.Tensor) -> Problem:
        """The problem of some of the samples."""
        points = {k: box.take(samples) for k, box in self.points.items()}
        return Problem(
            self.network, self.norm, self.prefix, self.evaluation.take(samples, 0), points
        )
