"""Activations in exact arithmetic, with boxes and points to try them on."""

from __future__ import annotations

import math

import mpmath
import numpy as np
from boundcert.kernels import backend
from hypothesis import strategies as st
from mpmath import mpf

from boundcert.layers.activation_gated import GELU, GELU_TANH
from boundcert.layers.activation_table import ACTIVATIONS

CPU, REFERENCE = backend("cpu"), backend("reference")
seeds = st.integers(0, 2**32 - 1)
#: Of activations that have some.
PARAMETERS = {
    "LeakyRelu": (0.3, 0.0),
    "PRelu": (-1.5, 0.0),
    "Elu": (1.3, 0.0),
    "Selu": (1.6732632, 1.0507010),
    "Celu": (0.7, 0.0),
    "HardSigmoid": (0.2, 0.5),
    "Clip": (-0.4, 0.9),
    "Pow": (3.0, 0.0),
    "Sqrt": (0.5, 0.0),
    "Gelu": (GELU, 0.0),
    "GeluTanh": GELU_TANH,
    "Swish": (1.0, 0.0),
}
CASES = [(k, *PARAMETERS.get(k, (0.0, 0.0))) for k in ACTIVATIONS] + [
    *(("Swish", a, 0.0) for a in (1.702, 0.01, 300.0)),
    *(("Gelu", a, 0.0) for a in (float(np.float32(0.70710678)), 3.0)),
    ("GeluTanh", float(np.float32(0.79788456)), float(np.float32(0.044715))),
    *(("Pow", e, 0.0) for e in (0.0, 1.0, 2.0, 4.0, 7.0, -1.0, -2.0, 0.3, 1.5, -0.5)),
    *(("PRelu", a, 0.0) for a in (0.0, 1.0, 2.5)),
    *(("Elu", a, 0.0) for a in (-0.8, 1.0)),
    *(("HardSigmoid", a, b) for a, b in ((-0.7, 0.3), (30.0, -200.0), (0.0, 0.2))),
    *(("Clip", a, b) for a, b in ((-math.inf, 0.5), (0.0, math.inf), (0.25, 0.25))),
    ("Selu", -1.2, 0.9),
]
KINKED = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Clip", "HardSigmoid", "Abs", "HardSwish")


def truth(name: str, x: mpf, a: float, b: float) -> mpf:
    x, a, b = mpf(x), mpf(a), mpf(b)
    name = {"PRelu": "LeakyRelu", "Sqrt": "Pow"}.get(name, name)
    if name == "Gelu":
        return x * mpmath.erfc(-a * x) / 2
    if name == "GeluTanh":
        t = a * (x + b * x**3)
        return x / (1 + mpmath.exp(-2 * t))
    return {
        "Relu": lambda: max(x, mpf(0)),
        "LeakyRelu": lambda: x if x > 0 else a * x,
        "Elu": lambda: x if x > 0 else a * mpmath.expm1(x),
        "Selu": lambda: b * (x if x > 0 else a * mpmath.expm1(x)),
        "Celu": lambda: x if x > 0 else a * mpmath.expm1(x / a),
        "Sigmoid": lambda: 1 / (1 + mpmath.exp(-x)),
        "HardSigmoid": lambda: min(max(a * x + b, mpf(0)), mpf(1)),
        "Tanh": lambda: mpmath.tanh(x),
        "Softplus": lambda: max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x))),
        "Softsign": lambda: x / (1 + abs(x)),
        "Clip": lambda: min(max(x, a), b),
        "Abs": lambda: abs(x),
        "Pow": lambda: x ** (int(a) if a == int(a) else a),
        "Erf": lambda: mpmath.erf(x),
        "Exp": lambda: mpmath.exp(x),
        "HardSwish": lambda: x * min(max(x / 6 + mpf(1) / 2, mpf(0)), mpf(1)),
        "Swish": lambda: x / (1 + mpmath.exp(-a * x)),
        "Mish": lambda: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
        "Reciprocal": lambda: 1 / x,
        "Log": lambda: mpmath.log(x),
    }[name]()


def shape(name: str, a: float, b: float):  # type: ignore[no-untyped-def]
    rule = ACTIVATIONS[name]
    pieces = np.array(rule.pieces(a, b), dtype=np.float64).reshape(-1, 3)
    return rule.code, (np.array([a]), np.array([b]), pieces)


def positive(name: str, a: float) -> bool:
    return name in ("Log", "Reciprocal") or (name in ("Pow", "Sqrt") and (a < 0 or a % 1 != 0))


def boxes(rng: np.random.Generator, name: str, a: float, pieces: np.ndarray, n: int):  # type: ignore[no-untyped-def]
    """Random and hostile boxes inside the domain."""
    ends = pieces[:, :2][np.isfinite(pieces[:, :2])]
    special = np.concatenate(
        [ends, ends + 1e-12, ends - 1e-12, [0.0, 1.0, -2.0, 40.0, -40.0, 300.0]]
    )
    middle = np.where(
        rng.random(n) < 0.5,
        rng.choice(special, n),
        rng.standard_normal(n) * 10.0 ** rng.uniform(-2, 1.5, n),
    )
    width = rng.choice([0.0, 1e-300, 1e-12, 1e-6, 0.1, 1.0, 3.0, 10.0, 100.0, 1e6], n)
    share = rng.choice([0.0, 0.5, 1.0, 0.3, 1e-9], n)
    low, high = middle - share * width, middle + (1 - share) * width
    if positive(name, a):
        floor = 0.0 if a > 0 else rng.choice([1e-6, 0.1])
        low, high = np.maximum(np.abs(low), floor), np.maximum(np.abs(high), floor)
        if name in ("Pow", "Reciprocal") and a == int(a) and rng.random() < 0.5:
            low, high = -high, -low
    if name == "Exp" or (name == "Pow" and abs(a) > 4):
        low, high = np.clip(low, -700, 600), np.clip(high, -700, 600)
    return np.minimum(low, high)[None], np.maximum(low, high)[None]


def samples(rng: np.random.Generator, low: float, high: float, *points: float) -> list[float]:
    grid = [low + (high - low) * t for t in (0.01, 0.25, 0.5, 0.8, *rng.random(4))]
    return [z for z in (low, high, *grid, *points) if low <= z <= high]
