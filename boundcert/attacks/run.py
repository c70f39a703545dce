"""Running attacks in chunks and collecting the confirmed upper bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from boundcert.attacks.base import Oracle, Victim
from boundcert.attacks.clipped import Clipped
from boundcert.attacks.confirm import Ledger
from boundcert.attacks.geometry import per_row
from boundcert.attacks.registry import candidates, get_attack
from boundcert.attacks.segment import pull_back
from boundcert.clip import Clip
from boundcert.errors import UsageError
from boundcert.norms import Norm


@dataclass(frozen=True)
class AttackResult:
    """The nearest confirmed adversarial point of each sample.

    Attributes
    ----------
    upper : np.ndarray
        (B,) float64, ‖float64(point) − x‖_p rounded up; NaN where no attack succeeded.
    attack : list of (str or None)
        Which attack found it.
    points : np.ndarray
        (B, *S) float32, the very points the oracle was shown; NaN where there is none.
    """

    upper: np.ndarray
    attack: list[str | None]
    points: np.ndarray


def attack(
    victim: Victim,
    oracle: Oracle,
    x: torch.Tensor,
    label: torch.Tensor,
    norm: Norm | str | float,
    names: Sequence[str] = ("deepfool",),
    *,
    clip: Clip | None = None,
    chunk: int = 256,
    tolerance: float = 1e-4,
    progress: Callable[[int], None] | None = None,
) -> AttackResult:
    """Upper bounds on the smallest adversarial perturbation of each sample.

    Candidates come from the float64 victim; a result counts only when the oracle gives its
    float32 rounding another class than the float32 rounding of ``x``.

    Parameters
    ----------
    victim : Victim
        The differentiable float64 network, on the device of ``x``.
    oracle : Oracle
        The deployed network.
    x : torch.Tensor
        Samples, (B, *S) float64.
    label : torch.Tensor
        The class predicted at each sample, (B,) int64.
    norm : Norm or str or float
        The norm of the perturbations.
    names : sequence of str
        Attacks to run; the nearest result of any of them is kept.
    clip : Clip, optional
        The box that holds the samples, and that all points are to lie in.
    chunk : int
        Samples per batch: it bounds the memory and does not change the results beyond rounding.
    tolerance : float
        Relative precision of the final search on the segment between point and sample.
    progress : callable, optional
        Called after each chunk with the number of samples it held.

    Raises
    ------
    UsageError
        Unknown attack or norm, mismatched shapes or dtypes, or scores or classes of the
        wrong shape from the victim or the oracle.
    """
    norm = Norm.of(norm)
    attacks = [(name, get_attack(name)) for name in names]
    _check(x, label, attacks, chunk, tolerance)
    label = label.to(x.device)
    if clip is not None:
        victim = Clipped(victim, clip)
    uppers, points, credits = [], [], []
    for begin in range(0, x.shape[0], chunk):
        part, part_label = x[begin : begin + chunk].detach(), label[begin : begin + chunk]
        ledger = Ledger(oracle, part, norm, clip)
        for name, method in attacks:
            found = candidates(method, victim, part, part_label, norm)
            if clip is not None:
                found = clip.project(found)
            near = pull_back(victim, part, found, part_label, tolerance)
            ledger.confirm(near, name, tolerance)
            # A victim's boundary closer than float32 resolves: the pull-back went too far.
            missing = torch.from_numpy(np.isnan(ledger.upper)).to(part.device)
            again = torch.where(per_row(missing, part), found, torch.nan)
            ledger.confirm(again, name, tolerance)
        uppers.append(ledger.upper)
        points.append(ledger.points)
        credits.extend(ledger.attack)
        if progress is not None:
            progress(part.shape[0])
    if not uppers:
        return AttackResult(np.zeros(0), [], np.zeros(tuple(x.shape), dtype=np.float32))
    return AttackResult(np.concatenate(uppers), credits, np.concatenate(points))


def _check(
    x: torch.Tensor, label: torch.Tensor, attacks: Sequence[object], chunk: int, tolerance: float
) -> None:
    if x.dtype != torch.float64 or x.dim() < 2:
        raise UsageError(
            f"x is {x.dtype} of shape {tuple(x.shape)}; pass float64 samples of shape (B, *S)"
        )
    if label.dtype != torch.int64 or tuple(label.shape) != (x.shape[0],):
        raise UsageError(
            f"label is {label.dtype} of shape {tuple(label.shape)}; pass the predicted class of "
            f"each sample, int64 of shape ({x.shape[0]},)"
        )
    if not attacks:
        raise UsageError("no attack was named; pass for example names=('deepfool',)")
    if chunk < 1:
        raise UsageError(f"chunk is {chunk}; pass a positive number of samples")
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance is {tolerance}; pass a number between 0 and 1")
