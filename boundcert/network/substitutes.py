"""What a runtime may compute in place of what is written.

A graph optimiser replaces groups of nodes by one of its own (:mod:`boundcert.network.fused`), and
the head behind the logits is computed in the model's own precision
(:mod:`boundcert.network.heads`). Either way the value that a runtime has at some tensor may differ
from the written one by more than the rounding of its node. A :class:`Substitute` says by how much;
the difference counts as an error of that node, in every bound about the deployed network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.relaxation import Box

#: (arithmetic, box of the root's value, None without a root) → a bound that broadcasts to
#: (B, *shape of the tensor); inf or nan where nothing is known.
Difference = Callable[[Arithmetic, Box | None], torch.Tensor]


@dataclass(frozen=True)
class Substitute:
    """A value that a runtime may get in another way.

    Attributes
    ----------
    tensor : name of the value in the model.
    root : name of the value in front of it that the difference depends on, None for none.
    difference : bounds |what may be computed − what is written|, entry by entry, for operands
        anywhere in the root's box.
    why : what is put in its place, in a few words.
    """

    tensor: str
    root: str | None
    difference: Difference
    why: str
