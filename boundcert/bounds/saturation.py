"""Outputs that saturate: where one sigmoid a class no longer shows which logit is the greatest.

Logits tell the classes of such a model apart only where all rivals' are below T and the winner's
is above −T (:mod:`boundcert.network.heads`). That is a classification, too: of a network that
compares 0 with z_j − T for every rival and with −T − z_c, the first of which has to win. So every
method bounds how far that holds, and a sample keeps its class as far as both do.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from boundcert.bounds.methods import About, Limits, Method
from boundcert.bounds.propagate import Evaluation
from boundcert.layers.dense import Dense
from boundcert.network.graph import Network, Node
from boundcert.network.heads import saturation
from boundcert.norms import Norm


class Unsaturated:
    """Radii up to which outputs of several sigmoids are told apart; made ready class by class."""

    def __init__(
        self, network: Network, norm: Norm, method: Method, limits: Limits, about: About
    ) -> None:
        assert about.arithmetic is not None
        self.network, self.top = network, saturation(about.arithmetic)[0]
        self._make = lambda label: method.prepare(self.guard(label), norm, limits, about)
        self._ready: dict[int, tuple[Network, object]] = {}

    def guard(self, label: int) -> Network:
        """The network whose class 0 wins where the logits tell ``label`` from all others."""
        nodes, classes = self.network.nodes, self.network.classes
        signs = torch.ones(classes, dtype=torch.float64)
        signs[label] = -1.0
        weight = torch.cat([torch.zeros(classes, 1, dtype=torch.float64), signs.diag()], dim=1)
        bias = torch.full((classes + 1,), -self.top, dtype=torch.float64)
        bias[0] = 0.0
        shape = (1, classes + 1)
        layer = Dense((1, classes), shape, weight, bias, left=False, transpose_data=False)
        last = Node("saturation", "Gemm", layer, (len(nodes) - 1,), shape)
        device = next(iter(_devices(self.network)), torch.device("cpu"))
        on_device = replace(last, layer=layer.to(device, torch.float64))
        return replace(self.network, nodes=(*nodes, on_device))

    def __call__(self, evaluation: Evaluation, label: torch.Tensor) -> torch.Tensor:
        """(B,) radii for evaluated samples of classes ``label``."""
        radius = torch.zeros(evaluation.samples, dtype=torch.float64, device=label.device)
        for c in label.unique().tolist():
            if c not in self._ready:
                self._ready[c] = self.guard(c), self._make(c)
            network, bounder = self._ready[c]
            rows = (label == c).nonzero()[:, 0]
            values = network.run(evaluation.values[0][rows])
            found = bounder(Evaluation(network, values), torch.zeros_like(rows))  # type: ignore[operator]
            radius[rows] = found.radius
        return radius


def _devices(network: Network) -> list[torch.device]:
    tensors = (v for n in network.nodes for v in vars(n.layer or object).values() if n.layer)
    return [v.device for v in tensors if isinstance(v, torch.Tensor)]
