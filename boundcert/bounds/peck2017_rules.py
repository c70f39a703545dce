"""Which theorem of the 2017 dissertation's chapter 5 belongs to which node: NOT CERTIFICATES."""

from __future__ import annotations

from collections.abc import Callable

import torch

from boundcert.bounds import peck2017_formulas as printed
from boundcert.bounds.propagate import Evaluation
from boundcert.layers.activation import Elementwise
from boundcert.layers.base import Unsupported, numel
from boundcert.layers.conv import Conv
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.lp_pool import LpPool
from boundcert.layers.lrn import LRN
from boundcert.layers.max_pool import MaxPool
from boundcert.layers.reduce import AveragePool, Reduce
from boundcert.layers.structure import Rearrange
from boundcert.network.graph import Node

#: The bound in front of a layer from the one behind it.
Rule = Callable[[Evaluation, torch.Tensor], torch.Tensor]


def passes_on(node: Node) -> bool:
    """Whether κ goes through a node unchanged: reshapes (§5.2.5) and ReLU (Lemma A.2)."""
    return isinstance(node.layer, Rearrange) or node.op == "Relu"


def unchanged(evaluation: Evaluation, kappa: torch.Tensor) -> torch.Tensor:
    """The rule of a node that :func:`passes_on`."""
    return kappa


def theorem(node: Node, k: int) -> Rule:
    """The theorem for a node outside an MLP.

    Raises
    ------
    Unsupported
        There is none.
    """
    layer = node.layer
    if passes_on(node):
        return unchanged
    if isinstance(layer, Conv):
        weight = layer.weight
        return lambda evaluation, kappa: printed.convolution(kappa, weight)
    if isinstance(layer, (MaxPool, AveragePool)):
        side = max(layer.windows.out)
        return lambda evaluation, kappa: printed.pooling(kappa, side)
    if isinstance(layer, Reduce) and _is_global_average(node.op, layer):
        return lambda evaluation, kappa: printed.pooling(kappa, 1)
    if isinstance(layer, LpPool):
        side, entries, power = max(layer.windows.out), numel(layer.windows.kernel), layer.power
        return lambda evaluation, kappa: printed.lp_pooling(kappa, side, entries, power)
    if isinstance(layer, Diagonal) and node.op == "BatchNormalization":
        scale = layer.weight
        return lambda evaluation, kappa: printed.batch_normalization(
            kappa, evaluation.values[k], scale
        )
    if isinstance(layer, Diagonal):
        largest = _diagonal_norm(layer)
        return lambda evaluation, kappa: kappa / largest
    if isinstance(layer, LRN):
        return _lrn(layer, k)
    if isinstance(layer, Elementwise):
        raise Unsupported("only ReLU has a theorem outside an MLP (Theorem 5.1)")
    raise Unsupported("no theorem for this operator")


def _is_global_average(op: str, layer: Reduce) -> bool:
    spatial = tuple(range(2, len(layer.in_shape)))
    return op in ("GlobalAveragePool", "ReduceMean") and layer.axes == spatial != ()


def _diagonal_norm(layer: Diagonal) -> float:
    """‖A‖₂, exactly: max|weight|, or the longest column where entries are broadcast."""
    host = layer.to("cpu", torch.float64)
    squares = host.transpose(torch.ones(1, *layer.out_shape, dtype=torch.float64), torch.square)
    return float(squares.max().sqrt())


def _lrn(layer: LRN, k: int) -> Rule:
    alpha, beta, bias, size = layer.alpha / layer.size, layer.beta, layer.bias, layer.size
    if not (alpha > 0 and 0 < beta < 1):
        raise Unsupported(
            f"alpha = {layer.alpha}, beta = {beta} break Assumption 5.10 (alpha > 0, 0 < beta < 1)"
        )
    before = (size - 1) // 2

    def rule(evaluation: Evaluation, kappa: torch.Tensor) -> torch.Tensor:
        x = evaluation.values[k - 1]
        square = (x * x).transpose(2, -1)
        padded = torch.nn.functional.pad(square, (before, size - 1 - before))
        energy = padded.unfold(-1, size, 1).sum(dim=-1).transpose(2, -1)
        return printed.local_response_normalization(kappa, x, energy, alpha, beta, bias)

    return rule
