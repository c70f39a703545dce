"""The seven errata to the dissertation (003): each printed claim fails on an explicit perturbation
that is evaluated here, and our own certified bound holds against the same perturbation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from bounds.peck2017_helpers import chain

from boundcert.bounds import peck2017_formulas as printed
from boundcert.bounds.methods import Limits, method
from boundcert.bounds.propagate import Evaluation
from boundcert.layers.base import Deviation, NodeSpec, Site, Unsupported
from boundcert.layers.lp_pool import LpPool
from boundcert.network.graph import Network
from boundcert.norms import Norm


def radius(network: Network, x: torch.Tensor, name: str) -> float:
    """The radius that a method gives for one sample."""
    values = network.run(x)
    label = values[-1].reshape(1, -1).argmax(dim=1)
    bounder = method(name).prepare(network, Norm.L2, Limits())
    with torch.no_grad():
        return float(bounder(Evaluation(network, values), label).radius[0])


def refute(network: Network, x: torch.Tensor, r: torch.Tensor) -> tuple[float, float, float]:
    """Check that ``r`` changes the class inside the printed bound and outside ours.

    Returns
    -------
    Printed bound, ‖r‖, certified bound.
    """
    norm = float(torch.linalg.vector_norm(r))
    assert int(network.logits(x).argmax()) != int(network.logits(x + r).argmax())
    claimed, certified = radius(network, x, "peck2017"), radius(network, x, "walk")
    assert norm < claimed
    assert 0 < certified <= norm
    return claimed, norm, certified


def tensor(*values: float, shape: tuple[int, ...] | None = None) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(shape or (1, 1, len(values)))


def test_1_taylor_remainder_lacks_the_dimension() -> None:
    """Theorem A.1: f(x) = ½(Σx_j)² has |∂ᵅf| = 1 =: M, and r = 1/√d leaves d/2, not M/2."""
    d, margin = 10, 4.99
    network = chain(
        (1, d),
        ("Gemm", [np.ones((d, 1))], {}),
        ("Pow", [2.0], {}),
        ("Mul", [0.5], {}),
        ("Gemm", [[[1.0, 0.0]], [0.0, margin]], {}),
    )
    x, r = torch.zeros(1, 1, d, dtype=torch.float64), torch.full((1, 1, d), d**-0.5).double()
    assert float(torch.linalg.vector_norm(r)) == pytest.approx(1)
    remainder = float(network.logits(x + r)[0, 0] - network.logits(x)[0, 0])  # the gradient is 0
    assert remainder == pytest.approx(5.0)
    assert remainder > 1 / 2 * math.sqrt(1) * 1**2  # M/2·√m·‖r‖², as printed

    # equation 4.8 with that M; peck2017 itself refuses Pow, which Table 4.1 does not have
    claimed = float(printed.taylor(tensor(margin), tensor(0.0), 1.0, 1))
    assert claimed == pytest.approx(3.159, abs=1e-3)
    assert int(network.logits(x).argmax()) == 1 and int(network.logits(x + r).argmax()) == 0
    assert 0.5 < radius(network, x, "walk") <= 1.0


def test_2_table_prints_half_the_curvature_of_tanh() -> None:
    """Table 4.1: sup|tanh″| = 4/(3√3), and the printed expression is half of it."""
    z = torch.linspace(-3, 3, 100_001, dtype=torch.float64)
    true = float((-2 * torch.tanh(z) * (1 - torch.tanh(z) ** 2)).abs().max())
    assert true == pytest.approx(4 / (3 * math.sqrt(3)), abs=1e-8)
    assert printed.TABLE_4_1["Tanh"][1] == pytest.approx(true / 2, abs=1e-8)

    # where tanh″ is largest, moving right
    start, kappa = -0.5 * math.log(2 + math.sqrt(3)), 0.3
    network = chain(
        (1, 1),
        ("Gemm", [[[1.0]], [start]], {}),
        ("Tanh", [], {}),
        ("Gemm", [[[0.0, 1.0]], [0.0, -math.tanh(start) - kappa]], {}),
    )
    r = (math.atanh(math.tanh(start) + kappa) - start) * (1 + 1e-5)
    claimed, norm, _ = refute(network, tensor(0.0), tensor(r))
    assert claimed == pytest.approx(0.403, abs=1e-3)
    assert norm == pytest.approx(0.374, abs=1e-3)


def test_3_relu_has_no_taylor_expansion() -> None:
    """h(x) = ReLU(Kx − δ) at 0: claimed √(2κ)/K, true (δ + κ)/K."""
    k, delta, kappa = 2.0, 0.01, 1.0
    network = chain(
        (1, 1),
        ("Gemm", [[[k]], [-delta]], {}),
        ("Relu", [], {}),
        ("Gemm", [[[0.0, 1.0]], [0.0, -kappa]], {}),
    )
    true = (delta + kappa) / k
    claimed, _, certified = refute(network, tensor(0.0), tensor(true * (1 + 1e-6)))
    assert claimed == pytest.approx(math.sqrt(2 * kappa) / k)
    assert certified == pytest.approx(true, rel=0.02)


def test_4_frobenius_norm_does_not_bound_a_convolution() -> None:
    """Lemma A.4, Theorem 5.1: the all-ones 3×3 kernel on the all-ones 5×5 image."""
    network = chain(
        (1, 1, 5, 5),
        ("Conv", [np.ones((1, 1, 3, 3))], {}),
        ("Flatten", [], {}),
        ("Gemm", [np.tile([1 / 3, 0.0], (9, 1))], {}),
    )
    x = torch.ones(1, 1, 1, 5, 5, dtype=torch.float64)
    output = network.run(x)[1]
    assert float(torch.linalg.vector_norm(output)) == pytest.approx(27)
    assert 3 * float(torch.linalg.vector_norm(x)) == pytest.approx(15)  # ‖W‖_F‖X‖_F, as printed

    # logits (Σy/3, 0): a linear classifier, so the distance is known
    margin = 27.0
    gradient = torch.nn.functional.conv_transpose2d(
        torch.full((1, 1, 3, 3), 1 / 3), torch.ones(1, 1, 3, 3)
    ).double()
    steep = float(torch.linalg.vector_norm(gradient))
    assert steep == pytest.approx(6.33, abs=5e-3)
    r = -gradient[None] * (margin / steep**2 * (1 + 1e-6))
    claimed, norm, certified = refute(network, x, r)
    assert claimed == pytest.approx(margin / 3)
    assert norm == pytest.approx(margin / steep, rel=1e-5)
    assert certified == pytest.approx(margin / steep, rel=1e-5)


def test_5_batch_normalisation_takes_the_largest_component() -> None:
    """Theorem 5.6: x = (1, 0), γ = σ = 1, β = 0, κ = 0.1."""
    network = chain(
        (1, 2),
        ("BatchNormalization", [[1, 1], [0, 0], [0, 0], [1, 1]], {"epsilon": 0.0}),
        ("Gemm", [[[1.0, 0.0], [0.0, 0.0]], [-0.9, 0.0]], {}),
    )
    claimed, norm, certified = refute(network, tensor(1.0, 0.0), tensor(-0.1 - 1e-6, 0.0))
    assert claimed == pytest.approx(0.324, abs=5e-4)
    assert norm == pytest.approx(0.1, abs=1e-5)
    assert certified == pytest.approx(0.1, abs=1e-5)


def test_6_local_response_normalisation_takes_the_largest_component() -> None:
    """Theorem 5.9: k = 1, α = 1e-4, β = 0.75, n = 5, κ = 1e-3, 5×1×1 input (50, 0, 0, 0, 0)."""
    kappa, size = 1e-3, 5
    # ONNX divides its alpha by the window size, 003 does not
    normalise = {"alpha": 1e-4 * size, "beta": 0.75, "bias": 1.0, "size": size}
    weight = np.zeros((5, 2))
    weight[1, 1] = 1.0
    network = chain(
        (1, 5, 1, 1),
        ("LRN", [], normalise),
        ("Flatten", [], {}),
        ("Gemm", [weight, [0.0, -kappa]], {}),
    )
    shape = (1, 1, 5, 1, 1)
    x = tensor(50.0, 0.0, 0.0, 0.0, 0.0, shape=shape)
    r = tensor(0.0, 0.0012, 0.0, 0.0, 0.0, shape=shape)
    claimed, norm, certified = refute(network, x, r)
    assert claimed == pytest.approx(17.25, abs=0.01)
    assert claimed / norm > 14_000
    assert certified > 0.5 * norm


def test_6_second_derivatives_of_lrn_exceed_the_lemma() -> None:
    """Lemma 5.11 leaves out ∂²/∂x_j∂x_l with j, l ≠ a, and looks at X alone."""

    def second(z: torch.Tensor, i: int, j: int) -> float:
        def entry(v: torch.Tensor) -> torch.Tensor:
            return v[0] * (1 + 1.0 * (v * v).sum()) ** -0.75

        return float(torch.autograd.functional.hessian(entry, z)[i, j].abs())

    z = torch.full((3,), 0.5, dtype=torch.float64)
    # the lemma's proof claims that this one is zero
    assert second(z, 1, 2) > 0.1
    # M at X = 0 is 0, while the theorem needs it on the way to X + R
    nothing = torch.zeros(1, 3, dtype=torch.float64)
    kappa = tensor(0.1).reshape(1)
    linear = printed.local_response_normalization(kappa, nothing, nothing, 1.0, 0.75, 1.0)
    assert float(linear) == pytest.approx(0.1 / math.sqrt(3))
    assert second(z, 0, 0) > 0.1


def test_7_pooling_step_forgets_the_channels() -> None:
    """Before equation 5.4: ‖Z‖_F ≥ κ needs |z_ijk| ≥ κ/(t√c) somewhere, not κ/t."""
    c, t, kappa = 4, 1, 1.0
    x = torch.zeros(1, 1, c, 2, 2, dtype=torch.float64)
    r = torch.full_like(x, kappa / 2)
    network = chain((1, c, 2, 2), ("GlobalMaxPool", [], {}))
    z = network.run(x + r)[1]
    assert float(torch.linalg.vector_norm(z)) >= kappa
    assert float(z.abs().max()) < kappa / t  # the printed necessary condition does not hold

    # the final bound κ/t does hold: ours is at least as large, and no perturbation beats ours
    layer = network.nodes[1].layer
    assert layer is not None
    rho = tensor(kappa / t).reshape(1)
    moved = layer.modulus(Site(Norm.L2, (x,), network.run(x)[1]), Deviation(rho)).size
    assert float(moved) <= kappa * (1 + 1e-12)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        q = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        q *= float(rho) / float(torch.linalg.vector_norm(q))
        base = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        change = network.run(base + q)[1] - network.run(base)[1]
        assert float(torch.linalg.vector_norm(change)) <= float(moved) * (1 + 1e-12)


def test_7_lp_pooling_below_one_is_not_subadditive() -> None:
    """Theorem 5.3 allows p > 0, but Lemma A.6 needs the triangle inequality."""
    power, kappa = 0.5, 0.1

    def pool(v: torch.Tensor) -> float:
        return float((v.abs() ** power).sum() ** (1 / power))

    x = tensor(1.0, 0.0, 0.0, 0.0)
    r = tensor(0.0, (math.sqrt(1 + kappa) - 1) ** 2 * (1 + 1e-6), 0.0, 0.0)
    assert pool(x + r) > pool(x) + pool(r)
    assert pool(x + r) - pool(x) >= kappa
    claimed = float(printed.lp_pooling(tensor(kappa), 1, 4, power))
    assert float(torch.linalg.vector_norm(r)) < 0.5 * claimed

    # ours does not claim anything there
    attributes = {"p": power, "kernel_shape": [2, 2]}
    spec = NodeSpec("LpPool", "pool", 17, attributes, ((1, 1, 2, 2),), (1, 1, 1, 1))
    with pytest.raises(Unsupported, match=r"p = 0\.5 is not Lipschitz"):
        LpPool.build(spec)
