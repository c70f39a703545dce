"""What an attack needs (a victim, an oracle) and the two contracts an attack can fulfil."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import numpy as np
import torch

from boundcert.norms import Norm


class Victim(Protocol):
    """The differentiable float64 network that attacks follow."""

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores, (B, *S) float64 → (B, C) float64, differentiable in ``x``, any device."""
        ...


class Oracle(Protocol):
    """The deployed float32 network: the only judge of whether an attack succeeded."""

    def classify(self, x: np.ndarray) -> np.ndarray:
        """Predicted classes, (B, *S) float32 → (B,) int64."""
        ...


class FixedEpsilonAttack(ABC):
    """An attack that is told how far it may go."""

    name: ClassVar[str]

    @abstractmethod
    def perturb(
        self,
        victim: Victim,
        x: torch.Tensor,
        label: torch.Tensor,
        norm: Norm,
        epsilon: torch.Tensor,
    ) -> torch.Tensor:
        """Candidate points in the closed balls of radius ``epsilon`` around ``x``.

        Parameters
        ----------
        victim : Victim
            The network to follow.
        x : torch.Tensor
            Samples, (B, *S) float64.
        label : torch.Tensor
            The class predicted at each sample, (B,) int64.
        norm : Norm
            The norm of the balls.
        epsilon : torch.Tensor
            Radii in the units of ``x``, (B,) float64, finite and not negative.

        Returns
        -------
        torch.Tensor
            (B, *S) float64 with ‖candidate − x‖_p ≤ epsilon; a sample where the attack has
            nowhere to go keeps its ``x``.
        """


class MinimizationAttack(ABC):
    """An attack that looks for the nearest adversarial point by itself."""

    name: ClassVar[str]

    @abstractmethod
    def minimize(
        self, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
    ) -> torch.Tensor:
        """Candidate points hoped to be adversarial and near ``x`` in ``norm``.

        Parameters are those of :meth:`FixedEpsilonAttack.perturb`.

        Returns
        -------
        torch.Tensor
            (B, *S) float64; the rows of samples without a candidate are NaN.
        """


Attack = FixedEpsilonAttack | MinimizationAttack
