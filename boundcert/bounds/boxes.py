"""Boxes of a network's nodes, each made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from boundcert.layers.relaxation import Box


class ByNode(Protocol):
    """A box for every node that is asked for."""

    def __getitem__(self, k: int, /) -> Box: ...


class Boxes:
    """Boxes by node: those that were put here, and those that ``make`` makes, once each."""

    def __init__(self, make: Callable[[int], Box] | None = None) -> None:
        self._make, self._made = make, dict[int, Box]()

    def __getitem__(self, k: int, /) -> Box:
        if k not in self._made:
            if self._make is None:
                raise KeyError(k)
            self._made[k] = self._make(k)
        return self._made[k]

    def __setitem__(self, k: int, box: Box) -> None:
        self._made[k] = box
