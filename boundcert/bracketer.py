"""The bracket of one sample, and what makes brackets for one network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from boundcert.agreement import agreed
from boundcert.attacks import attack as run_attacks
from boundcert.attacks.registry import get_attack
from boundcert.bounds.deployed import SEMANTICS
from boundcert.bounds.methods import Limits, Stage
from boundcert.clip import Clip
from boundcert.errors import ViolatedCertificate
from boundcert.network.graph import Network
from boundcert.network.runtime import Runtime
from boundcert.norms import Norm
from boundcert.prepared import Chunk, Prepared, usable_device


@dataclass(frozen=True)
class Bracket:
    """Lower and upper bound of one sample; see :class:`boundcert.api.Radii`.

    Attributes
    ----------
    index : position in the data.
    predicted : class given by onnxruntime.
    lower : 0 where nothing is proved, or where onnxruntime's class is not the exact network's;
        nan where no method was asked for.
    upper : norm of a confirmed adversarial perturbation, None without one.
    attack : which attack found it.
    rung : the method that proved the lower end, None without one.
    kappa : as in :class:`boundcert.api.Radii`, for this sample.
    point : the adversarial float32 input.
    """

    index: int
    predicted: int
    lower: float
    upper: float | None
    attack: str | None
    rung: str | None
    kappa: tuple[float, ...]
    point: np.ndarray | None = None


class Bracketer:
    """Brackets made ready for one network: a method for the lower end, attacks for the upper.

    ``method`` None gives upper bounds only (lower is nan); samples must lie in ``clip``.
    Other parameters and errors as for
    :func:`boundcert.api.brackets`; everything that can be refused is refused here.
    """

    def __init__(
        self,
        network: Network,
        norm: Norm | str | float,
        method: str | None,
        attacks: Sequence[str],
        device: str = "cpu",
        limits: Limits | None = None,
        clip: Clip | None = None,
        semantics: str = SEMANTICS[0],
    ) -> None:
        for name in attacks:
            get_attack(name)
        self.norm = Norm.of(norm)
        self.attacks, self.clip, self.semantics = tuple(attacks), clip, semantics
        self.device = usable_device(device)
        self.prepared: Prepared | None = None
        if method is not None:
            self.prepared = Prepared(network, norm, method, device, limits, clip, semantics)
        on_device = network if self.device.type == "cpu" else network.to(self.device)
        self.network = on_device if self.prepared is None else self.prepared.network
        self.runtime = Runtime(network.source, network.input_shape)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The blocks whose κ each bracket holds; none without a method."""
        return () if self.prepared is None else self.prepared.stages

    def __call__(self, rows: torch.Tensor, places: Sequence[int]) -> list[Bracket]:
        """Brackets of one chunk of float64 samples (B, *input_shape) at ``places`` in the data."""
        chunk = self._lower(rows)
        label = chunk.predicted
        chunk = agreed(chunk, self.runtime, rows)
        lower, seen = chunk.lower, chunk.predicted
        upper, names, points = self._upper(rows, label)
        result, violation = [], None
        for k, place in enumerate(places):
            low, found = float(lower[k]), names[k] is not None
            bracket = Bracket(
                int(place),
                int(seen[k]),
                low,
                float(upper[k]) if found else None,
                names[k],
                chunk.rungs[k] if low > 0 else None,
                tuple(chunk.kappa[k].tolist()),
                points[k] if found else None,
            )
            certified = self.prepared is not None and self.prepared.certified
            if certified and found and upper[k] < low:
                if self._changes(bracket, int(label[k])):
                    violation = violation or bracket
                    continue
                bracket = replace(bracket, lower=0.0, rung=None)
            result.append(bracket)
        if violation is not None:
            raise _violated(violation, result)
        return result

    def _lower(self, rows: torch.Tensor) -> Chunk:
        if self.prepared is not None:
            return self.prepared(rows)
        with torch.no_grad():
            label = self.network.logits(rows.to(self.device)).argmax(dim=1).cpu().numpy()
        nothing = np.full(len(rows), np.nan), label, np.zeros((len(rows), 0))
        return Chunk(*nothing, ("",) * len(rows))

    def _upper(
        self, rows: torch.Tensor, label: np.ndarray
    ) -> tuple[np.ndarray, list[str | None], np.ndarray]:
        if not self.attacks:
            nothing: list[str | None] = [None] * len(rows)
            return np.full(len(rows), np.nan), nothing, np.zeros((len(rows), 0))
        found = run_attacks(
            self.network,
            self.runtime,
            rows.to(self.device),
            torch.from_numpy(label).to(self.device),
            self.norm,
            self.attacks,
            clip=self.clip,
        )
        return found.upper, list(found.attack), found.points

    def _changes(self, bracket: Bracket, label: int) -> bool:
        """Whether the network that the certificate is about leaves its class at the attacked point.

        The deployed one does: onnxruntime says so. Where the certificate is about the exact
        network and that keeps its class, the runtime's rounding moved the decision, and the sample
        counts as not certified; where it does not, the certificate is false.
        """
        if self.semantics == "deployed":
            return True
        assert bracket.point is not None
        point = torch.from_numpy(bracket.point.astype(np.float64))[None].to(self.device)
        with torch.no_grad():
            return int(self.network.logits(point).argmax(dim=1)) != label


def _violated(bracket: Bracket, others: list[Bracket]) -> ViolatedCertificate:
    error = ViolatedCertificate(
        f"sample {bracket.index}: the certified radius {bracket.lower!r} exceeds a confirmed "
        f"attack of norm {bracket.upper!r} ({bracket.attack}). This is a bug in boundcert."
    )
    error.bracket = bracket  # type: ignore[attr-defined]
    error.others = others  # type: ignore[attr-defined]
    return error
