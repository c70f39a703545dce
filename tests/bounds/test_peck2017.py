"""The literal transcription of 003: formulas by hand, networks end to end, refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bounds.peck2017_helpers import chain
from torch import nn

import boundcert
from boundcert.bounds import peck2017_formulas as printed
from boundcert.bounds.methods import METHODS, Bounds, Limits, method
from boundcert.bounds.peck2017 import Peck2017
from boundcert.bounds.peck2017_mlp import Mlp, spectral_norm
from boundcert.bounds.propagate import Evaluation
from boundcert.errors import RefusedInput, UnsupportedModel, UsageError
from boundcert.network.graph import Network
from boundcert.norms import Norm

MODELS = Path(__file__).parents[3] / "shared" / "models"


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def imported(module: nn.Module, *shape: int, **options: object) -> Network:
    return boundcert.from_torch(module, torch.zeros(1, *shape), **options)


def bounds(network: Network, x: torch.Tensor) -> tuple[Bounds, Evaluation]:
    """peck2017 on samples (B, …) of the network's own input shape."""
    values = network.run(network.prepare(x.numpy()))
    label = values[-1].reshape(len(x), network.classes).argmax(dim=1)
    evaluation = Evaluation(network, values)
    with torch.no_grad():
        return method("peck2017").prepare(network, Norm.L2, Limits())(evaluation, label), evaluation


def distance(logits: np.ndarray, weight: np.ndarray) -> float:
    """Equation 3.12 by hand, for one sample."""
    c = int(logits.argmax())
    return min(
        abs(logits[j] - logits[c]) / np.linalg.norm(weight[j] - weight[c])
        for j in range(len(logits))
        if j != c
    )


def quadratic(jacobian: float, m: float, n: int, kappa: float) -> float:
    """Equation 4.8 as printed."""
    return (math.sqrt(jacobian**2 + 2 * m * math.sqrt(n) * kappa) - jacobian) / (m * math.sqrt(n))


def test_it_is_not_a_certificate() -> None:
    assert METHODS["peck2017"].certified is False
    assert "NOT A CERTIFICATE" in METHODS["peck2017"].summary
    module = __import__("boundcert.bounds.peck2017", fromlist=["_"])
    assert module.__doc__.splitlines()[0].startswith("NOT A CERTIFICATE")


def test_table_4_1() -> None:
    assert printed.TABLE_4_1["Sigmoid"] == (0.25, pytest.approx(0.0962250449))
    assert printed.TABLE_4_1["Tanh"] == (1.0, pytest.approx(0.3849001795))
    assert printed.TABLE_4_1["Softplus"] == (1.0, 0.25)
    assert printed.TABLE_4_1["Relu"] == (1.0, 1.0)


def test_algorithm_4_1_by_hand() -> None:
    # layer 1: M = B·1·s² = 0.5·9, N = A·s = 2·3; layer 2: M = 0.25·36·4 + 1·4.5·2, N = 12
    assert printed.second_order_bound([3.0], [(2.0, 0.5)]) == 4.5
    assert printed.second_order_bound([3.0, 2.0], [(2.0, 0.5), (1.0, 0.25)]) == 45.0
    assert printed.second_order_bound([], []) == 0.0


@pytest.mark.parametrize("jacobian", [0.0, 1e-3, 2.0])
@pytest.mark.parametrize("kappa", [1e-3, 0.7])
def test_equation_4_8(jacobian: float, kappa: float) -> None:
    found = printed.taylor(vector(kappa), vector(jacobian), 1.5, 9)
    assert float(found) == pytest.approx(quadratic(jacobian, 1.5, 9, kappa), rel=1e-9)


def test_equation_4_8_at_its_edges() -> None:
    assert float(printed.taylor(vector(0.0), vector(0.0), 0.0, 3)) == 0.0
    assert float(printed.taylor(vector(6.0), vector(2.0), 0.0, 3)) == 3.0
    assert float(printed.taylor(vector(1.0), vector(0.0), 0.0, 3)) == math.inf


def test_theorems_5_1_and_5_3_by_hand() -> None:
    kappa = vector(12.0)
    assert float(printed.convolution(kappa, torch.full((1, 1, 2, 2), 2.0))) == 3.0
    assert float(printed.pooling(kappa, 4)) == 3.0
    assert float(printed.lp_pooling(kappa, 2, 4, 2.0)) == pytest.approx(3.0)
    assert float(printed.lp_pooling(kappa, 2, 9, 1.0)) == pytest.approx(12 / 18)


def test_theorem_5_6_equals_the_printed_fractions() -> None:
    generator = np.random.default_rng(0)
    gamma, beta, mean, x = generator.normal(size=(4, 7))
    variance, epsilon, kappa = generator.random(7) + 0.1, 1e-3, 0.3
    spread = variance + epsilon
    y = gamma * (x - mean) / np.sqrt(spread) + beta
    phi = gamma / spread
    chi = 2 * gamma * (x - mean) + 2 * beta * np.sqrt(spread)
    psi = (2 * kappa * np.linalg.norm(y) + kappa**2) / 7
    root = np.sqrt(phi**2 * chi**2 + 4 * phi * gamma * psi)
    first, second = -(root + phi * chi) / (2 * phi * gamma), (root - phi * chi) / (2 * phi * gamma)
    expected = np.minimum(abs(first), abs(second)).max()
    weight = torch.from_numpy(gamma / np.sqrt(spread))[None]
    found = printed.batch_normalization(vector(kappa), torch.from_numpy(y)[None], weight)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_theorem_5_6_where_it_is_trivial() -> None:
    y, weight = vector(0.0, 1.0)[None], vector(0.0, 0.0)[None]
    assert float(printed.batch_normalization(vector(0.1), y, weight)) == 0.0
    assert float(printed.batch_normalization(vector(0.0), y * 0, weight + 1)) == 0.0


def test_theorem_5_9_equals_the_printed_formula() -> None:
    alpha, beta, k, size, kappa = 0.3, 0.6, 1.2, 3, 0.4
    x = torch.randn(4, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def energies(z: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad((z * z).permute(1, 2, 0), (1, 1))
        return padded.unfold(-1, size, 1).sum(dim=-1).permute(2, 0, 1)

    def function(flat: torch.Tensor) -> torch.Tensor:
        z = flat.reshape(4, 2, 2)
        return (z * (k + alpha * energies(z)) ** -beta).reshape(-1)

    y = function(x.reshape(-1))
    gradients = torch.autograd.functional.jacobian(function, x.reshape(-1)).norm(dim=1)
    top = float(x.abs().max())
    inner = top**2 * alpha * (beta + 1) * k ** (-beta - 2) + k ** (-beta - 1)
    m = 4 * top * alpha * beta * inner + 2 * top * alpha * beta * k ** (-beta - 1)
    delta = y.abs() - (float(y.norm()) + kappa) / (2 * math.sqrt(4))  # d√c
    expected = max(
        (math.sqrt(float(g) ** 2 - 2 * m * float(s)) - float(g)) / m
        for g, s in zip(gradients, delta)
        if s < 0
    )
    found = printed.local_response_normalization(
        vector(kappa), x[None], energies(x)[None], alpha, beta, k
    )
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_lrn_layer_uses_the_dissertations_alpha() -> None:
    alpha, size = 0.3, 3
    attributes = {"alpha": alpha, "beta": 0.6, "bias": 1.2, "size": size}
    network = chain((1, 4, 2, 2), ("LRN", [], attributes), ("Flatten", [], {}))
    x = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, _ = bounds(network, x)
    square = nn.functional.pad((x * x).movedim(1, -1), (1, 1))
    energy = square.unfold(-1, size, 1).sum(dim=-1).movedim(-1, 1)
    expected = printed.local_response_normalization(
        found.kappa[:, -1], x, energy, float(np.float32(alpha)) / size, 0.6, 1.2
    )
    assert found.radius.tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_equation_3_12() -> None:
    gaps = vector(0, 1, 2, 1, 0, 3, 2, 3, 0).reshape(3, 3)
    logits = vector(5, 4, 1)[None]
    assert float(printed.hyperplane_distance(logits, gaps, torch.tensor([0]))) == 1.0
    # not the predicted class: δ is not about it
    assert float(printed.hyperplane_distance(logits, gaps, torch.tensor([1]))) == 0.0


def test_spectral_norm_equals_the_singular_values() -> None:
    matrices = torch.randn(5, 4, 9, generator=torch.Generator().manual_seed(2)).double()
    matrices[1] = 0
    matrices[2] *= 1e-200
    expected = torch.linalg.matrix_norm(matrices, 2)
    np.testing.assert_allclose(spectral_norm(matrices), expected, rtol=1e-12)
    np.testing.assert_allclose(spectral_norm(matrices.mT), expected, rtol=1e-12)
    assert spectral_norm(torch.full((1, 2, 2), math.inf)).isnan().all()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softplus])
def test_mlp_end_to_end(activation: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """Theorem 4.2, with constants between the layers and several chunks of Jacobians."""
    torch.manual_seed(3)
    module = nn.Sequential(
        *(nn.Linear(6, 8), activation(), nn.Linear(8, 5), activation(), nn.Linear(5, 3))
    ).double()
    network = imported(module.float(), 6)
    monkeypatch.setattr("boundcert.bounds.peck2017_mlp.JACOBIAN_BYTES", 8 * 5 * 8 * 2)
    x = torch.randn(5, 6, dtype=torch.float64)
    found, _ = bounds(network, x)
    assert found.kappa.shape == (5, 2)
    module = module.double()
    a, b = printed.TABLE_4_1[activation.__name__.replace("ReLU", "Relu")]
    s1, s2 = (float(module[k].weight.detach().abs().sum(dim=1).max()) for k in (0, 2))
    m = b * (a * s1) ** 2 * s2**2 + a * (b * s1**2) * s2
    weight = module[4].weight.detach().numpy()
    for k, sample in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(module[:4], sample)
        norm = float(torch.linalg.matrix_norm(jacobian, 2))
        kappa = distance(module(sample).detach().numpy(), weight)
        assert float(found.kappa[k, 1]) == pytest.approx(kappa, rel=1e-9)
        assert float(found.radius[k]) == pytest.approx(quadratic(norm, m, 5, kappa), rel=1e-6)


def test_linear_classifier_is_theorem_3_6() -> None:
    torch.manual_seed(4)
    module = nn.Linear(4, 3)
    x = torch.randn(1, 4, dtype=torch.float64)
    found, _ = bounds(imported(module, 4), x)
    module = module.double()
    expected = distance(module(x)[0].detach().numpy(), module.weight.detach().numpy())
    assert found.kappa[0].tolist() == pytest.approx([expected, expected])


def lenet() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 5), nn.MaxPool2d(2), nn.Conv2d(4, 6, 5), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(96, 20), nn.ReLU(), nn.Linear(20, 10)),
    )


def test_lenet_is_the_chain_of_section_5_4() -> None:
    module = lenet()
    network = imported(module, 1, 28, 28)
    x = torch.rand(3, 1, 28, 28, dtype=torch.float64)
    found, _ = bounds(network, x)
    module = module.double()
    w1, w2 = (float(module[k].weight.detach().norm()) for k in (0, 2))
    t1, t2 = 12, 4
    m = float(module[5].weight.detach().abs().sum(dim=1).max()) ** 2  # Algorithm 4.1 with A = B = 1
    weight = module[7].weight.detach().numpy()
    for k in range(3):
        z = module[:5](x[k : k + 1])[0]
        jacobian = torch.autograd.functional.jacobian(module[5:7], z)
        norm = float(torch.linalg.matrix_norm(jacobian, 2))
        kappa6 = distance(module[5:](z).detach().numpy(), weight)
        kappa5 = quadratic(norm, m, 20, kappa6)
        kappa4 = kappa5 / t2
        kappa3 = kappa4 / w2
        kappa2 = kappa3 / t1
        kappa1 = kappa2 / w1
        expected = [kappa1, kappa2, kappa3, kappa4, kappa5, kappa6]
        assert found.kappa[k].tolist() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(found.radius, found.kappa[:, 0])


def test_stages_are_the_dissertations_layers() -> None:
    stages = Peck2017(imported(lenet(), 1, 28, 28), Norm.L2).stages
    assert [s.op for s in stages] == [
        "Conv",
        "MaxPool",
        "Conv",
        "MaxPool+Flatten",
        "Gemm+Relu+Gemm",
        "Softmax",
    ]


def test_network_in_network_ends_without_an_mlp() -> None:
    """CIFAR-NIN: convolutions with ReLU, average pooling, global average pooling, softmax."""
    torch.manual_seed(6)
    module = nn.Sequential(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Dropout()),
        *(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    found, evaluation = bounds(imported(module, 2, 6, 6), torch.rand(2, 2, 6, 6).double())
    w1, w2 = (float(module[k].weight.detach().norm()) for k in (0, 4))
    for k in range(2):
        delta = distance(evaluation.values[-1][k].reshape(-1).numpy(), np.eye(3))
        expected = delta / w2 / 3 / w1
        assert float(found.radius[k]) == pytest.approx(expected, rel=1e-6)


def test_normalisation_and_other_constants_are_exact() -> None:
    torch.manual_seed(7)
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    plain = imported(module, 3, 4, 4)
    scaled = imported(module, 3, 4, 4, mean=[0.1, 0.2, 0.3], std=[0.5, 0.25, 1.0])
    x = torch.rand(1, 3, 4, 4, dtype=torch.float64)
    mean, std = vector(0.1, 0.2, 0.3).reshape(3, 1, 1), vector(0.5, 0.25, 1.0).reshape(3, 1, 1)
    inner, _ = bounds(plain, (x - mean) / std)
    outer, _ = bounds(scaled, x)
    assert float(outer.radius) == pytest.approx(float(inner.radius) * 0.25, rel=1e-9)


def test_non_square_pooling_takes_the_larger_side() -> None:
    module = nn.Sequential(nn.MaxPool2d((2, 1)), nn.Flatten(), nn.Linear(12, 2))
    found, _ = bounds(imported(module, 1, 4, 6), torch.rand(1, 1, 4, 6).double())
    assert float(found.kappa[0, 0] * 6) == pytest.approx(float(found.kappa[0, 1]))


class Normalised(nn.Module):
    """A dense layer, batch normalisation that stays a node of its own, ReLU, a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.pool, self.norm = nn.MaxPool2d(2), nn.BatchNorm2d(2)
        self.norm.running_var = torch.tensor([0.5, 2.0])
        self.norm.weight.data = torch.tensor([1.5, -0.7])
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.tanh(self.first(x)).reshape(-1, 2, 2, 2)
        return self.second(torch.relu(self.norm(z)).flatten(1))


def test_dense_layers_in_front_of_batch_normalisation() -> None:
    """Equation 4.8 with the bound behind it in the place of δ."""
    module = Normalised()
    found, evaluation = bounds(imported(module, 8), torch.randn(2, 8, dtype=torch.float64))
    ops = [s.op for s in Peck2017(evaluation.network, Norm.L2).stages]
    assert ops == ["Gemm+Tanh+Reshape", "BatchNormalization+Relu+Flatten", "Gemm", "Softmax"]
    at = next(k for k, n in enumerate(evaluation.network.nodes) if n.op == "BatchNormalization")
    weight = evaluation.network.nodes[at].layer.weight
    middle = printed.batch_normalization(found.kappa[:, 2], evaluation.values[at], weight)
    assert found.kappa[:, 1].tolist() == pytest.approx(middle.tolist())
    first = module.first.double()
    m = 0.3849001794597505 * float(first.weight.detach().abs().sum(dim=1).max()) ** 2
    for k in range(2):
        x = evaluation.values[0][k].reshape(-1)
        jacobian = torch.autograd.functional.jacobian(lambda v: torch.tanh(first(v)), x)
        norm = float(torch.linalg.matrix_norm(jacobian, 2))
        expected = quadratic(norm, m, 8, float(middle[k]))
        assert float(found.radius[k]) == pytest.approx(expected, rel=1e-6)


def test_dead_and_constant_networks_give_zero_or_finite() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    module[0].bias.data[:] = -100.0  # every ReLU is off: J = 0
    found, _ = bounds(imported(module, 3), torch.zeros(1, 3, dtype=torch.float64))
    assert torch.isfinite(found.radius).all() and float(found.radius) > 0
    module[2].weight.data[:] = 0.0  # the class never changes, and δ is infinite
    found, _ = bounds(imported(module, 3), torch.zeros(1, 3, dtype=torch.float64))
    assert float(found.radius) == 0.0


def test_no_samples() -> None:
    network = imported(lenet(), 1, 28, 28)
    found, _ = bounds(network, torch.zeros(0, 1, 28, 28, dtype=torch.float64))
    assert found.radius.shape == (0,) and found.kappa.shape == (0, 6)


@pytest.mark.parametrize("norm", [Norm.L1, Norm.LINF])
def test_other_norms_are_refused(norm: Norm) -> None:
    network = imported(nn.Linear(3, 2), 3)
    with pytest.raises(UsageError, match=f"l2 norm only, not for {norm.value}.*method 'walk'"):
        Peck2017(network, norm)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(x + self.inner(x)))


def test_branching_networks_are_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"Add.*joins 2 branches") as caught:
        Peck2017(imported(Residual(), 4), Norm.L2)
    assert isinstance(caught.value, RefusedInput)


def test_every_node_without_a_theorem_is_listed() -> None:
    module = nn.Sequential(
        *(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.ConvTranspose2d(2, 1, 3), nn.Flatten()),
        *(nn.Linear(36, 5), nn.LeakyReLU(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2)),
    )
    with pytest.raises(UnsupportedModel) as caught:
        Peck2017(imported(module, 1, 6, 6), Norm.L2)
    lines = str(caught.value).splitlines()
    assert "3 node(s)" in lines[0] and "method 'walk'" in lines[-1]
    assert "(Sigmoid): only ReLU has a theorem outside an MLP" in lines[1]
    assert "(ConvTranspose): no theorem" in lines[2]
    assert "(LeakyRelu): Table 4.1 has only" in lines[3]
    assert len(lines) == 5


def test_lrn_outside_assumption_5_10_is_refused() -> None:
    network = chain((1, 4, 1, 1), ("LRN", [], {"beta": 1.5, "size": 3}), ("Flatten", [], {}))
    with pytest.raises(UnsupportedModel, match=r"beta = 1\.5 break Assumption 5\.10"):
        Peck2017(network, Norm.L2)


def shared(name: str) -> Network:
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{path} is not here (third-party models stay out of the repository)")
    return boundcert.load_onnx(path, check=False)


@pytest.mark.parametrize(
    "name",
    [
        "lenet5-mnist.onnx",
        "mnist-net_256x2.onnx",
        "Convnet_maxpool.onnx",
        "cifar_base_kw.onnx",
        "ffnnSIGMOID__Point_6x200.onnx",
        "ACASXU_run2a_1_1_batch_2000.onnx",
    ],
)
def test_third_party_networks(name: str) -> None:
    network = shared(name)
    x = torch.from_numpy(np.random.default_rng(9).random((3, *network.input_shape[1:])))
    found, _ = bounds(network, x)
    stages = Peck2017(network, Norm.L2).stages
    assert found.kappa.shape == (3, len(stages))
    assert torch.isfinite(found.kappa).all() and (found.kappa > 0).all()


def test_lenet5_mlp_matches_its_weights() -> None:
    network = shared("lenet5-mnist.onnx")
    rule = Peck2017(network, Norm.L2).blocks[-1].rule
    assert isinstance(rule, Mlp)
    weight = network.nodes[6].layer.weight
    assert rule.units == 500
    assert rule.m == pytest.approx(float(weight.abs().sum(dim=0).max()) ** 2)


def test_third_party_residual_network_is_refused() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        Peck2017(shared("resnet_2b.onnx"), Norm.L2)
    text = str(caught.value)
    assert "Add_6 (Add): joins 2 branches" in text and "Add_11 (Add)" in text
