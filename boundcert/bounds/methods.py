"""The certification methods by name, behind one contract: a new one is one file and one entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch

from boundcert.bounds.propagate import Evaluation
from boundcert.clip import Clip
from boundcert.errors import UsageError
from boundcert.layers.arithmetic import Arithmetic
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
    rungs : B names of the methods that proved them.
    kappa : (B, stages) how far the value in front of each stage may be moved without changing
        the class: the first column is the input, the last the distance at the affine head. The
        methods above the walk hand on the walk's.
    """

    radius: torch.Tensor
    kappa: torch.Tensor
    rungs: tuple[str, ...]

    def raised(self, radius: torch.Tensor, rung: str) -> Bounds:
        """The bounds with larger radii where ``rung`` proved such; a nan proves nothing."""
        better = (radius > self.radius) & radius.isfinite()
        names = zip(self.rungs, better.tolist())
        return Bounds(
            torch.where(better, radius, self.radius),
            self.kappa,
            tuple(rung if higher else old for old, higher in names),
        )


@dataclass(frozen=True)
class Limits:
    """What a method may spend.

    Attributes
    ----------
    budget : seconds a sample that methods which take their time may use.
    memory : bytes that the tight methods' boxes and rows may take; None: half of what is free.
    """

    budget: float = 10.0
    memory: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.budget < math.inf:
            raise UsageError(f"budget {self.budget} must be a number of seconds, 0 or more")
        if self.memory is not None and self.memory <= 0:
            raise UsageError(f"memory {self.memory} must be a positive number of bytes")


@dataclass(frozen=True)
class About:
    """What radii are about; a method may also prove more than that.

    Attributes
    ----------
    clip : the range that perturbed inputs stay in; None: they may be anything.
    arithmetic : that a runtime evaluates the network in; None: the network in exact arithmetic.
    """

    clip: Clip | None = None
    arithmetic: Arithmetic | None = None


#: Exact arithmetic, whatever the input.
ANY = About()


class Bounder(Protocol):
    """A method made ready for one network and norm."""

    @property
    def stages(self) -> tuple[Stage, ...]: ...

    def __call__(self, evaluation: Evaluation, label: torch.Tensor) -> Bounds: ...


class Prepare(Protocol):
    """Makes a method ready; see :class:`Method`."""

    def __call__(
        self, network: Network, norm: Norm, limits: Limits, about: About = ANY
    ) -> Bounder: ...


@dataclass(frozen=True)
class Method:
    """An entry of the table.

    Attributes
    ----------
    certified : whether its radii are proved lower bounds. If not, every output says so.
    prepare : makes it ready for a network and a norm (operator norms are computed here), with
        the limits that it is to respect and what its radii are to be about.
    """

    name: str
    certified: bool
    summary: str
    prepare: Prepare


def _walk(network: Network, norm: Norm, limits: Limits, about: About = ANY) -> Bounder:
    from boundcert.bounds.walk import Walk

    return Walk(network, norm, about.arithmetic)


def _relax(network: Network, norm: Norm, limits: Limits, about: About = ANY) -> Bounder:
    from boundcert.bounds.relax import RELAX, Ladder

    return Ladder(network, norm, limits, (RELAX,), False, about)


def _optimize(network: Network, norm: Norm, limits: Limits, about: About = ANY) -> Bounder:
    from boundcert.bounds.relax import CLIMB, Ladder

    return Ladder(network, norm, limits, CLIMB, False, about)


def _auto(network: Network, norm: Norm, limits: Limits, about: About = ANY) -> Bounder:
    from boundcert.bounds.relax import CLIMB, Ladder

    return Ladder(network, norm, limits, CLIMB, True, about)


def _peck2017(network: Network, norm: Norm, limits: Limits, about: About = ANY) -> Bounder:
    from boundcert.bounds.peck2017 import Peck2017

    return Peck2017(network, norm)


METHODS = {
    m.name: m
    for m in (
        Method("walk", True, "layer-by-layer moduli, backward from the logits", _walk),
        Method("auto", True, "walk, relax, optimize, within the budget", _auto),
        Method("relax", True, "backward linear relaxation, above the walk", _relax),
        Method("optimize", True, "relaxation with multipliers for the 2-norm", _optimize),
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
