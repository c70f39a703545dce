"""Softmax and LRN inside a network: read as what they are made of, rounded as runtimes do them.

The nodes in between are free of errors. The last one has them all: it is the result once more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from boundcert.checker.builder import Builder
from boundcert.checker.maps import Array, Pick, Total
from boundcert.checker.nodes import Affine, Bend, Graph, NotUnderstood, Product, Rounds
from boundcert.checker.runtime import FUSED

#: Most differences that a softmax may take.
MOST = 10**6


def _bend(reader: Builder, i: int, name: str, a: float = 0.0, b: float = 0.0) -> int:
    return reader.put(Bend(reader.nodes[i].n, (i,), name, np.array([a]), b, free=True))


def _sum(
    reader: Builder, i: int, table: NDArray[np.int64], factor: float = 1.0, bias: float = 0.0
) -> int:
    """bias + factor·Σ of the entries in each row of a table, −1 for none."""
    total = Total(table, reader.nodes[i].n, factor)
    return reader.affine((i,), (total,), np.full(len(table), bias), moves=True, free=True)


def _rounded(reader: Builder, made: int, operand: int, rounds: Rounds) -> int:
    n = reader.nodes[made].n
    one, zero = Pick(np.arange(n), n), np.zeros(n)
    return reader.put(Affine(n, (made, operand), (one,), zero, zero, moves=True, rounds=rounds))


@dataclass(frozen=True)
class SoftmaxRounds:
    """Relative (4‖x‖_∞ + n + 64)u·(1 + 1/4), and 4(n + 1)·tiny, of an output ≤ 1.

    x − max is off by 2‖x‖_∞u, which exp turns into as much relative, in numerator and denominator;
    exp itself, n sums of positive numbers and the quotient add n + 64 at most. Below tiny each
    exponential loses tiny, beside a sum ≥ 1 (the greatest is 1).
    """

    groups: NDArray[np.int64]

    def __call__(self, graph: Graph, terms: int, sizes: list[Array]) -> Array:
        count = self.groups.shape[1]
        top = np.zeros(len(sizes[1]))
        top[self.groups] = sizes[1][self.groups].max(axis=1)[:, None]
        rate = (4 * top + (count + 64)) * graph.unit
        error = 1.25 * rate + 4 * (count + 1) * graph.tiny
        return np.where((error < 0.25) & (top <= graph.largest), error * (1 + 1e-8), np.inf)


def softmax(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    """y_i = 1/(1 + Σ_{j≠i} exp(x_j − x_i)): differences show what cancels.

    Of two entries that is a sigmoid. The sum is put through max(1, ·), which changes nothing but
    says that it is not less, where its rounded bounds forget that.
    """
    i, shape = reader.operand(node, 0)
    n, old = math.prod(shape), reader.opset < 13
    first = attributes.get("axis", 1 if old else -1)
    first = first + len(shape) if first < 0 else first
    index = np.arange(n).reshape(shape)
    if old:
        groups = index.reshape(math.prod(shape[:first]), -1)
    else:
        groups = np.moveaxis(index, first, -1).reshape(-1, shape[first])
    count = groups.shape[1]
    if count < 2 or n * (count - 1) > MOST:
        raise NotUnderstood(f"Softmax {node.name!r} of {count} entries in {n}")
    table = np.empty((n, count - 1), dtype=np.int64)
    for k in range(count):
        table[groups[:, k]] = np.delete(groups, k, axis=1)
    own, their = np.repeat(np.arange(n), count - 1), table.ravel()
    sign = -1.0 if count == 2 else 1.0
    pair = Pick(their, n, sign), Pick(own, n, -sign)
    gap = reader.affine((i, i), pair, moves=True, free=True)
    if count == 2:
        made = _bend(reader, gap, "Sigmoid")
    else:
        places = np.arange(len(own)).reshape(n, count - 1)
        whole = _sum(reader, _bend(reader, gap, "Exp"), places, bias=1.0)
        made = _bend(reader, _bend(reader, whole, "Clip", 1.0, math.inf), "Reciprocal")
    reader.values[node.output[0]] = _rounded(reader, made, i, SoftmaxRounds(groups)), shape


@dataclass(frozen=True)
class LrnRounds:
    """Of |x|·D^(−β) with D ≥ k off by a share ρ: (1 − ρ)^(−β) ≤ 1 + 2βρ where 2βρ ≤ 1/4.

    Runtimes may move the window along the channels by adding one square and subtracting another:
    so ρ is γ of twice the channels, the size and what may be fused, of twice the largest D.
    Below tiny squares, sums and coefficients lose 4 times as many tiny, times 1 + α + α‖x‖². The
    power is off as any is: (64 + β + 4|log D^β|)u.
    """

    size: int
    alpha: float
    beta: float
    k: float
    channels: int

    def __call__(self, graph: Graph, terms: int, sizes: list[Array]) -> Array:
        unit, tiny, x = graph.unit, graph.tiny, sizes[1]
        count = 2 * self.channels + self.size + FUSED + terms
        square = float(np.max(x * x, initial=0.0))
        most = self.k + self.alpha * square
        rate = count * unit / (1 - count * unit) * 2 * most
        lost = 4 * count * tiny * (1 + self.alpha + self.alpha * square)
        share = 2 * self.beta * (rate + lost) / self.k
        log = self.beta * max(abs(math.log(self.k)), abs(float(np.log(most))))
        rate = share + unit * (64 + self.beta + 4 * log)
        factor = self.k**-self.beta
        error = 2 * rate * x * factor + 4 * tiny * (1 + x + factor)
        reached = np.array([square * count, 2 * most, factor, 1 / self.k])
        sure = share <= 0.25 and rate <= 0.25 and count * unit < 0.25
        sure = sure and bool((reached <= graph.largest).all())
        fits = (x * factor <= graph.largest) & (error >= 0)
        return np.where(fits & sure, error * (1 + 1e-8), np.inf)


def lrn(reader: Builder, node: onnx.NodeProto, attributes: Any) -> None:
    """x·(k + (α/size)·Σ_{window} x²)^(−β), the window one of channels."""
    i, shape = reader.operand(node, 0)
    size, given = int(attributes["size"]), (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    alpha, beta, k = (float(np.float32(attributes.get(name, value))) for name, value in given)
    if not (size > 0 and alpha >= 0 and 0 < beta <= 8 and 2.0**-20 <= k <= 2.0**20):
        raise NotUnderstood(f"LRN {node.name!r} of size {size}, {alpha}, {beta}, {k}")
    channels = np.arange(shape[1])
    window = channels[:, None] + np.arange(size) - (size - 1) // 2
    index = np.arange(math.prod(shape)).reshape(shape)
    inside = (window >= 0) & (window < shape[1])
    table = np.where(
        inside.reshape(1, *inside.shape, *(1,) * (len(shape) - 2)),
        index[:, np.clip(window, 0, shape[1] - 1)],
        -1,
    )
    table = np.moveaxis(table, 2, -1).reshape(-1, size)
    whole = _sum(reader, _bend(reader, i, "Pow", 2.0), table, alpha / size, k)
    factor = _bend(reader, whole, "Pow", -beta)
    made = reader.put(Product(math.prod(shape), (i, factor), free=True))
    rounds = LrnRounds(size, alpha, beta, k, shape[1])
    reader.values[node.output[0]] = _rounded(reader, made, i, rounds), shape
