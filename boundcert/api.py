"""The Python functions: lower bounds, upper bounds, and both at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from boundcert.agreement import agreed, runtime_of
from boundcert.attacks import AttackResult
from boundcert.attacks import attack as run_attacks
from boundcert.bounds.deployed import SEMANTICS
from boundcert.bounds.methods import Limits, Stage
from boundcert.bracketer import Bracket, Bracketer
from boundcert.clip import Clip
from boundcert.network.graph import Network
from boundcert.network.runtime import Runtime
from boundcert.norms import Norm
from boundcert.prepared import Prepared, chunks, usable_device


@dataclass(frozen=True)
class Radii:
    """Lower bounds of a method on a set of samples.

    Attributes
    ----------
    lower : (N,) radii in the units of the data. Certified if ``certified``: no perturbation of
        smaller norm changes the class of the network that ``semantics`` names. 0: nothing is
        proved.
    predicted : (N,) int64, the class that onnxruntime gives, which each radius keeps.
    kappa : (N, stages) how far the value in front of each stage may be moved without changing
        the class; column 0 is the input, the last the distance at the affine head.
    stages : the blocks of layers behind those values.
    rungs : N names of the methods that proved them: rungs of the ladder that ``method`` climbs.
    norm, method, certified : what was asked for.
    clip : the range that perturbed inputs stay in, None where they may be anything.
    semantics : ``"deployed"`` or ``"exact"``.
    """

    lower: np.ndarray
    predicted: np.ndarray
    kappa: np.ndarray
    stages: tuple[Stage, ...]
    rungs: tuple[str, ...]
    norm: Norm
    method: str
    certified: bool
    clip: tuple[float, float] | None = None
    semantics: str = SEMANTICS[0]


def certify(
    network: Network,
    x: np.ndarray,
    norm: Norm | str | float = 2,
    method: str = "auto",
    *,
    device: str = "cpu",
    limits: Limits | None = None,
    clip: Sequence[float] | None = None,
    semantics: str = SEMANTICS[0],
    progress: Callable[[int], None] | None = None,
) -> Radii:
    """Lower bounds on the smallest perturbation that changes the class of each sample.

    Parameters
    ----------
    network : from :func:`boundcert.load_onnx` or :func:`boundcert.from_torch`.
    x : (N, …) samples in the data's own units; any shape that fits the network's input.
    norm : 1, 2 or inf (or ``"l1"``, ``"l2"``, ``"linf"``).
    method : ``"auto"`` (climbs the next three within ``limits.budget``), ``"walk"``, ``"relax"``,
        ``"optimize"``, all certified, or ``"peck2017"`` (not a certificate; L2 only).
    device : where matrix products and convolutions run.
    limits : time and memory for the methods that ask for it.
    clip : (low, high), the data's own range: perturbed inputs stay in it, entry by entry, in the
        units of ``x``. The radii then say that no input of the range nearer than that has another
        class: at least what holds without a range.
    semantics : ``"deployed"``: the network as a runtime evaluates it in the model's own precision,
        in any order (:mod:`boundcert.layers.arithmetic` says what is assumed of it); ``"exact"``:
        the function of real numbers. A method that is no certificate knows no difference.
    progress : called with the number of samples done after each chunk.

    Raises
    ------
    RefusedInput
        The samples do not fit the network, are not finite, or lie outside ``clip``.
    UsageError
        Unknown norm, method, device or semantics, a method that does not know the norm, or a
        ``clip`` that is no range.
    """
    box = Clip.of(clip)
    bounder = Prepared(network, norm, method, device, limits, box, semantics)
    rows = _samples(network, x, box)
    runtime = runtime_of(network)
    parts = [
        agreed(bounder(rows[a:b], progress), runtime, rows[a:b])
        for a, b in chunks(network, len(rows))
    ]
    width = len(bounder.stages)
    return Radii(
        np.concatenate([p.lower for p in parts]) if parts else np.zeros(0),
        np.concatenate([p.predicted for p in parts]) if parts else np.zeros(0, dtype=np.int64),
        np.concatenate([p.kappa for p in parts]) if parts else np.zeros((0, width)),
        bounder.stages,
        tuple(name for p in parts for name in p.rungs),
        bounder.norm,
        method,
        bounder.certified,
        None if box is None else (box.low, box.high),
        semantics,
    )


def attack(
    network: Network,
    x: np.ndarray,
    norm: Norm | str | float = 2,
    attacks: Sequence[str] = ("deepfool",),
    *,
    device: str = "cpu",
    clip: Sequence[float] | None = None,
    progress: Callable[[int], None] | None = None,
) -> AttackResult:
    """Upper bounds: the nearest adversarial point that the attacks find and onnxruntime confirms.

    Parameters
    ----------
    network, x, norm, device, progress : as for :func:`certify`.
    clip : as there; the points lie in the range.
    attacks : names out of ``deepfool``, ``fgs``, ``fgv``.

    Returns
    -------
    AttackResult : ``upper`` (N,) in the units of the data, NaN where nothing was found;
        ``attack``, the attack that found it; ``points`` (N, *input_shape) float32.

    Raises
    ------
    RefusedInput, UsageError
    """
    where, box = usable_device(device), Clip.of(clip)
    moved = network if where.type == "cpu" else network.to(where)
    rows = _samples(network, x, box)
    with torch.no_grad():
        label = [network.logits(rows[a:b]).argmax(dim=1) for a, b in chunks(network, len(rows))]
    return run_attacks(
        moved,
        Runtime(network.source, network.input_shape),
        rows.to(where),
        (torch.cat(label) if label else torch.zeros(0, dtype=torch.int64)).to(where),
        norm,
        tuple(attacks),
        clip=box,
        chunk=max((b - a for a, b in chunks(network, len(rows))), default=1),
        progress=progress,
    )


def brackets(
    network: Network,
    x: np.ndarray,
    norm: Norm | str | float = 2,
    method: str = "auto",
    attacks: Sequence[str] = ("deepfool",),
    *,
    indices: Sequence[int] | None = None,
    device: str = "cpu",
    limits: Limits | None = None,
    clip: Sequence[float] | None = None,
    semantics: str = SEMANTICS[0],
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
        A confirmed attack lies below a certified radius (and the exact network agrees with it
        where the certificate is about that).
        Its ``bracket`` attribute holds the sample, ``others`` the rest of its chunk.
    """
    box = Clip.of(clip)
    bracketer = Bracketer(network, norm, method, attacks, device, limits, box, semantics)
    rows = _samples(network, x, box, indices)
    places = list(range(len(rows))) if indices is None else list(indices)
    for start, end in chunks(network, len(rows)):
        yield bracketer(rows[start:end], places[start:end])


def _samples(
    network: Network, x: np.ndarray, clip: Clip | None, places: Sequence[int] | None = None
) -> torch.Tensor:
    """User data as samples that lie in the range."""
    rows = network.prepare(x)
    if clip is not None:
        clip.check(rows, places)
    return rows
