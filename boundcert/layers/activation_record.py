"""What is known of one elementwise activation: one entry of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from boundcert.layers.activation_accuracy import Accuracy
from boundcert.layers.base import NodeSpec

Zone = tuple[float, float, float]
Piece = tuple[float, float, int]
Parameters = tuple[float, float]


def at(point: float, value: float) -> Zone:
    """A zone that is one point."""
    return (point, point, value)


@dataclass(frozen=True)
class Activation:
    """What is known of one activation.

    Attributes
    ----------
    code : its code in :mod:`kernels.scalar`.
    accuracy : what a runtime's result may be off by (:mod:`activation_accuracy`).
    function : (x, a, b) → g(x), differentiable, accurate to 16 ulp of |x| + |g(x)|.
    parameters : reads (a, b) from the node.
    zones : critical zones of g' for given parameters.
    smooth : True where g″ exists and is bounded everywhere (FC-Taylor applies).
    bends : critical zones of g″ of smooth activations, for given parameters.
    pieces : for given parameters the intervals (start, end, sign), in order, that make up the
        domain: g is convex (1), concave (−1), linear (0) or of |g″| ≤ 2 (2) on each. A kink lies
        between pieces, or inside one of sign ±1. Only the end points of the domain may be poles,
        and a pole inside it separates two pieces.
    """

    code: int
    accuracy: Accuracy
    function: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    parameters: Callable[[NodeSpec], Parameters] = lambda spec: (0.0, 0.0)
    zones: Callable[[float, float], list[Zone]] = lambda a, b: []
    smooth: bool = False
    bends: Callable[[float, float], list[Zone]] = lambda a, b: []
    pieces: Callable[[float, float], list[Piece]] = lambda a, b: []
