"""A certificate proved again, or refused."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from boundcert.checker.ball import Ball
from boundcert.checker.certificate import NORMS, Certificate, Reading, Slopes, sample_hash
from boundcert.checker.choices import Choices, Levels, ValueOf
from boundcert.checker.maps import Array
from boundcert.checker.nodes import Bend, Graph, NotUnderstood
from boundcert.checker.proof import Proof
from boundcert.checker.reader import read
from boundcert.checker.rounding import UNIT
from boundcert.checker.runtime import Runs, runs_of


@dataclass(frozen=True)
class Proved:
    """What a proof says: the class is kept up to every radius s ≤ ``radius`` with base > s·slope.

    Attributes
    ----------
    radius : what was asked for, with what rounding a sample to the model's type may add.
    base, slope : of the margins of all rivals.
    """

    radius: float
    base: Array
    slope: Array

    @property
    def reach(self) -> float:
        """About how far the least margin stays positive: −∞ if that is no number."""
        with np.errstate(all="ignore"):
            found = float(np.min(self.base / self.slope, initial=np.inf))
        return -np.inf if np.isnan(found) else found

    @property
    def holds(self) -> bool:
        """Whether it is proved at the radius that was asked for; no number proves nothing."""
        move = self.radius * self.slope
        left = self.base - move - (np.abs(self.base) + move) * (4 * UNIT)
        return bool(len(left) and (left > 0).all())


class Checker:
    """A model's bytes, read a second time as certificates say; remembers what it read."""

    def __init__(self, model: bytes) -> None:
        self.model, self.digest = model, hashlib.sha256(model).hexdigest()
        self._graphs: dict[tuple[Reading, str], tuple[Graph, Runs]] = {}

    def graph(self, reading: Reading, norm: str) -> tuple[Graph, Runs]:
        """The graph as read, and what is known of it for a norm."""
        key = (reading, norm)
        if key not in self._graphs:
            front = None
            if reading.mean is not None or reading.std is not None:
                parts = (reading.mean or (0.0,), reading.std or (1.0,))
                front = tuple(_along(reading.shape, part) for part in parts)
            names = (reading.input, reading.output, reading.decision)
            # in the norm of boxes bounds on what is pooled are the better ones
            graph = read(self.model, reading.shape, *names, front, pool_first=norm != "linf")
            self._graphs[key] = graph, runs_of(graph, NORMS[norm])
        return self._graphs[key]

    def prove(self, claim: Certificate, x: Array, choices: Choices) -> Proved:
        """The proof of a claim about a sample x of its shape, true or not."""
        graph, runs = self.graph(claim.reading, claim.norm)
        if not claim.label < graph.nodes[-1].n:
            raise NotUnderstood(f"the model has no class {claim.label}")
        p, deployed = NORMS[claim.norm], claim.semantics == "deployed"
        # NumPy would compute with a float32 sample in float32
        flat = np.asarray(x, dtype=np.float64).ravel()
        radius, clip = claim.radius, claim.clip
        if deployed:
            # a perturbed sample is rounded to the model's type: by u|x′| and τ an entry
            size, ones = (_norm(v, p) for v in (flat, np.ones_like(flat)))
            radius = (radius + size * graph.unit + ones * graph.tiny) / (1 - graph.unit)
            radius *= 1 + 1e-12
            if clip is not None:
                more = [2 * (abs(end) * graph.unit + graph.tiny) for end in clip]
                clip = clip[0] - more[0], clip[1] + more[1]
            if not np.abs(Ball(flat, p, radius, clip).box()).max() <= graph.largest:
                radius = math.inf  # may overflow as the model's type: of which nothing is proved
        ball = Ball(flat, p, radius, clip)
        proof = Proof(graph, runs, ball, deployed, choices, claim.spreads, claim.means)
        return Proved(radius, *proof.margins(claim.label))

    def check(self, claim: Certificate, x: Array) -> str | None:
        """Why a claim about x is refused; None if it holds.

        Raises
        ------
        NotUnderstood
            The model, or the certificate, is beyond this checker.
        """
        if claim.model != self.digest:
            return "made for another model"
        if tuple(x.shape) != claim.reading.shape or sample_hash(x) != claim.sample:
            return "made for another sample"
        if not np.isfinite(x).all():
            return "the sample holds what is no number"
        if claim.clip is not None and not (claim.clip[0] <= x.min() and x.max() <= claim.clip[1]):
            return "the sample is outside of the range"
        replay = Replay(claim.slopes, claim.levels)
        proved = self.prove(claim, x, replay)
        if replay.left():
            return "holds choices that nothing asked for"
        return None if proved.holds else "the radius is not proved"


class Replay:
    """The choices of a certificate, one after the other as they are asked for."""

    def __init__(self, slopes: tuple[Slopes, ...], levels: Levels) -> None:
        self._slopes: Iterator[Slopes] = iter(slopes)
        self._levels, self._used = levels, 0

    def slopes(self, node: Bend, low: Array, high: Array, point: Array) -> Slopes:
        """See :class:`boundcert.checker.choices.Choices`."""
        try:
            slopes = next(self._slopes)
        except StopIteration:
            raise NotUnderstood("slopes are missing") from None
        if slopes is not None and len(slopes[0]) != node.n:
            raise NotUnderstood(f"{len(slopes[0])} slopes for {node.n} lines")
        return slopes

    def pause(self) -> None:
        """A check takes the time that it takes."""

    def levels(self, start: Array, value: ValueOf) -> Levels:
        """See :class:`boundcert.checker.choices.Choices`."""
        found = self._levels[self._used : self._used + len(start)]
        self._used += len(start)
        if len(found) < len(start):
            raise NotUnderstood("levels are missing")
        return found

    def left(self) -> bool:
        """Whether some were not asked for."""
        return self._used < len(self._levels) or next(self._slopes, self) is not self


def _norm(x: Array, p: float) -> float:
    size = float(np.linalg.norm(x, {1.0: 1, 2.0: 2, math.inf: np.inf}[p]))
    # squares underflow sooner than what they are of
    return size * (1 + 4 * (x.size + 16) * UNIT) + 1e-150


def _along(shape: tuple[int, ...], values: tuple[float, ...]) -> Array:
    """One number for all entries, or one along the channel axis, or along the last one."""
    if len(values) == 1:
        return np.full([1] * len(shape), values[0])
    for axis in (1, len(shape) - 1):
        if axis < len(shape) and shape[axis] == len(values):
            return np.reshape(values, [len(values) if k == axis else 1 for k in range(len(shape))])
    raise NotUnderstood(f"{len(values)} numbers fit no channel axis of {list(shape)}")
