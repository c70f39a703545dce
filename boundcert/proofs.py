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
from boundcert.checker.choices import NONE, Levels, ValueOf
from boundcert.checker.curves import CURVES
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Bend, Maximum
from boundcert.clip import Clip
from boundcert.demo import model_path
from boundcert.errors import RefusedInput
from boundcert.kernels import backend
from boundcert.layers.activation_table import ACTIVATIONS
from boundcert.network.graph import Network
from boundcert.norms import Norm

#: A file's radius is proved with so much to spare: sums come out a little different elsewhere.
SPARE = 1 + 1e-9
#: A proof may take so many times the budget, of so many seconds at least, before it is given up.
PATIENCE, LEAST_BUDGET = 6.0, 2.0
#: Proofs tried for one sample, and the share of the largest provable radius that will do.
TRIES, NEAR = 12, 0.997
#: log(reach/ε) falls about so fast with log ε; how far back where there is no reach; the share of
#: an estimated root to try, so that the proof holds.
POWER, BACK, AIMED = 3.7, 0.75, 0.9995
#: Levels that are tried: about where a ball's multiplier is, then about the best of those.
COARSE = (-12, -8, -4, 0, 4)
LEVELS = (*COARSE, 2, -2, 1, -1)


class _TooLate(Exception):
    """A proof takes longer than it is worth waiting for."""


class Chooser:
    """Slopes from the kernels that relax activations, multipliers by trial; keeps what it gave."""

    def __init__(self, until: float = math.inf) -> None:
        self.until = until
        self.given: list[Slopes] = []
        self.chosen = [np.empty(0, dtype=np.int8)]

    def slopes(self, node: Bend, low: Array, high: Array, point: Array) -> Slopes:
        """Lines as they are drawn where radii are found."""
        pieces = CURVES[node.name].pieces(float(node.a.ravel()[0]), node.b)
        chosen: Slopes = None
        # the usual lines of two straight pieces are the best there are, without an ascent
        if len(pieces) != 2 or any(sign for *_, sign in pieces):
            chosen = _slopes(node, low, high, point)
        self.given.append(chosen)
        return chosen

    def pause(self) -> None:
        """Give up when it is too late."""
        if time.monotonic() > self.until:
            raise _TooLate

    def levels(self, start: Array, value: ValueOf) -> Levels:
        """The best of a few, row by row; none where nothing beats the lines."""
        first = np.clip(np.nan_to_num(start, nan=0.0), -100, 100).round()
        best = np.full(len(start), NONE, dtype=np.int8)
        found = np.nan_to_num(value(best), nan=-np.inf)
        for step in LEVELS:
            about = first if step in COARSE else best.astype(np.float64)
            tried = np.clip(about + step, NONE + 1, 127).astype(np.int8)
            if step not in COARSE:
                tried = np.where(best == NONE, NONE, tried).astype(np.int8)
            other = value(tried)
            better = other > found
            best, found = np.where(better, tried, best), np.where(better, other, found)
        self.chosen.append(best)
        return best

    def settle(self, claim: Certificate) -> Certificate:
        """The claim with all choices made."""
        return replace(claim, slopes=tuple(self.given), levels=np.concatenate(self.chosen))


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
    budget : seconds after which no other radius is tried for a sample; a proof that takes many
        times as long is given up, and the sample gets no file.
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
            proved = largest(self.checker, claim, x, self.budget, sample.rung != "relax")
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
    checker: Checker, claim: Certificate, x: Array, budget: float = math.inf, hard: bool = False
) -> Certificate | None:
    """The claim with the largest radius, up to its own, that the checker proves; None for none.

    Bounds on 2-norms take longer to check: they are there where boxes and lines do not do, in
    norms in which entries cannot all be far out together. ``hard``: it is likely that they do not.
    In L∞ means may do so, between which maxima lie; or worse.
    """
    ways = _ways(checker, claim, x, budget, hard)
    start, best = time.monotonic(), None
    for way in ways:
        left = budget - (time.monotonic() - start)
        found = _search(checker, way, x, left) if best is None or left > 0 else None
        if best is None or (found is not None and found.radius > best.radius):
            best = found
        if best is not None and (hard or best.radius >= claim.radius * NEAR):
            break
    return best


def _ways(
    checker: Checker, claim: Certificate, x: Array, budget: float, hard: bool
) -> list[Certificate]:
    """The claim proved in several ways, that which will do first."""
    if claim.norm != "linf":
        spread = replace(claim, spreads=True)
        return [spread, claim] if hard else [claim, spread]
    graph, _ = checker.graph(claim.reading, claim.norm)
    if not hard or not any(isinstance(node, Maximum) for node in graph.nodes):
        return [claim]
    ways = [claim, replace(claim, means=True)]
    return sorted(ways, key=lambda way: -_share(checker, way, x, budget))


def _share(checker: Checker, claim: Certificate, x: Array, budget: float) -> float:
    """How far a proof at the claim's radius reaches, by that radius."""
    chooser = Chooser(time.monotonic() + PATIENCE * max(budget, LEAST_BUDGET))
    try:
        proved = checker.prove(replace(claim, radius=claim.radius * SPARE), x, chooser)
    except (_TooLate, MemoryError):
        return -math.inf
    return proved.reach / claim.radius


def _search(checker: Checker, claim: Certificate, x: Array, budget: float) -> Certificate | None:
    """The largest radius for one way to prove.

    What a proof at ε bounds the margins with vanishes at some reach, more than ε where it holds:
    the root of log(reach/ε) is sought, by secants, as soon as there are two, of ε's logarithm.
    """
    # proved up to there, and not proved from there on
    best, radius, least, most = None, claim.radius, 0.0, math.inf
    start, last, power = time.monotonic(), None, POWER
    for _ in range(TRIES):
        chooser = Chooser(start + PATIENCE * max(budget, LEAST_BUDGET))
        try:
            proved = checker.prove(replace(claim, radius=radius * SPARE), x, chooser)
        except (_TooLate, MemoryError):
            break
        share = proved.reach / radius
        if proved.holds:
            best, least = chooser.settle(replace(claim, radius=radius)), radius
        else:
            most = min(most, radius)
        late = best is not None and time.monotonic() - start > budget
        near = proved.holds and share ** (1 / power) * NEAR < 1
        if late or near or least >= min(most, claim.radius) * NEAR:
            break
        if share > 0:
            at = math.log(radius), math.log(share)
            if last is not None and at[0] != last[0]:
                power = min(max((at[1] - last[1]) / (last[0] - at[0]), 1.0), 50.0)
            last, ahead = at, radius * share ** (1 / power)
        else:
            ahead = radius * BACK
        between = most * BACK if not least else (least * min(most, claim.radius)) ** 0.5
        radius = ahead * AIMED if least < ahead * AIMED < most else between
        radius = min(radius, claim.radius)
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
