"""What a network is for the checker: flat values, made by nodes of five kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from boundcert.checker.maps import Array, Map

#: What a runtime comes by on its way to an affine node's result may be so many times larger than
#: what the node is made of, and what it loses there be multiplied by as much.
DETOUR = 2.0**30


class NotUnderstood(Exception):
    """A model or a certificate that the checker takes no stand on; the message says why."""


class Rounds(Protocol):
    """Bounds on what a runtime may be off by."""

    def __call__(self, graph: Graph, terms: int, sizes: list[Array]) -> Array:
        """(n,) for operands no larger than ``sizes``, read by a run of so many terms."""
        ...


@dataclass(frozen=True)
class Input:
    """The sample."""

    n: int
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Affine:
    """Σ W_i x_i + b.

    Attributes
    ----------
    size : (n,) at least |b|, and what was added up to make it.
    moves : entries are only moved about, or left out: no runtime rounds anything. So it is of what
        no runtime computes, too.
    rounds : what a runtime may be off by here, where it computes the same from other values: those
        behind the ones that are summed in ``inputs``.
    free : no runtime computes it.
    """

    n: int
    inputs: tuple[int, ...]
    maps: tuple[Map, ...]
    bias: Array
    size: Array
    moves: bool = False
    rounds: Rounds | None = None
    free: bool = False

    @property
    def terms(self) -> int:
        """Most products that one entry sums."""
        return sum(part.terms for part in self.maps)

    @property
    def spread(self) -> int:
        """Most products that one entry of an operand takes part in."""
        return max(part.spread for part in self.maps)

    def absolute(self, sizes: Sequence[Array]) -> Array:
        """Σ |W_i| s_i + |b|."""
        total = self.size.copy()
        for part, size in zip(self.maps, sizes):
            total = total + part.forward(size, np.abs)
        return total


@dataclass(frozen=True)
class Bend:
    """σ(x_i), see :mod:`boundcert.checker.curves`; ``free``: no runtime computes it."""

    n: int
    inputs: tuple[int, ...]
    name: str
    a: Array
    b: float
    free: bool = False


@dataclass(frozen=True)
class Maximum:
    """max over ``table`` (n, entries) of x, −1 for none."""

    n: int
    inputs: tuple[int, ...]
    table: NDArray[np.int64]


@dataclass(frozen=True)
class Product:
    """u·v, entry by entry; ``free``: no runtime computes it."""

    n: int
    inputs: tuple[int, ...]
    free: bool = False


Node = Input | Affine | Bend | Maximum | Product


def altered(node: Node, inputs: tuple[int, ...], **changes: Any) -> Node:
    """The node with other operands."""
    return type(node)(**{**vars(node), "inputs": inputs, **changes})


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, the input first, the logits last; the greatest logit wins.

    ``unit``, ``tiny`` and ``largest`` are those of the arithmetic that a runtime computes it in.
    """

    nodes: tuple[Node, ...]
    unit: float
    tiny: float
    largest: float
