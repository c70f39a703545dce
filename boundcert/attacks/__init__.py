"""Attacks: confirmed upper bounds on the smallest adversarial perturbation."""

from boundcert.attacks.base import FixedEpsilonAttack, MinimizationAttack, Oracle, Victim
from boundcert.attacks.probe import gradient_guided_points
from boundcert.attacks.registry import ATTACKS
from boundcert.attacks.run import AttackResult, attack

__all__ = [
    "ATTACKS",
    "AttackResult",
    "FixedEpsilonAttack",
    "MinimizationAttack",
    "Oracle",
    "Victim",
    "attack",
    "gradient_guided_points",
]
