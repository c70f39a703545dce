"""The last record of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from boundcert.certificates.records import Run, Sample, Summary


def summarise(run: Run, samples: Sequence[Sample], seconds: float) -> Summary:
    """Means over the samples, or over the correctly classified ones where ``run`` says so.

    The accuracy is over all samples either way: over the correct ones it would say nothing.
    """
    marks = [s.correct for s in samples if s.correct is not None]
    chosen = [s for s in samples if s.correct or not run.correct_only]
    return Summary(
        samples=len(chosen),
        accuracy=sum(marks) / len(marks) if marks else None,
        mean_lower=_mean([s.lower for s in chosen if s.lower is not None]),
        mean_upper=_mean([s.upper for s in chosen if s.upper is not None]),
        violations=sum(s.crossed for s in samples),
        seconds=round(seconds, 3),
    )


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
