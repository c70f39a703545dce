"""Fast gradient value."""

from __future__ import annotations

from typing import ClassVar

import torch

from boundcert.attacks.base import Victim
from boundcert.attacks.direction import DirectionAttack
from boundcert.attacks.gradients import loss_gradient
from boundcert.norms import Norm


class FastGradientValue(DirectionAttack):
    """eta = epsilon · ∇_x L, the loss being the cross-entropy of the predicted class.

    Source: eq. 2.10 (§2.5.4) of the dissertation, after Rozsa et al. 2016. The gradient is
    scaled to norm 1 first, so epsilon is the size of the perturbation and a gradient of any
    magnitude can be used; the search over epsilon makes its length immaterial.
    """

    name: ClassVar[str] = "fgv"

    def direction(
        self, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
    ) -> torch.Tensor:
        """∇_x L up to a positive factor, (B, *S)."""
        return loss_gradient(victim, x, label)
