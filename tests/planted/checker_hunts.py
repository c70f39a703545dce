"""Hunts for bugs of the checker, each on many models from seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from checker import graphs
from checker.choices import Choices
from checker.claims import claim_of
from checker.random_models import (
    dense_model,
    gated_model,
    input_shape,
    pooled_model,
    random_model,
)
from network.models import model, node
from network.test_gates import BLENDS, NO_BLENDS, WRITTEN, written

from boundcert.checker import Checker, Reading
from boundcert.checker.ball import Ball
from boundcert.checker.certificate import NORMS
from boundcert.checker.curves import CURVES
from boundcert.checker.floors import floor
from boundcert.checker.proof import Proof
from boundcert.checker.runtime import runs_of
from boundcert.layers.arithmetic import Arithmetic
from boundcert.network.importer import import_bytes
from boundcert.proofs import Chooser

#: A runtime of fewer digits.
COARSE = Arithmetic("float32", 2.0**-9, 1e-30, 1e30)


def proofs(seed: int) -> None:
    """The checker reads what the importer reads, and its boxes and margins hold."""
    _proof(pooled_model(seed), seed)
    for k in range(3 * seed, 3 * seed + 3):
        _proof(random_model(k, (1.0, 3.0)[k % 2]), k)


def _proof(made: onnx.ModelProto, seed: int) -> None:
    norm, x = list(NORMS)[seed % 3], np.random.default_rng(seed).standard_normal(input_shape(made))
    graph, _ = Checker(made.SerializeToString()).graph(Reading(x.shape), norm)
    network = import_bytes(made.SerializeToString())
    z = graphs.values(graph, x.ravel())[-1]
    expected = network.logits(network.prepare(x.reshape(1, *network.input_shape)))[0].numpy()
    assert np.allclose(z, expected, rtol=1e-9, atol=1e-9 * (1 + np.abs(z).max()))
    graph = replace(graph, unit=COARSE.unit, tiny=COARSE.tiny, largest=COARSE.largest)
    clip = (-1.0, 1.0) if seed % 4 == 3 else None
    ball = Ball(x.ravel() if clip is None else x.ravel().clip(*clip), NORMS[norm], 0.6, clip)
    label = int(graphs.values(graph, ball.x)[-1].argmax())
    proof = Proof(graph, runs_of(graph, ball.p), ball, bool(seed % 2), Choices(), seed % 3 > 0)
    graphs.assert_holds(proof, label, seed)


def gates(seed: int) -> None:
    """The same of products and highways."""
    for k in range(3 * seed, 3 * seed + 3):
        _proof(gated_model(k), k)


def readings(seed: int) -> None:
    """The same of one way to write out a gate."""
    cases = [*(text for _, text in WRITTEN.values()), *BLENDS.values(), *NO_BLENDS.values()]
    _proof(written(cases[seed % len(cases)]), seed)


def curves(seed: int) -> None:
    """The checker's floors hold on a grid, also where a curve bends the other way."""
    rng, names = np.random.default_rng(seed), ("Swish", "Gelu", "Mish", "Erf", "Selu")
    name, a, b = names[seed % 5], np.array([rng.choice([0.7, 1.0, 1.7])]), 1.0
    low, high = np.sort(rng.standard_normal((2, 50)) * 4, axis=0)
    for side in (1.0, -1.0):
        slope = side * CURVES[name].derivative(low + rng.random(50) * (high - low), a, b)
        least = floor(name, side, slope, low, high, a, b)
        for share in np.linspace(0, 1, 41):
            z = low + share * (high - low)
            assert bool((side * CURVES[name].value(z, a, b) - slope * z >= least - 1e-14).all())


def roundings(seed: int) -> None:
    """The checker's bound on a runtime's error covers a highway's that are computed as written."""
    x = np.random.default_rng(seed).random(7).astype(np.float32)
    graph, runs = Checker(written(BLENDS["highway"]).SerializeToString()).graph(
        Reading((1, 7)), "linf"
    )
    ball = Ball(x.astype(np.float64), np.inf, 1e-30)
    error = Proof(graph, runs, ball, True, Choices()).error
    t = (1 / (1 + np.exp(-x))).astype(np.float32)
    # h is x, and so is all that it lets in and keeps
    found = t * x + (np.float32(1) - t) * x
    assert bool((error[len(graph.nodes) - 1] >= np.abs(found.astype(np.float64) - x)).all())


def multipliers(seed: int) -> None:
    """The checker's margins hold on wide layers, with the best multipliers there are."""
    made = dense_model(seed)
    graph, runs = Checker(made.SerializeToString()).graph(Reading((1, 4)), "l2")
    rng = np.random.default_rng(seed)
    for radius in (0.3, 1.0, 3.0):
        ball = Ball(rng.standard_normal(4), 2.0, radius)
        label = int(graphs.values(graph, ball.x)[-1].argmax())
        proof = Proof(graph, runs, ball, False, Chooser(), True)
        graphs.assert_holds(proof, label, seed)


def pools(seed: int) -> None:
    """The same of maxima over windows that meet."""
    made = pooled_model(seed)
    shape = input_shape(made)
    graph, runs = Checker(made.SerializeToString()).graph(Reading(shape), "l2")
    for radius in (0.3, 1.0, 3.0):
        ball = Ball(np.random.default_rng(seed).standard_normal(shape).ravel(), 2.0, radius)
        label = int(graphs.values(graph, ball.x)[-1].argmax())
        graphs.assert_holds(Proof(graph, runs, ball, False, Chooser(), True), label, seed)


def between(seed: int) -> None:
    """The same between means of windows, whose entries move together."""
    made = pooled_model(seed, convolved=True)
    shape = input_shape(made)
    graph, runs = Checker(made.SerializeToString()).graph(Reading(shape), "linf")
    for radius in (0.1, 0.3, 1.0):
        ball = Ball(np.random.default_rng(seed).standard_normal(shape).ravel(), np.inf, radius)
        label = int(graphs.values(graph, ball.x)[-1].argmax())
        proof = Proof(graph, runs, ball, False, Chooser(), means=True)
        graphs.assert_holds(proof, label, seed)


def claims(seed: int) -> None:
    """No point that is rounded to the runtime's type, and summed with errors, is another class."""
    rng, norm = np.random.default_rng(seed), list(NORMS)[seed % 3]
    weight = {"w": rng.standard_normal((3, 3)).astype(np.float32)}
    made = model([node("MatMul", "x w")], [1, 3], weight)
    checker, x = Checker(made.SerializeToString()), rng.choice([-1.0, 1.0], (1, 3))
    exact, runs = checker.graph(Reading(x.shape), norm)
    graph = replace(exact, unit=COARSE.unit)
    checker._graphs[Reading(x.shape), norm] = graph, runs
    claim, low, high = claim_of(checker, x, norm, "deployed", None), 0.0, 9.0
    for _ in range(40):
        claim = replace(claim, radius=0.5 * (low + high))
        holds = checker.prove(claim, x, Choices()).holds
        low, high = (claim.radius, high) if holds else (low, claim.radius)
    ball = Ball(x.ravel(), NORMS[norm], low)
    proof = Proof(graph, runs, ball, True, Choices())
    for point in graphs.points(graph, ball, claim.label, seed):
        for row in np.eye(3)[claim.label] - np.delete(np.eye(3), claim.label, axis=0):
            slopes = graphs.gradients(graph, graphs.values(graph, point), row)
            away = point - np.abs(point) * graph.unit * np.sign(slopes[0])
            errors = {k: -e * np.sign(slopes[k]) for k, e in proof.error.items()}
            assert low == 0 or row @ graphs.values(graph, away, errors)[-1] > 0


def totals(seed: int) -> None:
    """The checker's bound on a runtime's error covers sums that are taken one by one."""
    rng = np.random.default_rng(seed)
    weight, x = (rng.random((500, 20)).astype(np.float32) for _ in range(2))
    x = x[:, 0].astype(np.float32)
    total = np.cumsum(weight * x[:, None], axis=0, dtype=np.float32)[-1]
    exact = x.astype(np.float64) @ weight.astype(np.float64)
    made = model([node("MatMul", "x w")], [1, 500], {"w": weight})
    graph, runs = Checker(made.SerializeToString()).graph(Reading((1, 500)), "linf")
    ball = Ball(x.astype(np.float64), np.inf, 1e-30)
    error = Proof(graph, runs, ball, True, Choices()).error[1]
    assert bool((error >= np.abs(total - exact)).all())


CHECKER_HUNTS: Mapping[str, Callable[[int], None]] = {
    "proofs": proofs,
    "gates": gates,
    "readings": readings,
    "curves": curves,
    "roundings": roundings,
    "multipliers": multipliers,
    "pools": pools,
    "between": between,
    "claims": claims,
    "totals": totals,
}
