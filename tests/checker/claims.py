"""Claims about samples of models, as large as the checker proves them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from checker.graphs import values

from boundcert.checker import Certificate, Checker, Reading, sample_hash
from boundcert.proofs import largest


def claim_of(
    checker: Checker,
    x: np.ndarray,
    norm: str,
    semantics: str,
    clip: tuple[float, float] | None,
    radius: float = 1.0,
) -> Certificate:
    """That a ball is of the sample's class."""
    reading = Reading(x.shape)
    graph, _ = checker.graph(reading, norm)
    label = int(values(graph, x.ravel())[-1].argmax())
    about = norm, radius, clip, semantics, reading
    return Certificate(0, checker.digest, sample_hash(x), label, *about)


def proved(
    checker: Checker, claim: Certificate, x: np.ndarray, hard: bool = False
) -> Certificate | None:
    """The claim about a ball that is proved, as large as that one or an eighth, and so on."""
    for _ in range(12):
        found = largest(checker, claim, x, hard=hard)
        if found is not None:
            return found
        claim = replace(claim, radius=claim.radius / 8)
    return None


def proved_radius(checker: Checker, claim: Certificate, x: np.ndarray) -> float:
    """Its radius, 0 for none."""
    found = proved(checker, claim, x)
    return 0.0 if found is None else found.radius
