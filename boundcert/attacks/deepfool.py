"""DeepFool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from boundcert.attacks.base import MinimizationAttack, Victim
from boundcert.attacks.geometry import finite_rows, largest_entry, per_row, steepest
from boundcert.attacks.gradients import changed, checked_logits, without_label
from boundcert.attacks.search import natural_size
from boundcert.norms import Norm


def _nearest_step(
    victim: Victim, point: torch.Tensor, label: torch.Tensor, norm: Norm, max_rivals: int
) -> torch.Tensor:
    """The shortest step onto a linearised decision boundary, (A, *S); zero where there is none.

    For rival k with difference f_k = z_k − z_c and gradient w_k the boundary lies |f_k|/‖w_k‖_q
    away, along the steepest direction of w_k in the norm (Moosavi-Dezfooli et al. 2016, §3–4).
    """
    best = point.new_full((point.shape[0],), torch.inf)
    step = torch.zeros_like(point)
    with torch.enable_grad():
        leaf = point.detach().clone().requires_grad_(True)
        scores = checked_logits(victim, leaf)
        if not scores.requires_grad:
            return step
        count = min(max_rivals, scores.shape[1] - 1)
        rivals = without_label(scores.detach(), label).topk(count, dim=1).indices
        gaps = scores.gather(1, rivals) - scores.gather(1, label[:, None])
    # On a boundary the gap is zero and there would be no step at all. What the oracle's float32
    # cannot tell apart, in the scores or in the input, is stepped over; pulling back undoes it.
    least_gap = 1e-7 * scores.detach().abs().amax(dim=1)
    least_distance = 1e-8 * natural_size(point, norm)
    for k in range(count):
        more = k + 1 < count
        (w,) = torch.autograd.grad(gaps[:, k].sum(), leaf, retain_graph=more, allow_unused=True)
        if w is None:
            continue
        # The scale is divided out first: the norm of a huge gradient would overflow.
        scale = largest_entry(w)
        length = norm.dual.of_rows(w / per_row(scale, w))
        distance = torch.maximum(gaps[:, k].detach().abs(), least_gap) / scale / length
        distance = torch.maximum(distance, least_distance)
        nearer = finite_rows(w) & (distance < best)  # false for x/0, 0/0 and NaN
        best = torch.where(nearer, distance, best)
        stride = per_row(distance, w) * steepest(w, norm)
        step = torch.where(per_row(nearer, w), stride, step)
    return step


@dataclass(frozen=True)
class DeepFool(MinimizationAttack):
    """Steps onto the nearest linearised decision boundary until the class changes.

    Source: Moosavi-Dezfooli et al. 2016, Algorithm 2 and §3.3 (other norms); §3.1 of the
    DeepDefense paper restates it.

    Parameters
    ----------
    overshoot : float
        The accumulated perturbation is tried at ``1 + overshoot`` times its size.
    max_steps : int
        Samples whose class has not changed by then have no candidate.
    max_rivals : int
        Only this many highest-scoring rivals are linearised, one backward pass each.
    """

    overshoot: float = 0.02
    max_steps: int = 50
    max_rivals: int = 10
    name: ClassVar[str] = "deepfool"

    def minimize(
        self, victim: Victim, x: torch.Tensor, label: torch.Tensor, norm: Norm
    ) -> torch.Tensor:
        """The first class change on DeepFool's path (see the base class)."""
        result = torch.full_like(x, torch.nan)
        rows = torch.arange(x.shape[0], device=x.device)
        total = torch.zeros_like(x)
        for _ in range(self.max_steps):
            if rows.numel() == 0:
                break
            stretch = 1.0 + self.overshoot
            here = x[rows] + stretch * total[rows]
            step = _nearest_step(victim, here, label[rows], norm, self.max_rivals)
            # The step comes before the test: a sample that the float64 network already puts
            # across the boundary still needs a perturbation that convinces the oracle.
            total[rows] += step
            there = x[rows] + stretch * total[rows]
            hit = changed(victim, there, label[rows])
            result[rows[hit]] = there[hit]
            moving = Norm.LINF.of_rows(step) > 0
            rows = rows[~hit & moving]
        return result
