"""The three perturbation norms, their duals, and exact vector norms in float64."""

from __future__ import annotations

import enum
import math

import torch

from boundcert.errors import UsageError


def flat(x: torch.Tensor) -> torch.Tensor:
    """A row a sample, (B, …) → (B, n), also where a sample is one number, of shape ()."""
    return x.unsqueeze(-1).flatten(1)


class Norm(enum.Enum):
    """An Lp norm on perturbations; ``value`` is the name used in files and on the command line."""

    L1 = "l1"
    L2 = "l2"
    LINF = "linf"

    @property
    def p(self) -> float:
        """The exponent: 1.0, 2.0 or inf."""
        return {"l1": 1.0, "l2": 2.0, "linf": math.inf}[self.value]

    @property
    def dual(self) -> Norm:
        """The norm with 1/p + 1/q = 1, the one Hölder's inequality pairs with this."""
        return {Norm.L1: Norm.LINF, Norm.L2: Norm.L2, Norm.LINF: Norm.L1}[self]

    @classmethod
    def of(cls, value: Norm | str | float) -> Norm:
        """Read ``'l2'``, ``2``, ``2.0``, ``inf``, ``'inf'``, … as a norm.

        Raises
        ------
        UsageError
            The value names no supported norm.
        """
        if isinstance(value, Norm):
            return value
        text = str(value).strip().lower()
        known = {
            "l1": cls.L1,
            "1": cls.L1,
            "1.0": cls.L1,
            "l2": cls.L2,
            "2": cls.L2,
            "2.0": cls.L2,
            "linf": cls.LINF,
            "inf": cls.LINF,
            "infinity": cls.LINF,
        }
        if text not in known:
            raise UsageError(f"norm {value!r} is not supported; use l1, l2 or linf")
        return known[text]

    def of_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Norm of each sample, shape (B, …) → (B,), overflow-free for p = 2."""
        rows = flat(x)
        if rows.shape[1] == 0:
            return rows.new_zeros(rows.shape[0])
        if self is not Norm.L2:
            return torch.linalg.vector_norm(rows, ord=self.p, dim=1)
        plain = torch.linalg.vector_norm(rows, dim=1)
        if bool(((plain > 1e-140) & (plain < 1e140)).all()):
            return plain
        scale = rows.abs().amax(dim=1, keepdim=True)
        safe = torch.where(scale > 0, scale, torch.ones_like(scale))
        return scale[:, 0] * torch.linalg.vector_norm(rows / safe, dim=1)
