"""Small victims with their float32 oracles, and exact answers for linear classifiers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from boundcert.norms import Norm

NORMS = [Norm.L1, Norm.L2, Norm.LINF]


@dataclass
class Net:
    """One function as a float64 victim and, run in float32, as the oracle."""

    function: Callable[[torch.Tensor], torch.Tensor]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)

    def classify(self, x: np.ndarray) -> np.ndarray:
        assert x.dtype == np.float32
        with torch.no_grad():
            return self.function(torch.from_numpy(x)).argmax(dim=1).numpy()

    def label(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x).argmax(dim=1).detach()


def linear(weight: torch.Tensor, bias: torch.Tensor) -> Net:
    return Net(lambda x: x.reshape(len(x), -1) @ weight.to(x.dtype).T + bias.to(x.dtype))


def random_linear(seed: int, dim: int, classes: int, scale: float = 1.0) -> Net:
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, dim, generator=g, dtype=torch.float64)
    bias = torch.randn(classes, generator=g, dtype=torch.float64) * scale
    return linear(weight.float().double(), bias.float().double())


def random_mlp(seed: int, dim: int, classes: int, hidden: int = 16) -> Net:
    g = torch.Generator().manual_seed(seed)
    draw = [
        torch.randn(shape, generator=g).double()
        for shape in ((hidden, dim), (hidden,), (classes, hidden), (classes,))
    ]

    def function(x: torch.Tensor) -> torch.Tensor:
        a, b, c, d = (w.to(x.dtype) for w in draw)
        return torch.tanh(x.reshape(len(x), -1) @ a.T + b) @ c.T + d

    return Net(function)


def samples(seed: int, shape: tuple[int, ...], scale: float = 1.0) -> torch.Tensor:
    g = torch.Generator().manual_seed(1000 + seed)
    return (torch.randn(shape, generator=g) * scale).double()  # exact in float32


def exact_distance(net: Net, x: torch.Tensor, norm: Norm) -> torch.Tensor:
    """min_j (z_c − z_j) / ‖w_c − w_j‖_q of a linear classifier, (B,), from its Jacobian."""
    shape = tuple(x.shape[1:])
    zero = torch.zeros((1, *shape), dtype=torch.float64)
    jac = torch.autograd.functional.jacobian(lambda u: net.logits(u)[0], zero)
    weight = jac.reshape(jac.shape[0], -1)
    z, c = net.logits(x), net.label(x)
    gap = z.gather(1, c[:, None]) - z
    length = torch.linalg.vector_norm(weight[c][:, None] - weight[None], ord=norm.dual.p, dim=2)
    return torch.where(length > 0, gap / length, torch.inf).amin(dim=1)


def assert_confirmed(net: Net, x: torch.Tensor, norm: Norm, result) -> None:
    """Every reported bound is that of a point which the oracle puts in another class."""
    found = np.isfinite(result.upper)
    assert result.points.dtype == np.float32 and result.points.shape == tuple(x.shape)
    assert [a is not None for a in result.attack] == found.tolist()
    assert np.isnan(result.points[~found]).all() and np.isnan(result.upper[~found]).all()
    if not found.any():
        return
    points, own = result.points[found], x[torch.from_numpy(found)]
    assert (net.classify(points) != net.classify(own.float().numpy())).all()
    delta = points.reshape(len(points), -1).astype(np.float64) - own.reshape(len(own), -1).numpy()
    true = np.linalg.norm(delta, ord=norm.p, axis=1)
    assert (result.upper[found] >= true * (1 + 1e-15)).all()
    np.testing.assert_allclose(result.upper[found], true, rtol=1e-11)
