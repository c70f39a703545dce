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

from boundcert.checker.curves import CURVES
from boundcert.checker.maps import Array, Convolution
from boundcert.checker.nodes import DETOUR, Affine, Bend, Graph, Node, Product
from boundcert.checker.rounding import UNDER, UNIT

FUSED = 16


@dataclass(frozen=True)
class Runs:
    """Facts of a graph and a norm, worked out once.

    Attributes
    ----------
    run : of affine nodes that a runtime computes: the connected run of such that it belongs to.
    terms, scale : of a run: all that its nodes sum; what its scalings multiply up to.
    gain : of affine nodes: largest sum of |coefficients| of an entry.
    row_norms : nodes whose rows over the input have known dual norms (n,), rounded up; those in
        ``exact`` are not larger than they must be.
    plane : of nodes: how many entries a channel has.
    behind : of nodes that are read by a run: most terms of one.
    """

    run: dict[int, int]
    terms: dict[int, int]
    scale: dict[int, float]
    gain: dict[int, float]
    row_norms: dict[int, Array] = field(default_factory=dict)
    exact: frozenset[int] = frozenset()
    plane: dict[int, int] = field(default_factory=dict)
    behind: dict[int, int] = field(default_factory=dict)
    widest: int = 1


def runs_of(graph: Graph, p: float) -> Runs:
    """The facts for balls of norm p."""
    nodes = graph.nodes
    affine = {
        k: node
        for k, node in enumerate(nodes)
        if isinstance(node, Affine) and not node.free and node.rounds is None
    }
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
    behind: dict[int, int] = {}
    for k, node in affine.items():
        for i in node.inputs:
            behind[i] = max(behind.get(i, 0), terms[run[k]])
    return Runs(run, terms, scale, gain, norms, exact, _planes(nodes), behind, widest)


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


def _bend_error(node: Bend, graph: Graph, low: Array, high: Array) -> Array | None:
    """What :class:`~boundcert.checker.curve.Accuracy` says, and some tiny, over a box.

    |σ| is largest at an end, or at one of ± the larger: σ rises, or |σ| on either side of 0; next
    to a pole nothing is known. With s ≥ 64 nor does p·(s + 4|log p|) fall as p grows: its
    derivative for p < 1 is s − 4 − 4·log p. Where an operand is multiplied by a function of itself,
    in whatever order, factors may be up to four times as large, and lose 64 tiny: what it is
    multiplied by in up to three steps loses tiny each, later factors make up to eight times as much
    of that, and all is told of twice the value at least (:mod:`boundcert.checker.gates`). An
    operand below tiny may be read as 0.
    """
    curve, unit, tiny = CURVES[node.name], graph.unit, graph.tiny
    a = float(np.abs(node.a).max(initial=0.0))
    b = abs(node.b) if math.isfinite(node.b) else 0.0
    factor = curve.accuracy(a, node.b)
    if node.free or not any(factor):
        return None
    operand, least = np.maximum(np.abs(low), np.abs(high)), np.maximum(low, -high)
    ends = (operand, -operand) if curve.dips else (low, high)
    out = np.maximum(*(np.abs(curve.value(x, node.a, node.b)) for x in ends))
    log = np.abs(np.log(np.where(out > 0, out, 1.0)))
    error = factor.operand * operand + factor.output * out + factor.constant
    error = unit * (error + factor.logarithm * out * log)
    error = error + 8 * tiny * (1 + a) * (1 + b) + (64 * tiny if curve.gates else 0.0)
    vanishing = curve.vanishing(float(node.a.ravel()[0]), tiny)
    error = error + np.where(least < tiny, vanishing, 0.0)
    faint = ((node.a != 0) & (np.abs(node.a) < tiny)).any() or 0 < b < tiny
    sure = (operand * (4 if curve.gates else 1) <= graph.largest) & (out <= graph.largest)
    return np.where(sure & (not faint) & (error >= 0), error * (1 + 1e-8), np.inf)


def multiplied(graph: Graph, terms: int, total: Array, lost: Array) -> Array:
    """γ of so many terms of ``total``, which is of magnitudes, and tiny times ``lost``.

    A scaling may be fused into a product, and what is lost be multiplied by that, or overflow.
    """
    count = terms * graph.unit
    error = total * (count / (1 - count)) + lost * graph.tiny * DETOUR
    most = np.maximum(total, lost)
    sure = (most <= graph.largest / DETOUR) & (error >= 0) & (count < 0.25)
    return np.where(sure, error * (1 + 1e-8), np.inf)


def runtime_error(
    graph: Graph,
    runs: Runs,
    k: int,
    sizes: list[Array],
    mass: Array | None,
    box: tuple[Array, Array] | None = None,
) -> Array | None:
    """|computed − exact| (n,) of node k for operands no larger than ``sizes``; None for no error.

    ``mass`` is that of an affine node, ``box`` the ends of an activation's operand.

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
    if isinstance(node, Bend):
        operand = sizes[node.inputs[0]]
        return _bend_error(node, graph, *((-operand, operand) if box is None else box))
    if isinstance(node, Product):
        u, v = (sizes[i] for i in node.inputs)
        return None if node.free else multiplied(graph, FUSED + 2, u * v, 4 * (1 + u + v))
    if isinstance(node, Affine) and node.rounds is not None:
        return node.rounds(graph, runs.behind.get(k, 0), [sizes[i] for i in node.inputs])
    if not isinstance(node, Affine) or node.moves:
        return None
    assert mass is not None
    unit, tiny, largest = graph.unit, graph.tiny, graph.largest
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
