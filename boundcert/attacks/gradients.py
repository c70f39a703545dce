"""The victim's scores and the gradients that attacks climb."""

from __future__ import annotations

from collections.abc import Callable

import torch

from boundcert.attacks.base import Victim
from boundcert.attacks.geometry import finite_rows, per_row
from boundcert.errors import UsageError

Objective = Callable[[torch.Tensor], torch.Tensor]


def checked_logits(victim: Victim, x: torch.Tensor) -> torch.Tensor:
    """The victim's scores (B, C), refused unless they are two-dimensional with C ≥ 2.

    Raises
    ------
    UsageError
        The scores have another shape.
    """
    scores = victim.logits(x)
    if scores.dim() != 2 or scores.shape[0] != x.shape[0] or scores.shape[1] < 2:
        raise UsageError(
            f"the victim returned scores of shape {tuple(scores.shape)} for inputs of shape "
            f"{tuple(x.shape)}; an attack needs (B, C) with C of at least 2"
        )
    return scores


@torch.no_grad()
def changed(victim: Victim, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Whether the victim's class differs from ``label``, (B, *S) → (B,) bool.

    Points or scores with NaN or infinity never count as changed: argmax would name the NaN.
    """
    scores = checked_logits(victim, x)
    return finite_rows(x) & finite_rows(scores) & (scores.argmax(dim=1) != label)


def without_label(scores: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """The scores with the label's own at −inf, so that max and argmax name a rival."""
    return scores.scatter(1, label[:, None], -torch.inf)


def log_odds(scores: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """s = log Σ_{j≠c} exp(z_j) − z_c, (B, C) → (B,): the cross-entropy that cannot saturate.

    The cross-entropy is log(1 + exp(s)), so its gradient is sigmoid(s) times that of s: the
    same direction. Computed as softmax − one-hot, though, it loses the term of z_c beyond a
    margin of about 37 (1 − p_c rounds to zero) and vanishes altogether near 745.
    """
    return without_label(scores, label).logsumexp(dim=1) - scores.gather(1, label[:, None])[:, 0]


def rival_margin(scores: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """max_{j≠c} z_j − z_c, (B, C) → (B,): positive once the class has changed."""
    # max, not amax: amax shares the gradient between tied rivals, which may cancel it.
    best = without_label(scores, label).max(dim=1).values
    return best - scores.gather(1, label[:, None])[:, 0]


def gradient(victim: Victim, x: torch.Tensor, objective: Objective) -> torch.Tensor:
    """Per-sample gradient in ``x`` of ``objective(scores)``, (B, *S) → (B, *S).

    Samples whose gradient is not finite, or does not exist because the scores ignore ``x``,
    get zero: no direction to follow.
    """
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        value = objective(checked_logits(victim, leaf)).sum()
        if not value.requires_grad:
            return torch.zeros_like(x)
        (slope,) = torch.autograd.grad(value, leaf, allow_unused=True)
    if slope is None:
        return torch.zeros_like(x)
    return torch.where(per_row(finite_rows(slope), x), slope, torch.zeros_like(slope))


def loss_gradient(victim: Victim, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """The direction of the cross-entropy's gradient, w.r.t. the predicted class: (B, *S).

    Where it is zero or not finite (rivals that cancel, overflow) the gradient of the margin
    to the best rival is used instead. The length carries no meaning.
    """
    slope = gradient(victim, x, lambda z: log_odds(z, label))
    flat = (slope.flatten(1) == 0).all(dim=1)
    rows = flat.nonzero()[:, 0]
    if rows.numel():
        slope[rows] = gradient(victim, x[rows], lambda z: rival_margin(z, label[rows]))
    return slope
