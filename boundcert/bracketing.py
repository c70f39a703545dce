"""Certified radii for arrays, and brackets (certified lower, attacked upper) chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from boundcert.attacks import AttackResult
from boundcert.attacks import attack as run_attacks
from boundcert.attacks.registry import get_attack
from boundcert.bounds.methods import Bounder, Stage, method
from boundcert.bounds.propagate import Evaluation
from boundcert.errors import UsageError, ViolatedCertificate
from boundcert.layers.base import numel
from boundcert.network.graph import Network
from boundcert.network.runtime import Runtime
from boundcert.norms import Norm

#: Memory that the values of one chunk may take, in bytes.
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Radii:
    """Lower bounds of a method on a set of samples.

    Attributes
    ----------
    lower : (N,) radii in the units of the data. Certified if ``certified``: no perturbation of
        smaller norm changes the class of the network in exact arithmetic. 0: nothing is proved.
    predicted : (N,) int64, the class each radius keeps.
    kappa : (N, stages) how far the value in front of each stage may be moved without changing
        the class; column 0 is the input, the last the distance at the affine head.
    stages : the blocks of layers behind those values.
    norm, method, certified : what was asked for.
    """

    lower: np.ndarray
    predicted: np.ndarray
    kappa: np.ndarray
    stages: tuple[Stage, ...]
    norm: Norm
    method: str
    certified: bool


@dataclass(frozen=True)
class Bracket:
    """Lower and upper bound of one sample; see :class:`Radii`.

    Attributes
    ----------
    index : position in the data.
    predicted : class given by onnxruntime.
    lower : 0 where nothing is proved, or where onnxruntime's class is not the exact network's;
        nan where no method was asked for.
    upper : norm of a confirmed adversarial perturbation, None without one.
    attack : which attack found it.
    kappa : as in :class:`Radii`, for this sample.
    point : the adversarial float32 input.
    """

    index: int
    predicted: int
    lower: float
    upper: float | None
    attack: str | None
    kappa: tuple[float, ...]
    point: np.ndarray | None = None


def certify(
    network: Network,
    x: np.ndarray,
    norm: Norm | str | float = 2,
    method: str = "walk",
    *,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Radii:
    """Lower bounds on the smallest perturbation that changes the class of each sample.

    Parameters
    ----------
    network : from :func:`boundcert.load_onnx` or :func:`boundcert.from_torch`.
    x : (N, …) samples in the data's own units; any shape that fits the network's input.
    norm : 1, 2 or inf (or ``"l1"``, ``"l2"``, ``"linf"``).
    method : ``"walk"`` (certified) or ``"peck2017"`` (not a certificate; L2 only).
    device : where matrix products and convolutions run.
    progress : called with the number of samples done after each chunk.

    Raises
    ------
    RefusedInput
        The samples do not fit the network or are not finite.
    UsageError
        Unknown norm, method or device, or a method that does not know the norm.
    """
    bounder = Prepared(network, norm, method, device)
    rows = network.prepare(x)
    parts = [bounder(rows[a:b], progress) for a, b in chunks(network, len(rows))]
    width = len(bounder.stages)
    return Radii(
        np.concatenate([p[0] for p in parts]) if parts else np.zeros(0),
        np.concatenate([p[1] for p in parts]) if parts else np.zeros(0, dtype=np.int64),
        np.concatenate([p[2] for p in parts]) if parts else np.zeros((0, width)),
        bounder.stages,
        bounder.norm,
        method,
        bounder.certified,
    )


def attack(
    network: Network,
    x: np.ndarray,
    norm: Norm | str | float = 2,
    attacks: Sequence[str] = ("deepfool",),
    *,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> AttackResult:
    """Upper bounds: the nearest adversarial point that the attacks find and onnxruntime confirms.

    Parameters
    ----------
    network, x, norm, device, progress : as for :func:`certify`.
    attacks : names out of ``deepfool``, ``fgs``, ``fgv``.

    Returns
    -------
    AttackResult : ``upper`` (N,) in the units of the data, NaN where nothing was found;
        ``attack``, the attack that found it; ``points`` (N, *input_shape) float32.

    Raises
    ------
    RefusedInput, UsageError
    """
    where = usable_device(device)
    moved = network if where.type == "cpu" else network.to(where)
    rows = network.prepare(x)
    with torch.no_grad():
        label = [network.logits(rows[a:b]).argmax(dim=1) for a, b in chunks(network, len(rows))]
    return run_attacks(
        moved,
        Runtime(network.source, network.input_shape),
        rows.to(where),
        (torch.cat(label) if label else torch.zeros(0, dtype=torch.int64)).to(where),
        norm,
        tuple(attacks),
        chunk=max((b - a for a, b in chunks(network, len(rows))), default=1),
        progress=progress,
    )


class Prepared:
    """A method made ready for one network, norm and device."""

    def __init__(
        self, network: Network, norm: Norm | str | float, name: str, device: str = "cpu"
    ) -> None:
        entry = method(name)
        self.norm = Norm.of(norm)
        self.certified = entry.certified
        self.device = usable_device(device)
        self.network = network if self.device.type == "cpu" else network.to(self.device)
        with torch.no_grad():
            self.bounder: Bounder = entry.prepare(self.network, self.norm)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The blocks between the reported values."""
        return self.bounder.stages

    @torch.no_grad()
    def __call__(
        self, rows: torch.Tensor, progress: Callable[[int], None] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(lower, predicted, kappa) of one chunk of float64 samples (B, *input_shape)."""
        values = self.network.run(rows.to(self.device))
        label = values[-1].reshape(len(rows), -1).argmax(dim=1)
        bounds = self.bounder(Evaluation(self.network, values), label)
        if progress is not None:
            progress(len(rows))
        return bounds.radius.cpu().numpy(), label.cpu().numpy(), bounds.kappa.cpu().numpy()


def usable_device(name: str) -> torch.device:
    """A torch device that exists here.

    Raises
    ------
    UsageError
    """
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is unknown; use cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for, but torch sees no GPU here; use cpu")
    return torch.device(name)


def chunks(network: Network, samples: int) -> Iterator[tuple[int, int]]:
    """Ranges of samples whose values fit :data:`CHUNK_BYTES` together."""
    one = 8 * sum(numel(node.shape) for node in network.nodes)
    step = int(min(max(CHUNK_BYTES // max(one, 1), 1), 512))
    for start in range(0, samples, step):
        yield start, min(start + step, samples)


def brackets(
    network: Network,
    x: np.ndarray,
    norm: Norm | str | float = 2,
    method: str = "walk",
    attacks: Sequence[str] = ("deepfool",),
    *,
    indices: Sequence[int] | None = None,
    device: str = "cpu",
) -> Iterator[list[Bracket]]:
    """Brackets of samples, a chunk at a time, in order.

    Parameters
    ----------
    x : (N, …) samples; ``indices`` are their positions in the data (0 … N−1 by default).
    attacks : names of attacks, none for lower bounds only.
    Other parameters and errors as for :func:`certify`.

    Raises
    ------
    ViolatedCertificate
        A confirmed attack lies below a certified radius and the exact network agrees with it.
        Its ``bracket`` attribute holds the sample, ``others`` the rest of its chunk.
    """
    bracketer = Bracketer(network, norm, method, attacks, device)
    rows = network.prepare(x)
    places = list(range(len(rows))) if indices is None else list(indices)
    for start, end in chunks(network, len(rows)):
        yield bracketer(rows[start:end], places[start:end])


class Bracketer:
    """Brackets made ready for one network: a method for the lower end, attacks for the upper.

    ``method`` None gives upper bounds only (lower is nan). Parameters and errors as for
    :func:`brackets`; everything that can be refused is refused here.
    """

    def __init__(
        self,
        network: Network,
        norm: Norm | str | float,
        method: str | None,
        attacks: Sequence[str],
        device: str = "cpu",
    ) -> None:
        for name in attacks:
            get_attack(name)
        self.norm = Norm.of(norm)
        self.attacks = tuple(attacks)
        self.device = usable_device(device)
        self.prepared = None if method is None else Prepared(network, norm, method, device)
        on_device = network if self.device.type == "cpu" else network.to(self.device)
        self.network = on_device if self.prepared is None else self.prepared.network
        self.runtime = Runtime(network.source, network.input_shape)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The blocks whose κ each bracket holds; none without a method."""
        return () if self.prepared is None else self.prepared.stages

    def __call__(self, rows: torch.Tensor, places: Sequence[int]) -> list[Bracket]:
        """Brackets of one chunk of float64 samples (B, *input_shape) at ``places`` in the data."""
        lower, label, kappa = self._lower(rows)
        seen = self.runtime.classify(rows.numpy().astype(np.float32))
        lower = np.where(seen == label, lower, np.minimum(lower, 0.0))
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
                tuple(kappa[k].tolist()),
                points[k] if found else None,
            )
            certified = self.prepared is not None and self.prepared.certified
            if certified and found and upper[k] < low:
                if self._changes(bracket, int(label[k])):
                    violation = violation or bracket
                    continue
                bracket = replace(bracket, lower=0.0)
            result.append(bracket)
        if violation is not None:
            raise _violated(violation, result)
        return result

    def _lower(self, rows: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self.prepared is not None:
            return self.prepared(rows)
        with torch.no_grad():
            label = self.network.logits(rows.to(self.device)).argmax(dim=1).cpu().numpy()
        return np.full(len(rows), np.nan), label, np.zeros((len(rows), 0))

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
        )
        return found.upper, list(found.attack), found.points

    def _changes(self, bracket: Bracket, label: int) -> bool:
        """Whether the exact network, too, leaves its class at the attacked point.

        The certificate is about exact arithmetic. Where the exact network keeps its class, the
        runtime's rounding moved the decision, and the sample counts as not certified; where it
        does not, the certificate is false.
        """
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
