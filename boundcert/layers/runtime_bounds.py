"""What the layers' bounds on a runtime's error have in common.

Every operation of a runtime gives (p∘q)(1 + δ) + η, |δ| ≤ u, |η| ≤ tiny, and may read an operand
below tiny as 0. So n operations on numbers of one sign cost γ_n of the result (Higham 2002, §3.1),
and what is lost below tiny goes on to the result through what follows: the bounds count that by a
factor of 4 or more, which also pays for its own growth by 1 + γ ≤ 4/3. Layers that move or pick
entries may read one as 0 as well; whatever made it, or reads it next, has already paid for that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.relaxation import Box

#: Rounds up what a float64 formula of terms ≥ 0 gives: of less than a million operations in a row.
UP = 1 + 1e-9
#: Roundings of a power p: u·(POWER[0] + |exponent| + POWER[1]·|log p|) relative. That pays for
#: exp(y·log x) whose argument is off by some u of its size, and for repeated multiplication; the
#: libraries at hand are within 2u.
POWER = (64.0, 4.0)


@dataclass(frozen=True)
class Detour:
    """What a runtime may compute on the way to an affine layer's result.

    Attributes
    ----------
    swell : results on the way are at most this many times the operands, ``centre``, or what is
        added up in the end.
    carry : what a result on the way loses below tiny is multiplied by at most this.
    centre : largest constant that is subtracted from the operand first.
    spread : smallest sum of constants whose rounding is relative, but which may lose tiny.
    """

    swell: float = 1.0
    carry: float = 1.0
    centre: float = 0.0
    spread: float = math.inf


def settled(arithmetic: Arithmetic, error: torch.Tensor, *reached: torch.Tensor) -> torch.Tensor:
    """``error`` rounded up; inf where it is nan, or a magnitude ``reached`` may overflow."""
    sure = error >= 0
    for size in reached:
        sure = sure & (size <= arithmetic.largest)
    return torch.where(sure, error * UP, torch.inf)


def least(box: Box) -> torch.Tensor:
    """Smallest absolute value in a box."""
    return torch.clamp(torch.maximum(box.low, -box.high), min=0)


def quotient_error(
    arithmetic: Arithmetic, above: torch.Tensor | float, below: torch.Tensor
) -> torch.Tensor:
    """Of u/v or u·(1/v), |u| ≤ ``above``, |v| ≥ ``below``: γ|u/v|, and what is lost below tiny.

    That is tiny of u, of 1/v and of the result. A v that may be read as 0 has no bound.
    """
    inverse = torch.where(below >= arithmetic.tiny, 1 / below, torch.inf)
    size = above * inverse
    lost = 4 * arithmetic.tiny * (1 + above + inverse)
    return settled(arithmetic, arithmetic.gamma(arithmetic.fused) * size + lost, size, inverse)


def power_error(arithmetic: Arithmetic, exponent: float, size: torch.Tensor) -> torch.Tensor:
    """Of a power of at most ``size``, exponent given: p·(s + 4|log p|)u, where p > tiny.

    With s ≥ 64 this does not decrease with p: neither p·(s + 4·log p) for p ≥ 1 nor
    p·(s − 4·log p) below, whose derivative is s − 4 − 4·log p.
    """
    log = torch.where(size > 0, size, 1.0).log().abs()
    return arithmetic.unit * size * (POWER[0] + abs(exponent) + POWER[1] * log)


def representable(arithmetic: Arithmetic, value: float) -> bool:
    """Whether a constant is a number of the arithmetic's type (an infinity is)."""
    kind: torch.dtype | None = getattr(torch, arithmetic.name, None)
    return kind is not None and float(torch.tensor(value, dtype=torch.float64).to(kind)) == value


def worst_power(arithmetic: Arithmetic, exponent: float) -> float:
    """The relative error of any power that does not vanish below tiny."""
    log = -math.log(arithmetic.tiny)
    return arithmetic.unit * (POWER[0] + abs(exponent) + POWER[1] * log)
