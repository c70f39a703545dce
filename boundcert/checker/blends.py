"""Highway gates: t·h + (1 − t)·x, read as x + t·(h − x).

As two products it forgets that what one gate lets in the other keeps out.
"""

from __future__ import annotations

import numpy as np

from boundcert.checker.maps import Array, Pick
from boundcert.checker.nodes import Affine, Graph, Node, Product
from boundcert.checker.runtime import FUSED, multiplied


def blend(k: int, nodes: list[Node], plain: set[int]) -> tuple[int, int, int] | None:
    """t, h and x of a node that is t·h + (1 − t)·x; None if it is not."""
    node = nodes[k]
    if k not in plain or factors(node) != (1.0, 1.0):
        return None
    for i, j in (node.inputs, node.inputs[::-1]):
        one, other = nodes[i].inputs, nodes[j].inputs
        if not (isinstance(nodes[i], Product) and isinstance(nodes[j], Product)):
            return None
        for c, x in (other, other[::-1]):
            for t, h in (one, one[::-1]):
                # of that very t, whose errors are its own
                if c in plain and nodes[c].inputs == (t,) and numbers(nodes[c]) == (-1.0, 1.0):
                    return t, h, x
    return None


def blended(n: int, t: int, h: int, x: int, count: int) -> list[Node]:
    """The nodes of it, the first of them number ``count``."""
    one, zero = np.arange(n), np.zeros(n)
    apart = (Pick(one, n), Pick(one, n, -1.0))
    whole = (Pick(one, n), Pick(one, n))
    return [
        Affine(n, (h, x), apart, zero, zero, moves=True, free=True),
        Product(n, (t, count), free=True),
        Affine(n, (x, count + 1, t, h), whole, zero, zero, moves=True, rounds=rounded),
    ]


def rounded(graph: Graph, terms: int, sizes: list[Array]) -> Array:
    """γ of |t||h| + (1 + |t|)|x|, and tiny of t, 1 − t, h, x and of each product.

    That is of 1 − t, both products and their sum, which may be fused into the sums that read it.
    """
    x, _, t, h = sizes
    total, lost = t * h + (1 + t) * x, 8 * (2 + t + h + x)
    return multiplied(graph, FUSED + 6 + terms, total, lost)


def factors(node: Node) -> tuple[float, ...] | None:
    """Of every operand, where entries are weighted alike and nothing else is added."""
    if not isinstance(node, Affine) or node.bias.any() or node.size.any():
        return None
    found = [_factor(part, node.n) for part in node.maps]
    return tuple(f for f in found if f is not None) if None not in found else None


def _factor(part: object, n: int) -> float | None:
    same = isinstance(part, Pick) and part.n == n == len(part.index) > 0
    if not same or not isinstance(part, Pick) or (part.index != np.arange(n)).any():
        return None
    first = float(part.factor[0])
    return first if bool((part.factor == first).all()) else None


def numbers(node: Node) -> tuple[float, float] | None:
    """w and s of an affine node w·x + s, the same for all entries."""
    if not isinstance(node, Affine) or len(node.maps) != 1:
        return None
    w, s = _factor(node.maps[0], node.n), float(node.bias[0])
    if w is None or not bool((node.bias == s).all() and (node.size == abs(s)).all()):
        return None
    return w, s
