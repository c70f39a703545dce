"""What can be asked for. Nothing heavy is imported, so a command line is checked at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from boundcert.errors import UsageError


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and how it is to be read; see :func:`boundcert.load_onnx`.

    Attributes
    ----------
    path : None for the demo.
    range : (lo, hi) of the inputs that the model expects for data in [0, 1], before mean and std.
    threshold : a single output is of class 1 above it; None for the usual one.
    """

    path: Path | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    range: tuple[float, ...] | None = None
    input: str | None = None
    output: str | None = None
    input_shape: tuple[int, ...] | None = None
    decision: str | None = None
    threshold: float | None = None

    @property
    def normalisation(self) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """Range, mean and std as one mean and std: (x(hi − lo) + lo − m)/s.

        Raises
        ------
        UsageError
            The range is none.
        """
        if self.range is None:
            return self.mean, self.std
        if len(self.range) != 2 or not self.range[0] < self.range[1]:
            raise UsageError(f"range {self.range} must be two numbers LO < HI")
        low, high = self.range
        span = high - low
        if not math.isfinite(span):
            raise UsageError(f"range {self.range} must be finite")
        mean = tuple((m - low) / span for m in self.mean or (0.0,))
        return mean, tuple(s / span for s in self.std or (1.0,))


@dataclass(frozen=True)
class Request:
    """What to bound, and how.

    Attributes
    ----------
    data : as for :func:`boundcert.load_data`, or ``random:N:LO:HI``; None for the demo's.
    samples : the first so many, 0 for all, None for a default.
    indices : positions in the data, instead of ``samples``.
    method : of the lower bounds; None for upper bounds only.
    budget : seconds a sample that the method may take, None for a default.
    memory : bytes that it may take; None for half of what is free.
    attacks : names, none for lower bounds only.
    clip : (lo, hi), the data's own range, which perturbed inputs stay in.
    semantics : ``deployed`` or ``exact``: the network that lower bounds are about.
    layers : whether samples carry their layers.
    correct_only : whether the summary leaves out misclassified samples.
    certificates : folder for a certificate a sample, None for no such files.
    """

    model: ModelOptions = field(default_factory=ModelOptions)
    data: str | None = None
    data_dir: Path | None = None
    samples: int | None = None
    indices: tuple[int, ...] | None = None
    norm: str = "l2"
    method: str | None = "auto"
    budget: float | None = None
    memory: int | None = None
    attacks: tuple[str, ...] = ("deepfool",)
    clip: tuple[float, ...] | None = None
    semantics: str = "deployed"
    device: str = "cpu"
    layers: bool = False
    correct_only: bool = False
    certificates: Path | None = None
