"""Certificate files beside a run's records: what was found, as the checker can prove it again.

The radius of a file is one that the checker itself has proved, a little beyond it: the one that was
found where its boxes and lines allow for it, else as large as they do.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from boundcert.certificates.records import Sample
from boundcert.certificates.request import ModelOptions, Request
from boundcert.checker import Certificate, Checker, NotUnderstood, Reading, encode, sample_hash
from boundcert.checker.certificate import Slopes
from boundcert.checker.curves import CURVES
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Bend
from boundcert.clip import Clip
from boundcert.demo import model_path
from boundcert.errors import RefusedInput
from boundcert.kernels import backend
from boundcert.layers.activation_table import ACTIVATIONS
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: A file's radius is proved with so much to spare: sums come out a little different elsewhere.
SPARE = 1 + 1e-9
#: Proofs tried for one sample, and the share of the largest provable radius that will do.
TRIES, NEAR = 12, 0.998
#: What a margin loses with the radius grows about as this power of it.
POWER = 3.0


class Chooser:
    """Slopes for lines of curves, from the kernels that relax them; keeps what it gave."""

    def __init__(self) -> None:
        self.given: list[Slopes] = []

    def __call__(self, k: int, node: Bend, low: Array, high: Array, point: Array) -> Slopes:
        pieces = CURVES[node.name].pieces(float(node.a.ravel()[0]), node.b)
        chosen: Slopes = None
        # the usual lines of two straight pieces are the best there are, without an ascent
        if len(pieces) != 2 or any(sign for *_, sign in pieces):
            chosen = _slopes(node, low, high, point)
        self.given.append(chosen)
        return chosen


def _slopes(node: Bend, low: Array, high: Array, point: Array) -> tuple[Array, Array]:
    rule = ACTIVATIONS[node.name]
    a, b = float(node.a.ravel()[0]), node.b
    ends = (np.ascontiguousarray(x[None]) for x in (low, high, point, point))
    parameters = (np.array([a]), np.array([b]), np.array(rule.pieces(a, b)).reshape(-1, 3))
    below, _, above, *_ = backend().deviation_lines(rule.code, *ends, *parameters)
    # as the file holds them
    return tuple(np.nan_to_num(s[0].astype(np.float32)).astype(np.float64) for s in (below, above))  # type: ignore[return-value]


@dataclass
class Proofs:
    """A folder of certificates of one run.

    Attributes
    ----------
    budget : seconds after which no other radius is tried for a sample.
    refused : why the checker cannot read the model, if it cannot.
    """

    folder: Path
    checker: Checker
    reading: Reading
    norm: str
    clip: tuple[float, float] | None
    semantics: str
    budget: float
    refused: str | None = None

    def of(self, samples: Sequence[Sample], rows: Array) -> list[Sample]:
        """The samples with what their certificates prove, which are written.

        Parameters
        ----------
        rows : (N, *input shape) the samples' numbers.

        Raises
        ------
        RefusedInput
            The folder cannot be written.
        """
        return [replace(s, proved=self._write(s, x)) for s, x in zip(samples, rows)]

    def _write(self, sample: Sample, x: Array) -> float | None:
        if self.refused is not None or not sample.lower:
            return None
        claim = Certificate(
            sample.index,
            self.checker.digest,
            sample_hash(x),
            sample.predicted,
            self.norm,
            sample.lower,
            self.clip,
            self.semantics,
            self.reading,
        )
        try:
            proved = largest(self.checker, claim, x, self.budget)
        except NotUnderstood as error:
            self.refused = str(error)
            return None
        if proved is None:
            return None
        _save(certificate_path(self.folder, sample.index), encode(proved))
        return proved.radius


def open_proofs(request: Request, network: Network, resume: bool, budget: float) -> Proofs | None:
    """Where certificates of a run go, if it is to have some.

    Raises
    ------
    RefusedInput
        The folder holds something, or cannot be made.
    """
    if request.certificates is None:
        return None
    check_folder(request.certificates, resume)
    try:
        request.certificates.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusedInput(f"{request.certificates}: cannot be made: {error.strerror}") from error
    clip = Clip.of(request.clip)
    return Proofs(
        request.certificates,
        Checker(Path(request.model.path or model_path()).read_bytes()),
        reading_of(request.model, network.input_shape),
        Norm.of(request.norm).value,
        None if clip is None else (clip.low, clip.high),
        request.semantics,
        budget,
    )


def reading_of(options: ModelOptions, shape: Sequence[int]) -> Reading:
    """How the checker is to read a model of an input shape."""
    mean, std = options.normalisation
    names = options.input, options.output, options.decision
    return Reading(tuple(shape), mean, std, *names)


def certificate_path(folder: Path, index: int) -> Path:
    """Where the certificate of a sample lies."""
    return folder / f"{index:08d}.json"


def largest(
    checker: Checker, claim: Certificate, x: Array, budget: float = math.inf
) -> Certificate | None:
    """The claim with the largest radius, up to its own, that the checker proves.

    What a proof at ε bounds the margins with vanishes at some reach: more than ε where it holds.
    The largest radius lies between the two, as nothing but boxes changes with ε.
    """
    best, radius, least = None, claim.radius, 0.0
    most = claim.radius
    start = time.monotonic()
    for _ in range(TRIES):
        choose = Chooser()
        proved = checker.prove(replace(claim, radius=radius * SPARE), x, choose)
        with np.errstate(all="ignore"):
            reach = float(np.min(proved.base / proved.slope))
        if proved.holds:
            best, least = replace(claim, radius=radius, slopes=tuple(choose.given)), radius
            if radius >= most * NEAR or not reach > radius / NEAR:
                break
        else:
            most = min(most, radius)
        share = reach / radius if reach > 0 else 0.0
        ahead = radius * min(max(share, 1e-3), 1e3) ** (1 / POWER)
        radius = ahead if least < ahead < most else (least * most) ** 0.5 or most / 16
        radius = min(radius, most * NEAR) if most < claim.radius else min(radius, most)
        if not radius > least or time.monotonic() - start > budget:
            break
    return best


def _save(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise RefusedInput(f"{path}: cannot be written: {error.strerror or error}") from error


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse a folder of certificates that holds something, unless a run is resumed.

    Raises
    ------
    RefusedInput
    """
    try:
        held = next(folder.iterdir(), None) if folder.exists() else None
    except OSError as error:
        raise RefusedInput(f"{folder}: cannot hold certificates: {error.strerror}") from error
    if held is not None and not resume:
        raise RefusedInput(
            f"{folder}: is not empty; --resume continues a run that was broken off, "
            "else name another folder"
        )
