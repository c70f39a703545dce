"""Saving a violated certificate, so that the bug behind it can be found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from boundcert.certificates.records import Run

if TYPE_CHECKING:
    import numpy as np


def save_reproducer(
    folder: Path,
    run: Run,
    index: int,
    lower: float,
    upper: float,
    attack: str | None,
    sample: np.ndarray,
    point: np.ndarray,
) -> tuple[Path, Path]:
    """Write ``boundcert-violation-<sha8>-<index>.json`` and ``.npz`` and return their paths.

    The ``.npz`` holds ``x`` (the sample) and ``point`` (the adversarial input); the JSON names
    the model by hash and holds both numbers and the whole run.
    """
    import numpy

    stem = f"boundcert-violation-{run.sha256[:8]}-{index}"
    arrays, report = folder / f"{stem}.npz", folder / f"{stem}.json"
    with open(arrays, "wb") as handle:
        numpy.savez(handle, x=sample, point=point)
    facts = {
        "type": "violation",
        "version": run.version,
        "sha256": run.sha256,
        "index": index,
        "norm": run.norm,
        "method": run.method,
        "lower": lower,
        "upper": upper,
        "attack": attack,
        "arrays": arrays.name,
        "run": dataclasses.asdict(run),
    }
    report.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return report, arrays
