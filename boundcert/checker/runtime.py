"""What a float runtime may add at a node, and what is known of a graph before any sample.

The assumptions are those that the documentation states: IEEE 754 arithmetic of the model's
precision or better, sums in any order and grouping, affine nodes fused with affine nodes next to
them by up to :data:`FUSED` roundings of each coefficient, results below the smallest normal number
kept or flushed to 0, library functions as accurate as :mod:`boundcert.checker.curves` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from boundcert.checker.curves import CURVES, UNDER, UNIT
from boundcert.checker.maps import Array, Convolution
from boundcert.checker.nodes import DETOUR, Affine, Bend, Graph, Node

FUSED = 16


@dataclass(frozen=True)
class Runs:
    """Facts of a graph and a norm, worked out once.

    Attributes
    ----------
    run : of affine nodes: the connected run of affine nodes that it belongs to.
    terms, scale : of a run: all that its nodes sum; what its scalings multiply up to.
    gain : of affine nodes: largest sum of |coefficients| of an entry.
    row_norms : nodes whose rows over the input have known dual norms (n,), rounded up; those in
        ``exact`` are not larger than they must be.
    plane : of nodes: how many entries a channel has.
    """

    run: dict[int, int]
    terms: dict[int, int]
    scale: dict[int, float]
    gain: dict[int, float]
    row_norms: dict[int, Array] = field(default_factory=dict)
    exact: frozenset[int] = frozenset()
    plane: dict[int, int] = field(default_factory=dict)
    widest: int = 1


def runs_of(graph: Graph, p: float) -> Runs:
    """The facts for balls of norm p."""
    nodes = graph.nodes
    affine = {k: node for k, node in enumerate(nodes) if isinstance(node, Affine)}
    gain: dict[int, float] = {}
    run = {k: k for k in affine}
    for k, node in affine.items():
        ones = [np.ones(nodes[i].n) for i in node.inputs]
        sums = node.absolute(ones) - node.size
        gain[k] = float(np.max(sums, initial=0.0)) * (1 + 1e-9)
        for i in node.inputs:
            if i in run:
                old = run[i]
                run = {j: run[k] if r == old else r for j, r in run.items()}
    terms = dict.fromkeys(run.values(), 0)
    scale, most = dict.fromkeys(terms, 1.0), dict.fromkeys(terms, 1.0)
    for k, node in affine.items():
        if not node.moves:
            terms[run[k]] += node.terms
            if node.terms == 1:
                scale[run[k]] *= max(gain[k], 1.0)
            else:
                most[run[k]] = max(most[run[k]], gain[k])
    scale = {r: s * most[r] for r, s in scale.items()}
    found = _row_squares(graph)
    if p == math.inf:
        norms = {k: total for k, (total, _) in found.items()}
    else:
        norms = {k: np.sqrt(square) * (1 + 1e-12) + 1e-150 for k, (_, square) in found.items()}
    exact = frozenset(norms) if p != 1.0 else frozenset()
    widest = max(node.n for node in nodes)
    return Runs(run, terms, scale, gain, norms, exact, _planes(nodes), widest)


def _planes(nodes: tuple[Node, ...]) -> dict[int, int]:
    """Of a convolution what it says; behind it the same, as long as values have as many entries."""
    plane: dict[int, int] = {}
    for k, node in enumerate(nodes):
        part = node.maps[0] if isinstance(node, Affine) else None
        same = node.inputs and nodes[node.inputs[0]].n == node.n
        plane[k] = plane[node.inputs[0]] if same else 1
        plane[k] = math.prod(part.out) if isinstance(part, Convolution) else plane[k]
    return plane


def _row_squares(graph: Graph) -> dict[int, tuple[Array, Array]]:
    """Sums of |coefficients| and of squares over the input, where they follow entry by entry.

    Where entries of an operand depend on one input entry each, no two on the same, the entries of
    a row of W meet different ones. A scaled copy of an entry has its row, scaled. Computed from
    terms ≥ 0: within γ of so many operations, which the factors pay for, and of what underflows.
    """
    nodes = graph.nodes
    one = np.ones(nodes[0].n)
    found, apart = {0: (one, one)}, {0}
    for k, node in enumerate(nodes):
        if not isinstance(node, Affine) or len(node.inputs) != 1 or node.inputs[0] not in found:
            continue
        i = node.inputs[0]
        if i in apart or node.terms == 1:
            up = 1 + 4 * (node.terms + 16) * UNIT
            sums, squares = found[i]
            part = node.maps[0]
            lost = UNDER * (1 + squares.max(initial=0.0))
            found[k] = (
                part.forward(sums, np.abs) * up + UNDER,
                part.forward(squares, np.square) * up + lost,
            )
        if i in apart and node.terms == 1 and node.spread == 1:
            apart.add(k)
    del found[0]
    return found


def runtime_error(
    graph: Graph, runs: Runs, k: int, sizes: list[Array], mass: Array | None
) -> Array | None:
    """|computed − exact| (n,) of node k for operands no larger than ``sizes``; None for no error.

    An affine node sums n products and a bias, whose coefficients were made by up to F roundings,
    F = :data:`FUSED` and the terms of the others of its run: γ_{n+F+2}(|W||x| + |b|). Below the
    smallest normal number coefficients, operands, products and sums lose that at a time, which
    what follows in the node may multiply by its largest coefficient, or by :data:`DETOUR`: with τ
    for that many times it, 4F(n + 1)·max(1, ‖W‖)·τ·(1 + ‖W‖ + ‖x‖) in all; and a fused
    coefficient, which acts on a value in front of the node in its run, F(F + N)²τ. A variance
    that loses as much is off by less than u, relative.
    Nothing is known where a number on the way may overflow.
    """
    node = graph.nodes[k]
    unit, tiny, largest = graph.unit, graph.tiny, graph.largest
    if isinstance(node, Bend):
        operand = sizes[node.inputs[0]]
        a = float(np.abs(node.a).max(initial=0.0))
        factor = CURVES[node.name].accuracy(a, node.b)
        if not any(factor):
            return None
        out = CURVES[node.name].value(operand, node.a, node.b)
        out = np.maximum(np.abs(out), np.abs(CURVES[node.name].value(-operand, node.a, node.b)))
        error = unit * (factor[0] * operand + factor[1] * out + factor[2])
        error = error + 8 * tiny * (1 + a) * (1 + abs(node.b))
        faint = (node.a != 0) & (np.abs(node.a) < tiny)
        sure = (operand <= largest) & (out <= largest) & ~faint.any()
        return np.where(sure & (error >= 0), error * (1 + 1e-9), np.inf)
    if not isinstance(node, Affine) or node.moves:
        return None
    assert mass is not None
    run, gain = runs.run[k], runs.gain[k]
    terms, fused = max(node.terms, 1), FUSED + runs.terms[run] - node.terms
    tiny, largest = tiny * DETOUR, largest / DETOUR
    count = (terms + fused + 3) * unit
    size = max(float(sizes[i].max(initial=0.0)) for i in node.inputs)
    ahead = [j for j, r in runs.run.items() if r == run and j <= k]
    most = max(float(sizes[i].max(initial=0.0)) for j in ahead for i in graph.nodes[j].inputs)
    centre = float(node.size.max(initial=0.0))
    lost = 4 * fused * (terms + 1) * max(gain, 1.0) * tiny * (1 + gain + size + centre)
    lost = lost + 4 * fused * (fused + runs.terms[run]) ** 2 * tiny * (most + centre)
    error = mass * (count / (1 - count)) + lost
    fits = max(size, most, centre, gain, runs.scale[run]) <= largest and count < 0.25
    sure = (mass * terms <= largest) & fits & (error >= 0)
    return np.where(sure, error * (1 + 1e-9), np.inf)
