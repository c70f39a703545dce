"""Cut the graph into blocks with one entry and one exit."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from boundcert.layers.affine import Affine
from boundcert.network.graph import Network


@dataclass(frozen=True)
class Segment:
    """Nodes ``nodes`` compute the value ``exit`` from the value ``entry`` alone."""

    entry: int
    exit: int
    nodes: tuple[int, ...]


def cut_points(network: Network) -> list[int]:
    """Nodes that every path from the input to the logits passes through, in order.

    In a topological order whose nodes all lie on such paths, node v is one exactly when no edge
    jumps over it: an edge u → w with u < v < w is a way around v, and a path that avoids v must
    take one.
    """
    furthest, cuts = 0, []
    readers: dict[int, int] = {}
    for k, node in enumerate(network.nodes):
        for i in node.inputs:
            readers[i] = max(readers.get(i, 0), k)
    for k in range(len(network.nodes)):
        if furthest <= k:
            cuts.append(k)
        furthest = max(furthest, readers.get(k, k))
    return cuts


def segments(network: Network) -> list[Segment]:
    """The blocks between successive cut points, from the input on.

    A layer whose modulus is better with elementwise bounds on its input joins the block of the
    affine layer in front of it, which knows how far each of its outputs can move.
    """
    cuts = cut_points(network)
    blocks: list[Segment] = []
    for entry, exit_ in itertools.pairwise(cuts):
        block = Segment(entry, exit_, tuple(range(entry + 1, exit_ + 1)))
        layer = network.nodes[exit_].layer
        if blocks and len(block.nodes) == 1 and layer is not None and layer.wants_reach:
            last = blocks[-1]
            if _hands_reach(network, last):
                block = Segment(last.entry, exit_, last.nodes + block.nodes)
                blocks.pop()
        blocks.append(block)
    return blocks


def _hands_reach(network: Network, block: Segment) -> bool:
    """Whether a block ends in an affine layer, maybe followed by plain reshapes."""
    layer = network.nodes[block.exit].layer
    return isinstance(layer, Affine) and layer.gain_is_row_bound


def head_start(network: Network) -> int:
    """The cut point from which only affine layers lead to the logits."""
    cuts = cut_points(network)
    start = cuts[-1]
    for entry, exit_ in zip(reversed(cuts[:-1]), reversed(cuts[1:])):
        if exit_ != entry + 1 or not isinstance(network.nodes[exit_].layer, Affine):
            break
        start = entry
    return start
