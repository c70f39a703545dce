"""The checker's graphs evaluated, and attacked, at points: what its bounds are held against."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from boundcert.checker.ball import Ball
from boundcert.checker.curves import CURVES
from boundcert.checker.lines import Lines, windows
from boundcert.checker.nodes import Affine, Bend, Graph, Input, Maximum, Node, Product
from boundcert.checker.proof import Proof
from boundcert.checker.runtime import runtime_error

Array = np.ndarray


def values(graph: Graph, x: Array, errors: Mapping[int, Array] | None = None) -> list[Array]:
    """Of all nodes at x, with errors added on the way."""
    found: list[Array] = []
    for k, one in enumerate(graph.nodes):
        value = x if isinstance(one, Input) else _value(one, [found[i] for i in one.inputs])
        found.append(value + (errors or {}).get(k, 0.0))
    return found


def _value(node: Node, operands: list[Array]) -> Array:
    if isinstance(node, Affine):
        return node.bias + sum(part.forward(x) for part, x in zip(node.maps, operands))
    if isinstance(node, Bend):
        return CURVES[node.name].value(operands[0], node.a, node.b)
    if isinstance(node, Product):
        return operands[0] * operands[1]
    assert isinstance(node, Maximum)
    return _window(operands[0], node).max(axis=1)


def _window(x: Array, node: Maximum) -> Array:
    return np.where(node.table >= 0, x[node.table], -np.inf)


def gradients(graph: Graph, found: list[Array], row: Array) -> dict[int, Array]:
    """Of row·(last value) with respect to the value of every node."""
    waiting = {len(found) - 1: row, 0: np.zeros(graph.nodes[0].n)}
    for k in range(len(found) - 1, 0, -1):
        node, rows = graph.nodes[k], waiting.get(k, np.zeros(graph.nodes[k].n))
        if isinstance(node, Affine):
            parts = [part.transpose(rows[None])[0] for part in node.maps]
        elif isinstance(node, Bend):
            x, h = found[node.inputs[0]], 1e-6
            ends = (CURVES[node.name].value(x + s * h, node.a, node.b) for s in (1, -1))
            parts = [rows * np.subtract(*ends) / (2 * h)]
        elif isinstance(node, Product):
            i, j = node.inputs[:2]
            parts = [rows * found[j], rows * found[i]]
        else:
            assert isinstance(node, Maximum)
            parts, top = (
                [np.zeros(graph.nodes[node.inputs[0]].n)],
                _window(found[node.inputs[0]], node).argmax(axis=1),
            )
            np.add.at(parts[0], node.table[np.arange(node.n), top], rows)
        for i, part in zip(node.inputs, parts):
            waiting[i] = waiting.get(i, np.zeros(graph.nodes[i].n)) + part
    return waiting


def points(graph: Graph, ball: Ball, label: int, seed: int, count: int = 4) -> Iterator[Array]:
    """Of a ball: the sample, random ones, and such as lower the margin to each rival."""
    rng, n = np.random.default_rng(seed), graph.nodes[0].n
    yield ball.x
    for _ in range(count):
        yield _inside(ball, rng.standard_normal(n) * rng.choice([1.0, 1e-3], n))
    for row in np.eye(graph.nodes[-1].n)[label] - np.eye(graph.nodes[-1].n):
        x = ball.x
        for _ in range(2 if row.any() else 0):
            down = -gradients(graph, values(graph, x), row)[0]
            x = _inside(ball, down + 1e-3 * np.abs(down).max() * rng.standard_normal(n))
            yield x


def _inside(ball: Ball, direction: Array) -> Array:
    """As far that way as the ball goes, in its range."""
    if ball.p == 1.0:
        direction = np.where(np.abs(direction) == np.abs(direction).max(), direction, 0.0)
    if ball.p == np.inf:
        direction = np.sign(direction)
    size = np.linalg.norm(direction, ball.p)
    x = ball.x + direction * (ball.radius * (1 - 1e-12) / size if size > 0 else 0.0)
    return x if ball.clip is None else np.clip(x, *ball.clip)


def _assert_between(node: Node, lines: Lines, z: Array) -> None:
    """Maxima lie between their lines, or what shares of their entries add up to."""
    assert isinstance(node, Maximum) and lines.shares is not None
    assert lines.below_at is not None and lines.above_at is not None
    top, slack = windows(z, node.table).max(axis=1), 1e-11 * (1 + np.abs(z).max())
    shared = [sum(pick.forward(z) for pick in share.picks) for share in lines.shares]
    below = lines.below_slope * z[lines.below_at.index] + shared[0] + lines.below
    above = lines.above_slope * z[lines.above_at.index] + shared[1] + lines.above
    assert not (below > top + slack).any() and not (above < top - slack).any()


def assert_holds(proof: Proof, label: int, seed: int) -> None:
    """Boxes, 2-norms and margins hold in the ball, for whatever errors a runtime may make."""
    graph, ball = proof.graph, proof.ball
    base, slope = proof.margins(label)
    rows = np.eye(graph.nodes[-1].n)[label] - np.delete(np.eye(graph.nodes[-1].n), label, axis=0)
    rng = np.random.default_rng(seed)
    finite = {k: np.where(np.isfinite(e), e, 0.0) for k, e in proof.error.items()}
    for x in points(graph, ball, label, seed):
        if proof.deployed:
            _assert_errors(proof, values(graph, x))
        move = np.linalg.norm(x - ball.x, ball.p)
        for found in _erring(graph, x, rows, finite, rng):
            for k, value in enumerate(found):
                slack = 1e-11 * (1 + np.abs(value).max(initial=0.0))
                assert not (value < proof.low[k] - slack).any(), (k, graph.nodes[k])
                assert not (value > proof.high[k] + slack).any(), (k, graph.nodes[k])
            for k, (bends, spread) in proof.bends.items():
                value = found[graph.nodes[k].inputs[0]][bends.entries]
                slack = 1e-11 * (1 + np.abs(value).max(initial=0.0))
                assert not np.linalg.norm(value - bends.point) > spread + slack, k
            for k, (ties, square) in proof.pools.items():
                i, node = graph.nodes[k].inputs[0], graph.nodes[k]
                assert isinstance(node, Maximum)
                table = node.table[ties.which]
                apart = np.where(table >= 0, (found[i] - proof.point[i])[table], 0.0)
                slack = 1e-11 * (1 + np.abs(found[i]).max(initial=0.0))
                assert not np.linalg.norm(apart) > math.sqrt(square) + slack, k
            for k, lines in proof.lines.items():
                if lines.shares is not None:
                    _assert_between(graph.nodes[k], lines, found[graph.nodes[k].inputs[0]])
            for k, source in proof.sources.items():
                left = found[k] - source.value
                slack = 1e-11 * (1 + np.abs(found[k]).max(initial=0.0))
                if source.slope is not None:
                    # errors of its own are none of what it leaves
                    i = graph.nodes[k].inputs[0]
                    left = _value(graph.nodes[k], [found[i]]) - source.value
                    left = left - source.slope * (found[i] - proof.point[i])
                    assert not (np.abs(np.delete(left, source.entries)) > slack).any(), k
                assert not np.linalg.norm(left[source.entries]) > source.size + slack, k
            slack = 1e-11 * (1 + np.abs(found[-1]).max())
            assert not (rows @ found[-1] < base - move * slope - slack).any()


def _assert_errors(proof: Proof, found: list[Array]) -> None:
    """What is told of a runtime's errors is no less than for operands of these very sizes."""
    graph, sizes = proof.graph, [np.abs(value) for value in found]
    with np.errstate(all="ignore"):
        for k, node in enumerate(graph.nodes):
            if isinstance(node, Input):
                continue
            mass = None
            if isinstance(node, Affine):
                mass = node.absolute([sizes[i] for i in node.inputs])
            box = found[node.inputs[0]], found[node.inputs[0]]
            own = runtime_error(graph, proof.runs, k, sizes, mass, box)
            assert own is None or (own <= proof.error[k] * (1 + 1e-9)).all(), (k, node)


def _erring(
    graph: Graph, x: Array, rows: Array, errors: Mapping[int, Array], rng: np.random.Generator
) -> Iterator[list[Array]]:
    """Values at x without errors; with random ones; with those that lower a margin most."""
    exact = values(graph, x)
    yield exact
    if errors:
        yield values(graph, x, {k: e * rng.choice([-1, 1], e.shape) for k, e in errors.items()})
        for row in rows:
            slopes = gradients(graph, exact, row)
            worst = {k: -e * np.sign(slopes[k]) for k, e in errors.items() if k in slopes}
            yield values(graph, x, worst)
