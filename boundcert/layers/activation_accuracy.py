"""How accurately runtimes evaluate an activation: rules for the entries of the table.

Measured in float32, onnxruntime 1.31 and torch 2.13 on a million points each and more, worst in u;
the constants of the table are at least twice that. Relative to the output: Tanh 5.4, Softplus 5.8,
Softsign 2.5, Erf 1.4, Exp 1.3, LeakyRelu 1, Log 4.1, Sqrt 1.1, Reciprocal 1, Pow 2. Relative to the
operand: Gelu 6 (torch; 2), with tanh 3.3, HardSwish 1.6 (2.5 of the output in torch). Absolute:
Sigmoid 2.8 (and 2.5 relative in torch), HardSigmoid 0.8; Elu, Selu and Celu 1.7 alpha, as
onnxruntime subtracts 1 from an exponential, and 2.8 of the output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.relaxation import Box
from boundcert.layers.runtime_bounds import (
    least,
    power_error,
    quotient_error,
    representable,
    settled,
)


@dataclass(frozen=True)
class Use:
    """An activation in use: its operand, a bound on |output| over that, and its parameters.

    Where parameters are one an entry, ``a`` is the largest magnitude, ``faint`` the smallest one
    of either parameter that is not 0.
    """

    box: Box
    out: torch.Tensor
    a: float
    b: float
    faint: float


#: Bound on a runtime's error, entry by entry; None: none.
Accuracy = Callable[[Arithmetic, Use], torch.Tensor | None]


def within(
    operand: float = 0.0,
    output: float = 0.0,
    constant: float | Callable[[float, float], float] = 0.0,
) -> Accuracy:
    """u·(i·|operand| + o·|output| + c), and tiny of what the formula has on its way.

    ``constant`` may depend on the parameters' magnitudes. A parameter may be read as 0 if it is
    smaller than tiny; nothing is known then.
    """

    def rule(arithmetic: Arithmetic, use: Use) -> torch.Tensor:
        a, b, size = abs(use.a), abs(use.b), use.box.magnitude
        more = constant(a, b) if callable(constant) else constant
        share = arithmetic.unit * (operand * size + output * use.out + more)
        error = share + 8 * arithmetic.tiny * (1 + a) * (1 + b)
        known = size.new_tensor(0.0 if use.faint >= arithmetic.tiny else torch.inf)
        return settled(arithmetic, error, size, use.out, known)

    return rule


def gated(operand: float, output: float) -> Accuracy:
    """:func:`within` of x·h(x), also where it is written out as factors, in whatever order.

    Those may be up to four times as large as the operand, and lose 64 tiny: what the operand is
    multiplied by in up to three steps loses tiny each, later factors make up to eight times as much
    of it, and all is told of twice the value at least (:mod:`boundcert.network.gates`). What gates
    lose is in proportion to the operand: some tiny, less than the unit.
    """
    plain = within(operand, output)

    def rule(arithmetic: Arithmetic, use: Use) -> torch.Tensor | None:
        error = plain(arithmetic, use)
        assert error is not None
        return settled(arithmetic, error + 64 * arithmetic.tiny, 4 * use.box.magnitude)

    return rule


def exact(arithmetic: Arithmetic, use: Use) -> None:
    """Picks one of the operand, its negative and 0."""


def bounds(arithmetic: Arithmetic, use: Use) -> torch.Tensor | None:
    """Picks the operand or a parameter: exact where the arithmetic's type has got that."""
    finite = [p for p in (use.a, use.b) if not representable(arithmetic, p)]
    if not finite:
        return None
    error = torch.full_like(use.out, max(map(abs, finite)) * arithmetic.unit + arithmetic.tiny)
    return settled(arithmetic, error, use.box.magnitude, use.out)


def power(arithmetic: Arithmetic, use: Use) -> torch.Tensor:
    """x^a: what a power costs, and where x may be read as 0 what that makes of it.

    x^a is 0 then, off by tiny^min(a, 1) (tiny < 1), or has no bound for a < 0. A huge x^|a| that
    overflows gives 0 for x^a, off by 1/largest ≤ 4 tiny.
    """
    tiny = arithmetic.tiny
    lost = tiny ** min(use.a, 1.0) if use.a > 0 else 0.0 if use.a == 0 else torch.inf
    vanishing = torch.where(least(use.box) < tiny, lost, 0.0)
    error = power_error(arithmetic, use.a, use.out) + vanishing + 8 * tiny
    return settled(arithmetic, error, use.box.magnitude, use.out)


def root(arithmetic: Arithmetic, use: Use) -> torch.Tensor:
    """√x, maybe as x times a rounded 1/√x (1.1u measured); √tiny where x may be read as 0."""
    vanishing = torch.where(least(use.box) < arithmetic.tiny, arithmetic.tiny**0.5, 0.0)
    error = 4 * arithmetic.unit * use.out + vanishing + 4 * arithmetic.tiny
    return settled(arithmetic, error, use.box.magnitude, use.out)


def inverse(arithmetic: Arithmetic, use: Use) -> torch.Tensor:
    """1/x."""
    return quotient_error(arithmetic, 1.0, least(use.box))


def logarithm(arithmetic: Arithmetic, use: Use) -> torch.Tensor:
    """10u relative (4.1u measured), and 2u; not below tiny."""
    error = arithmetic.unit * (10 * use.out + 2)
    known = torch.where(least(use.box) >= arithmetic.tiny, 0.0, torch.inf)
    return settled(arithmetic, error, use.box.magnitude, known)
