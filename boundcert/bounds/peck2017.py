"""NOT A CERTIFICATE: the 2017 dissertation's bounds (003, Algorithm 5.1), exactly as printed.

Kept to reproduce the published tables. Several of the theorems are false, and there are inputs
whose class changes well inside the radius given here (``tests/bounds/test_errata.py``):

1. Theorem A.1 bounds rᵀHr by M‖r‖² from entrywise |H_ij| ≤ M; a factor d is missing.
   (The M of Algorithm 4.1 happens to bound ‖H‖₂ too: by its induction N bounds the 2-norm of
   every gradient. So Theorem 4.2 survives with that M where A and B are right.)
2. Table 4.1 prints half of sup|tanh″|.
3. ReLU has no second-order expansion; B = 1 (§4.3.1) does not make one.
4. Theorem 5.1 rests on (Σab)² ≤ (Σa²)(Σb²) summed over overlapping patches as if each input
   entry were used once (Lemmas A.3 and A.4).
5. Theorem 5.6 (batch normalisation) says max_j where only min_j follows.
6. Theorem 5.9 (LRN) likewise; Lemma 5.11 leaves out mixed derivatives and the neighbourhood.
7. Theorem 5.3 (pooling) drops √c in its proof; its bounds happen to hold for p ≥ 1.
8. Throughout, a perturbation is asked to make the *norm* of an activation grow by κ, though
   one that keeps the norm can change the class.

Where the dissertation is silent:

- Dense layers that follow each other, with their activations, are one MLP and get Theorem 4.2
  with the Jacobian of all of it. If such a run does not end the network, the bound behind it
  takes the place of δ, as in equation 4.8. Constants between its layers belong to the matrices.
- A convolution and the ReLU behind it are one layer (equation 5.1). A ReLU behind any other
  layer passes κ on by Lemma A.2, the step that Theorem 5.1 takes for it.
- Adding, or multiplying by, a constant outside an MLP is taken exactly: κ/max|weight|.
- Non-square pooling: t is the larger side of the output; q² is the number of window entries.
- LRN over non-square maps: d² is the number of positions.
- Padding and dilation of a convolution change nothing, as its theorem knows neither.
- Without dense layers at the end the classifier is the identity (CIFAR-NIN).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from boundcert.bounds import peck2017_formulas as printed
from boundcert.bounds.methods import Bounds, Stage
from boundcert.bounds.peck2017_mlp import Mlp, pull, row_distances
from boundcert.bounds.peck2017_rules import Rule, passes_on, theorem, unchanged
from boundcert.bounds.propagate import Evaluation
from boundcert.errors import UnsupportedModel, UsageError
from boundcert.layers.activation import Elementwise
from boundcert.layers.base import Unsupported
from boundcert.layers.dense import Dense
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.structure import Rearrange
from boundcert.network.graph import Network, Node
from boundcert.norms import Norm


@dataclass(frozen=True)
class Block:
    """Nodes that one theorem treats as a layer; ``rule`` is that theorem."""

    nodes: tuple[int, ...]
    rule: Rule


class Peck2017:
    """The dissertation's Algorithm 5.1 for one network: not a certificate.

    Raises
    ------
    UsageError
        A norm other than L2, the only one the dissertation has.
    UnsupportedModel
        Every node without a theorem, and why.
    """

    def __init__(self, network: Network, norm: Norm) -> None:
        if norm is not Norm.L2:
            raise UsageError(
                f"method 'peck2017' has theorems for the l2 norm only, not for {norm.value}; "
                "ask for l2, or use method 'walk'"
            )
        self.network = network
        groups = _groups(network)
        refused = [line for group in groups for line in _refusals(network, group)]
        if refused:
            listed = "\n  ".join(refused)
            raise UnsupportedModel(
                f"{network.source.path}: the 2017 dissertation has no theorem for {len(refused)} "
                f"node(s), so method 'peck2017' cannot be used:\n  {listed}\n"
                "method 'walk' bounds them all"
            )
        self.blocks = tuple(_block(network, g, g is groups[-1]) for g in groups)
        rule = self.blocks[-1].rule if self.blocks else None
        self.gaps = _gaps(network, rule.classifier if isinstance(rule, Mlp) else ())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The layers as the dissertation counts them: the MLP at the end is one, and behind it
        comes the softmax, whose distance δ (equation 3.12) starts the walk."""
        nodes = self.network.nodes
        blocks = (
            Stage("+".join(nodes[k].name for k in b.nodes), "+".join(nodes[k].op for k in b.nodes))
            for b in self.blocks
        )
        return (*blocks, Stage("softmax", "Softmax"))

    def __call__(self, evaluation: Evaluation, label: torch.Tensor) -> Bounds:
        """Algorithm 5.1 for a batch, label (B,) the predicted classes. Not certified."""
        logits = evaluation.values[-1].reshape(evaluation.samples, self.network.classes)
        kappa = printed.hyperplane_distance(logits, self.gaps.to(logits.device), label)
        columns = [kappa]
        for block in reversed(self.blocks):
            kappa = block.rule(evaluation, kappa)
            columns.append(kappa)
        radius = torch.where(torch.isfinite(kappa), kappa, torch.zeros_like(kappa))
        return Bounds(radius, torch.stack(columns[::-1], dim=1), ("peck2017",) * len(radius))


def _groups(network: Network) -> list[list[int]]:
    """Nodes that go together: runs from a dense layer on, and layers with the ReLU and the
    reshapes behind them (reshapes at the very front go with the first layer)."""
    groups: list[list[int]] = []
    for k, node in enumerate(network.nodes[1:], start=1):
        group = groups[-1] if groups else None
        if group is not None and (
            all(isinstance(network.nodes[i].layer, Rearrange) for i in group)
            or (_in_mlp(node) if _is_mlp(network, group) else passes_on(node))
        ):
            group.append(k)
        else:
            groups.append([k])
    return groups


def _is_mlp(network: Network, group: list[int]) -> bool:
    return any(isinstance(network.nodes[k].layer, Dense) for k in group)


def _in_mlp(node: Node) -> bool:
    if isinstance(node.layer, Diagonal):
        return node.op != "BatchNormalization"
    return isinstance(node.layer, (Dense, Rearrange, Elementwise))


def _refusals(network: Network, group: list[int]) -> list[str]:
    """A line for every node of a group without a theorem."""
    dense, lines = _is_mlp(network, group), []
    for k in group:
        node = network.nodes[k]
        try:
            _check_chain(network, k)
            if not dense or not _in_mlp(node):
                theorem(node, k)
            elif isinstance(node.layer, Elementwise) and node.op not in printed.TABLE_4_1:
                raise Unsupported(f"Table 4.1 has only {', '.join(printed.TABLE_4_1)}")
        except Unsupported as error:
            lines.append(f"{node.name} ({node.op}): {error}")
    return lines


def _check_chain(network: Network, k: int) -> None:
    inputs = network.nodes[k].inputs
    if len(inputs) > 1:
        raise Unsupported(f"joins {len(inputs)} branches; the theorems are about chains of layers")
    if inputs != (k - 1,):
        source = network.nodes[inputs[0]].name
        raise Unsupported(f"starts another branch from {source}; the theorems are about chains")


def _block(network: Network, group: list[int], last: bool) -> Block:
    if _is_mlp(network, group):
        return Block(tuple(group), Mlp(network, group, last))
    rules = [theorem(network.nodes[k], k) for k in group if not passes_on(network.nodes[k])]
    # at most one: all others of the group only pass κ on
    return Block(tuple(group), rules[0] if rules else unchanged)


def _gaps(network: Network, classifier: tuple[int, ...]) -> torch.Tensor:
    """‖w_c − w_c'‖ of the classifier that the given affine nodes make up, (C, C)."""
    classes = network.classes
    rows = torch.eye(classes, dtype=torch.float64)
    rows = pull(network.to("cpu"), classifier, rows.reshape(classes, *network.nodes[-1].shape))
    return row_distances(rows.reshape(classes, -1))
