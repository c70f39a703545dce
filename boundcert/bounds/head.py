"""The output end of the walk: the exact distance to the nearest decision hyperplane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from boundcert.bounds.propagate import Evaluation, forward_moves
from boundcert.bounds.segments import head_start
from boundcert.kernels import backend
from boundcert.layers.affine import Affine, unchanged
from boundcert.layers.base import Deviation, numel
from boundcert.layers.spectral import gamma
from boundcert.network.graph import Network
from boundcert.norms import Norm


@dataclass(frozen=True)
class Head:
    """The affine layers in front of the argmax as one matrix.

    Attributes
    ----------
    start : node from which only affine layers lead to the logits.
    rows : (C, n) the composed matrix.
    norms : (C, C) upper bounds on the dual norms of row differences.
    """

    start: int
    rows: np.ndarray
    norms: np.ndarray


def compose(network: Network, norm: Norm) -> Head:
    """Compose the affine layers behind the last other layer, and the row differences' norms.

    Composition is rounded: the error of a row is at most γ times the row composed from absolute
    values, which is added to the norms.
    """
    start = head_start(network)
    classes = network.classes
    rows = torch.eye(classes, dtype=torch.float64).reshape(classes, 1, classes)
    absolute, terms = rows.clone(), 0
    for k in range(len(network.nodes) - 1, start, -1):
        layer = network.nodes[k].layer
        assert isinstance(layer, Affine)
        host = layer.to("cpu", torch.float64)
        assert isinstance(host, Affine)
        rows = host.transpose(rows, unchanged)
        absolute = host.transpose(absolute, torch.abs)
        terms += layer.fan_in + layer.fan_out + 8
    n = numel(network.nodes[start].shape)
    flat = np.ascontiguousarray(rows.reshape(classes, n).numpy())
    norms = backend().pairwise_norms(flat, norm.dual.p)
    slack = norm.dual.of_rows(absolute.reshape(classes, n)).numpy() * gamma(terms)
    return Head(start, flat, norms + slack[:, None] + slack[None, :])


def distances(evaluation: Evaluation, head: Head, label: torch.Tensor) -> torch.Tensor:
    """Distance from the value at ``head.start`` to each rival's hyperplane (B, C).

    003 Lemma 3.5 in the dual norm; for a linear classifier the exact minimal distance, as the
    region of a class is a polyhedron. Rounding of the logits is taken off the margin. 0 where
    nothing can be certified, inf at the label itself.
    """
    logits = evaluation.values[-1].reshape(evaluation.samples, -1).detach().cpu()
    error = logit_error(evaluation, head.start)
    out = backend().margin_distances(
        np.ascontiguousarray(logits.numpy()),
        np.ascontiguousarray(error.detach().cpu().numpy()),
        head.norms,
        label.detach().cpu().numpy(),
    )
    return torch.from_numpy(out).to(evaluation.values[0].device)


def logit_error(evaluation: Evaluation, start: int) -> torch.Tensor:
    """(B,) bound on the rounding error of every logit, given the computed value at ``start``."""
    last = len(evaluation.values) - 1
    zero = torch.zeros(evaluation.samples, dtype=torch.float64, device=evaluation.values[0].device)
    if start == last:
        return zero
    still = Deviation(zero)
    nodes = range(start + 1, last + 1)
    return forward_moves(evaluation, nodes, start, still, Norm.LINF)[last].size
