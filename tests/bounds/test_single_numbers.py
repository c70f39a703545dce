"""Values without any axis, of shape (): means over everything, constants among operands."""

from __future__ import annotations

import numpy as np
import pytest
from network.compare import imported
from network.models import model, node, weights

from boundcert import attack, certify
from boundcert.network.graph import Network

X = np.random.default_rng(3).random((1, 4))


def network(axes: bool) -> Network:
    """The same one with single numbers of shape (), or with axes of length one."""
    nodes = [
        node("Gemm", "x w", "h"),
        node("ReduceMean", "h", "m", keepdims=int(axes)),
        node("Tanh", "m", "t"),
        node("Mul", "h t", "p"),
        node("Max", "p m low", "q"),
        node("Sum", "q low high", "s"),
        node("Gemm", "s v", "y"),
    ]
    shape = (1, 1) if axes else ()
    constants = {
        "w": weights(4, 5),
        "v": weights(5, 3, seed=1),
        "low": np.full(shape, -0.1, np.float32),
        "high": np.full(shape, 0.3, np.float32),
    }
    return imported(model(nodes, [1, 4], constants))


@pytest.mark.parametrize(("method", "norm"), [("walk", "l2"), ("relax", "linf"), ("relax", "l1")])
def test_shape_does_not_matter(method: str, norm: str) -> None:
    single, plain = network(False), network(True)
    assert () in [n.shape for n in single.nodes] and () not in [n.shape for n in plain.nodes]
    lower = certify(single, X, norm, method).lower
    assert (lower > 0).all()
    np.testing.assert_allclose(lower, certify(plain, X, norm, method).lower, rtol=1e-9)
    assert not (lower > attack(single, X, norm).upper).any()  # nan where none is found
