"""What a proof may choose freely, chosen in ways that prove little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boundcert.checker.certificate import Slopes
from boundcert.checker.choices import NONE, Levels
from boundcert.checker.nodes import Bend


class Choices:
    """The usual slopes ("usual"), such as are near them ("near"), or any; multipliers at random."""

    def __init__(self, kind: str = "usual", seed: int = 0) -> None:
        self.kind, self.rng = kind, np.random.default_rng(seed)

    def slopes(self, node: Bend, low: np.ndarray, high: np.ndarray, point: np.ndarray) -> Slopes:
        if self.kind == "usual":
            return None
        spread = 0.3 if self.kind == "near" else 100.0
        below, above = 0.5 + spread * self.rng.standard_normal((2, node.n))
        return below, above

    def pause(self) -> None:
        pass

    def levels(self, start: np.ndarray, value: Callable[[Levels], np.ndarray]) -> Levels:
        first = np.clip(np.nan_to_num(start, nan=0.0), -100, 100).round()
        tried = first + self.rng.integers(-9, 5, len(start))
        chosen = np.where(self.rng.random(len(start)) < 0.2, NONE, tried).astype(np.int8)
        value(chosen)
        return chosen
