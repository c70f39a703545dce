"""One network in one norm: what was measured of ours and of the rival, and their ratios."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from measure import Measured

#: Cores that others may keep busy before times count as spoilt.
QUIET = 0.1


@dataclass
class Comparison:
    """Radii and times on the same images.

    Attributes
    ----------
    main : the method of ours whose radii are compared.
    ours, rivals : everything measured, by method.
    failures : why a method of the rival has no radii.
    attack : upper bounds of the radii; nan where none was found.
    """

    network: str
    norm: str
    image_indices: list[int]
    main: str
    ours: dict[str, Measured] = field(default_factory=dict)
    rivals: dict[str, Measured] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    attack: list[float] | None = None

    def ratios(self, rival: Measured) -> np.ndarray:
        """Our radius over the rival's, image by image."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array(self.ours[self.main].radii) / np.array(rival.radii)

    def equal(self, rival: Measured) -> Measured | None:
        """The cheapest of ours that reaches the rival's radii."""
        good = [m for m in self.ours.values() if m.reaches(rival)]
        return min(good, key=lambda m: m.seconds, default=None)

    def speed(self, rival: Measured) -> float | None:
        """The rival's time over ours for radii that equal its own; None where ours do not."""
        equal = self.equal(rival)
        return None if equal is None else rival.seconds / equal.seconds

    def others(self) -> float:
        """Cores that other processes kept busy meanwhile, at worst."""
        return max(m.others for m in (*self.ours.values(), *self.rivals.values()))

    def above(self, measured: Measured) -> int:
        """How many radii lie above the attack's; 0 for proofs."""
        assert self.attack is not None
        # nan: no attack, not above
        return int((np.array(measured.radii) > np.array(self.attack)).sum())
