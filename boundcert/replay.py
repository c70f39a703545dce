"""A folder of certificates checked against a model and data: files to verdicts, no terminal.

Nothing here finds bounds: what is proved, :mod:`boundcert.checker` proves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boundcert.certificates.request import ModelOptions
from boundcert.checker import Certificate, Checker, NotUnderstood, decode
from boundcert.data import DataSet, fit_shape, load_data, parse_random, random_inputs
from boundcert.demo import model_path
from boundcert.errors import RefusedInput


@dataclass(frozen=True)
class Verdict:
    """One file of the folder.

    Attributes
    ----------
    claim : None where the file is none of a certificate.
    why : it is refused; None if the claim is proved.
    seconds : that took.
    """

    path: Path
    claim: Certificate | None
    why: str | None
    seconds: float


def certificate_files(folder: Path) -> list[Path]:
    """The certificates in a folder, by name.

    Raises
    ------
    RefusedInput
        There is no such folder, or none in it.
    """
    if not folder.is_dir():
        raise RefusedInput(f"{folder}: no such folder; give what --certificates named")
    files = sorted(folder.glob("*.json"))
    if not files:
        raise RefusedInput(f"{folder}: holds no certificates (*.json)")
    return files


def replay(
    files: list[Path], options: ModelOptions, data: str | None, data_dir: Path | None
) -> Iterator[Verdict]:
    """Check one file after the other.

    Parameters
    ----------
    options : the model and how it is read: a certificate for another reading is refused.
    data : as for :func:`boundcert.load_data`, or ``random:N:LO:HI``; None for the demo's.

    Raises
    ------
    RefusedInput
        The model or the data cannot be read.
    """
    path = Path(options.path or model_path())
    try:
        checker = Checker(path.read_bytes())
    except OSError as error:
        raise RefusedInput(f"{path}: cannot be read: {error.strerror or error}") from error
    samples = _Samples(data, data_dir)
    for file in files:
        start, claim = time.perf_counter(), None
        try:
            claim = decode(file.read_bytes())
            why = _differs(claim, options) or checker.check(claim, samples.of(claim))
        except NotUnderstood as error:
            why = f"not understood: {error}"
        except OSError as error:
            why = f"cannot be read: {error.strerror or error}"
        yield Verdict(file, claim, why, time.perf_counter() - start)


def _differs(claim: Certificate, options: ModelOptions) -> str | None:
    """How a certificate's reading of the model differs from that asked for."""
    mean, std = options.normalisation
    wanted = {
        "mean": mean,
        "std": std,
        "input": options.input,
        "output": options.output,
        "decision": options.decision,
    }
    if options.input_shape is not None:
        wanted["shape"] = options.input_shape
    for name, value in wanted.items():
        found = getattr(claim.reading, name)
        if found != value:
            return f"made for {name} {found}, not {value}"
    return None


class _Samples:
    """The data, in the shape that certificates ask for."""

    def __init__(self, spec: str | None, folder: Path | None) -> None:
        self.spec, self.folder = "digits" if spec is None else spec, folder
        self.drawn = parse_random(self.spec)
        self.data = None if self.drawn else load_data(self.spec, folder)
        self._fitted: dict[tuple[int, ...], DataSet] = {}

    def of(self, claim: Certificate) -> np.ndarray:
        """The sample that a certificate names."""
        whole = claim.reading.shape
        shape = whole[1:] if whole[:1] == (1,) else whole
        if shape not in self._fitted:
            data = self.data or random_inputs(shape, *self.drawn)  # type: ignore[misc]
            self._fitted[shape] = fit_shape(data, shape)
        x = self._fitted[shape].x
        if claim.index >= len(x):
            raise NotUnderstood(f"there is no sample {claim.index}, only {len(x)}")
        return np.asarray(x[claim.index], dtype=np.float64).reshape(whole)
