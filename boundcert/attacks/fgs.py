"""Fast gradient sign."""

from __future__ import annotations

from typing import ClassVar

import torch

from boundcert.attacks.base import Victim
from boundcert.attacks.direction import DirectionAttack
from boundcert.attacks.gradients import loss_gradient
from boundcert.norms import Norm


class FastGradientSign(DirectionAttack):
    """eta = epsilon · sign(∇_x L), the loss being the cross-entropy of the predicted class.

    Source: eq. 2.8 and Algorithm 2.1 of the dissertation, after Goodfellow et al. 2015. The
    sign vector is the steepest direction in L-inf; in L1 and L2 the same direction is scaled
    to the ball, so that the attack is the one of that name in every norm.
    """

    name: ClassVar[str] = "fgs"

    def direction(
        self, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
    ) -> torch.Tensor:
        """sign(∇_x L), (B, *S)."""
        return loss_gradient(victim, x, label).sign()
