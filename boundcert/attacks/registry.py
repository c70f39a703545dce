"""The attacks by name. A new attack is one file and one entry here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch

from boundcert.attacks.base import Attack, MinimizationAttack, Victim
from boundcert.attacks.deepfool import DeepFool
from boundcert.attacks.direction import minimize_by_search
from boundcert.attacks.fgs import FastGradientSign
from boundcert.attacks.fgv import FastGradientValue
from boundcert.errors import UsageError
from boundcert.norms import Norm

ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {entry.name: entry for entry in (FastGradientSign(), FastGradientValue(), DeepFool())}
)


def get_attack(name: str) -> Attack:
    """The attack of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    if name not in ATTACKS:
        raise UsageError(f"there is no attack {name!r}; use one of {', '.join(sorted(ATTACKS))}")
    return ATTACKS[name]


def candidates(
    attack: Attack, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
) -> torch.Tensor:
    """Near-minimal candidate points of an attack of either contract, (B, *S); NaN where none."""
    if isinstance(attack, MinimizationAttack):
        return attack.minimize(victim, x, label, norm)
    return minimize_by_search(attack, victim, x, label, norm)
