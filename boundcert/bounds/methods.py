"""The certification methods by name, behind one contract: a new one is one file and one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from boundcert.bounds.propagate import Evaluation
from boundcert.errors import UsageError
from boundcert.network.graph import Network
from boundcert.norms import Norm


@dataclass(frozen=True)
class Stage:
    """A block of layers as reports show it: node names and operators, in order."""

    name: str
    op: str


@dataclass(frozen=True)
class Bounds:
    """What a method says of a batch.

    Attributes
    ----------
    radius : (B,) lower bounds (certified, unless the method says otherwise); 0 where none.
    kappa : (B, stages) how far the value in front of each stage may be moved without changing
        the class: the first column is the input, the last the distance at the affine head.
    """

    radius: torch.Tensor
    kappa: torch.Tensor


class Bounder(Protocol):
    """A method made ready for one network and norm."""

    @property
    def stages(self) -> tuple[Stage, ...]: ...

    def __call__(self, evaluation: Evaluation, label: torch.Tensor) -> Bounds: ...


@dataclass(frozen=True)
class Method:
    """An entry of the table.

    Attributes
    ----------
    certified : whether its radii are proved lower bounds. If not, every output says so.
    prepare : makes it ready for a network and a norm (operator norms are computed here).
    """

    name: str
    certified: bool
    summary: str
    prepare: Callable[[Network, Norm], Bounder]


def _walk(network: Network, norm: Norm) -> Bounder:
    from boundcert.bounds.walk import Walk

    return Walk(network, norm)


def _peck2017(network: Network, norm: Norm) -> Bounder:
    from boundcert.bounds.peck2017 import Peck2017

    return Peck2017(network, norm)


METHODS = {
    m.name: m
    for m in (
        Method("walk", True, "layer-by-layer moduli, backward from the logits", _walk),
        Method(
            "peck2017",
            False,
            "the 2017 dissertation's theorems as printed: NOT A CERTIFICATE",
            _peck2017,
        ),
    )
}


def method(name: str) -> Method:
    """The method of that name.

    Raises
    ------
    UsageError
        No such method.
    """
    if name not in METHODS:
        raise UsageError(f"method {name!r} is unknown; use {' or '.join(METHODS)}")
    return METHODS[name]
