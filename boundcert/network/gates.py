"""Activations that exporters write out as a product: x·sigmoid(x) is Swish, and so on.

A product of two functions of the same value forgets that it is: bounds on its factors are apart.
What is a known activation of one number, σ(x) = p·x·(r·h(…) + v), becomes one node:

    h = sigmoid(sx), v = 0: Swish, its a = s         h = erf(sx), v = r: GELU, its a = s
    h = tanh(sx), v = r: Swish, a = 2s               h = tanh(sx + cx³), v = r: GELU's tanh form
    h = tanh(softplus(x)), v = 0: Mish               h = hard sigmoid(sx), β = ½, v = 0: HardSwish

times p·r or 2p·r. And t·h + (1 − t)·x, a highway gate, is one product: x + t·(h − x).

The functions are the same but for the rounding of parameters, which bounds on activations and on
affine layers include. What runtimes may add is in the table of activations: its constants hold for
a product of rounded factors, in whatever order, of few steps each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from boundcert.layers.activation import Elementwise, elementwise
from boundcert.layers.activation_gated import GELU_TANH
from boundcert.layers.base import Layer
from boundcert.layers.blend import Blend
from boundcert.layers.diagonal import Diagonal, diagonal
from boundcert.layers.merge import Add
from boundcert.layers.product import Product
from boundcert.layers.runtime_bounds import Detour
from boundcert.network.graph import Node

#: Highest power of a polynomial that is followed.
DEGREE = 3
#: Parameters outside of this range are left as they are written, and so are factors, with which
#: runtimes might leave the range of their numbers on the way.
PARAMETERS, FACTORS = (2.0**-10, 2.0**10), (0.5, 2.0)
#: Most operations, a rounding each, on the way to an argument, and on a gate before the product.
MOST_STEPS, MOST_ON_GATES = 6, 3
#: What the numbers of GELU's tanh form may differ by from those of ONNX.
NEAR = 1e-3

Coefficients = tuple[float, ...]


@dataclass(frozen=True)
class _Power:
    """Σ c_k·x^k."""

    c: Coefficients
    steps: int = 0

    @property
    def odd(self) -> tuple[float, float] | None:
        """(c₁, c₃) where no other is there."""
        return (self.c[1], self.c[3]) if self.c[0] == self.c[2] == 0 else None


@dataclass(frozen=True)
class _Gate:
    """r·h(…) + v; ``b`` is a parameter of h."""

    h: str
    of: _Power
    b: float = 0.0
    r: float = 1.0
    v: float = 0.0
    steps: int = 0


@dataclass(frozen=True)
class _Gated:
    """factor·σ(stretch·x) for an activation σ of the table; whether it was scaled as a whole."""

    name: str
    a: float = 0.0
    b: float = 0.0
    factor: float = 1.0
    stretch: float = 1.0
    scaled: bool = False

    def times(self, w: float) -> _Gated:
        return replace(self, factor=w * self.factor)


_Form = _Power | _Gate | _Gated
#: A node, and what another one is of it.
_Known = tuple[int, _Form]
_ITSELF = _Power((0.0, 1.0, 0.0, 0.0))


def with_gates(nodes: Sequence[Node]) -> list[Node]:
    """The same values with gated activations as one node each, without what nothing needs then."""
    known: list[_Known] = []
    for k, node in enumerate(nodes):
        found = _form(node, [known[i] for i in node.inputs], nodes) if node.layer else None
        known.append(found or (k, _ITSELF))
    made: list[Node] = []
    place: dict[int, int] = {}
    blends = {k: three for k in range(1, len(nodes)) if (three := _blend(k, nodes))}
    for k in sorted(_needed(nodes, known, blends)):
        node, (root, form) = nodes[k], known[k]
        if isinstance(form, _Gated):
            made += _written(node, form, place[root], len(made))
        elif k in blends:
            inputs = tuple(place[i] for i in blends[k])
            made.append(replace(node, layer=Blend(node.shape), op="Blend", inputs=inputs))
        else:
            made.append(replace(node, inputs=tuple(place[i] for i in node.inputs)))
        place[k] = len(made) - 1
    return made


def _needed(
    nodes: Sequence[Node], known: Sequence[_Known], blends: Mapping[int, tuple[int, ...]]
) -> set[int]:
    needed = {0, len(nodes) - 1}
    for k in range(len(nodes) - 1, 0, -1):
        if k in needed:
            root, form = known[k]
            inputs = blends.get(k, nodes[k].inputs)
            needed.update((root,) if isinstance(form, _Gated) else inputs)
    return needed


def _blend(k: int, nodes: Sequence[Node]) -> tuple[int, int, int] | None:
    """t, h and x of a node that is t·h + (1 − t)·x; None if it is not."""
    layer = nodes[k].layer
    if not isinstance(layer, Add) or layer.op == "Sub" or len(nodes[k].inputs) != 2:
        return None
    pair = [nodes[i] for i in nodes[k].inputs]
    if not all(isinstance(node.layer, Product) for node in pair):
        return None
    for one, other in (pair, pair[::-1]):
        for c, x in (other.inputs, other.inputs[::-1]):
            for t, h in (one.inputs, one.inputs[::-1]):
                same = len({nodes[i].shape for i in (k, t, h, c, x)}) == 1
                if same and _shuts(c, t, nodes):
                    return t, h, x
    return None


def _shuts(c: int, t: int, nodes: Sequence[Node]) -> bool:
    """Whether node c is 1 − t, with one rounding: of that very t, whose errors are its own."""
    weight, shift = 1.0, 0.0
    while c != t:
        layer = nodes[c].layer
        if not isinstance(layer, Diagonal):
            return False
        w, s = _numbers(layer) or (0.0, 0.0)
        if abs(w) != 1 or (s != 0 and shift != 0):
            return False
        weight, shift, c = weight * w, shift + weight * s, nodes[c].inputs[0]
    return (weight, shift) == (-1.0, 1.0)


def _written(node: Node, form: _Gated, root: int, count: int) -> list[Node]:
    """The nodes of an activation behind ``root``, the first of them number ``count``."""
    shape, made, source = node.shape, [], root
    layers: list[tuple[str, Layer]] = [
        ("Mul", diagonal(shape, shape, form.stretch, 0.0)),
        (form.name, elementwise(form.name, shape, form.a, form.b)),
        ("Mul", diagonal(shape, shape, form.factor, 0.0)),
    ]
    for kind, layer in layers:
        if kind != "Mul" or float(layer.weight) != 1.0:  # type: ignore[attr-defined]
            made.append(Node(node.name, kind, layer, (source,), shape))
            source = count + len(made) - 1
    made[-1] = replace(made[-1], tensor=node.tensor)
    return made


def _form(node: Node, operands: list[_Known], nodes: Sequence[Node]) -> _Known | None:
    """What a node is of the one that all its operands are functions of; None: nothing known."""
    roots = {root for root, _ in operands}
    if len(roots) != 1 or nodes[next(iter(roots))].shape != node.shape:
        return None
    root, forms, layer = roots.pop(), [form for _, form in operands], node.layer
    found: _Form | None = None
    if isinstance(layer, Diagonal):
        found = _scaled(layer, forms[0])
    elif isinstance(layer, Elementwise):
        found = _applied(layer, forms[0])
    elif len(forms) == 2 and isinstance(layer, Add):
        found = _sum(layer.op, *forms)
    elif len(forms) == 2 and isinstance(layer, Product):
        found = _product(*forms)
    return None if found is None else (root, found)


def _scaled(layer: Diagonal, form: _Form) -> _Form | None:
    """w times a form plus s, unless that may cancel what was rounded before."""
    w, s = _numbers(layer) or (0.0, 0.0)
    if w == 0:
        return None
    if isinstance(form, _Gate):
        gate = replace(form, r=w * form.r, v=w * form.v + s, steps=form.steps + 1)
        once = s == 0 or form.v == 0
        plain = once and _within(FACTORS, gate.r) and abs(gate.v) <= FACTORS[1]
        return gate if plain and gate.steps <= MOST_ON_GATES else None
    if s != 0:
        return None
    if isinstance(form, _Gated):
        times = replace(form.times(w), scaled=True)
        return times if not form.scaled and _within(FACTORS, times.factor) else None
    power = _Power(tuple(w * c for c in form.c), form.steps + 1)
    plain = all(c == 0 or _within(PARAMETERS, c) for c in power.c)
    return power if plain and power.steps <= MOST_STEPS else None


def _numbers(layer: Diagonal) -> tuple[float, float] | None:
    """Weight and shift where both are one number, computed with as they stand."""
    w, s = _number(layer.weight), _number(layer.shift)
    size = _number(layer.shift_size)
    if w is None or s is None or size != abs(s) or layer.way != Detour():
        return None
    return w, s


def _number(values: torch.Tensor) -> float | None:
    first = values.reshape(-1)[0]
    return float(first) if bool((values == first).all()) else None


def _applied(layer: Elementwise, form: _Form) -> _Form | None:
    a, b = _number(layer.a), _number(layer.b)
    if a is None or b is None:
        return None
    if isinstance(form, _Gate) and layer.name == "Tanh":
        plain = form.h == "Softplus" and form.r == 1 and form.v == 0
        return _Gate("Tanh of Softplus", form.of) if plain else None
    if not isinstance(form, _Power):
        return None
    if layer.name == "Pow" and a in (2.0, 3.0):
        square = _times(form, form)
        return square if a == 2.0 or square is None else _times(square, form)
    if layer.name == "HardSigmoid":
        return _Gate(layer.name, replace(form, c=tuple(a * c for c in form.c)), b)
    return _Gate(layer.name, form) if layer.name in ("Sigmoid", "Tanh", "Erf", "Softplus") else None


def _sum(op: str, one: _Form, other: _Form) -> _Form | None:
    if not (isinstance(one, _Power) and isinstance(other, _Power)):
        return None
    sign = -1.0 if op == "Sub" else 1.0
    steps = max(one.steps, other.steps) + 1
    pairs = [(c, sign * d) for c, d in zip(one.c, other.c)]
    if steps > MOST_STEPS or any(c * d < 0 for c, d in pairs):
        return None  # too many roundings, or one that a difference makes larger
    return _Power(tuple(c + d for c, d in pairs), steps)


def _times(one: _Power, other: _Power) -> _Power | None:
    c = [0.0] * (2 * DEGREE + 1)
    for i, x in enumerate(one.c):
        for j, y in enumerate(other.c):
            c[i + j] += x * y
    steps = one.steps + other.steps + 1
    plain = not any(c[DEGREE + 1 :]) and steps <= MOST_STEPS
    return _Power(tuple(c[: DEGREE + 1]), steps) if plain else None


def _product(one: _Form, other: _Form) -> _Form | None:
    if isinstance(one, _Power) and isinstance(other, _Power):
        return _times(one, other)
    gate, power = (one, other) if isinstance(one, _Gate) else (other, one)
    if not (isinstance(gate, _Gate) and isinstance(power, _Power)):
        return None
    rule, (p, cubic) = GATES.get(gate.h), power.odd or (0.0, 1.0)
    inner = gate.of.odd
    if rule is None or inner is None or cubic != 0 or power.steps > 1:
        return None
    found = rule(gate, *inner)
    if found is None:
        return None
    found = found.times(p * gate.r)
    plain = _within(FACTORS, p, gate.r, found.factor, found.stretch)
    return found if plain and _within(PARAMETERS, found.a or 1.0) and found.a >= 0 else None


def _within(ends: tuple[float, float], *sizes: float) -> bool:
    return all(ends[0] <= abs(size) <= ends[1] for size in sizes)


def _sigmoid(gate: _Gate, s: float, cubic: float) -> _Gated | None:
    return _Gated("Swish", s) if gate.v == cubic == 0 else None


def _tanh(gate: _Gate, s: float, cubic: float) -> _Gated | None:
    if gate.v != gate.r:
        return None
    if cubic == 0:
        return _Gated("Swish", 2 * s, factor=2.0)
    usual = zip((s, cubic / s if s else 0.0), GELU_TANH)
    near = all(abs(x - y) <= NEAR * y for x, y in usual)
    return _Gated("GeluTanh", s, cubic / s, factor=2.0) if near else None


def _erf(gate: _Gate, s: float, cubic: float) -> _Gated | None:
    return _Gated("Gelu", s, factor=2.0) if gate.v == gate.r and cubic == 0 else None


def _mish(gate: _Gate, s: float, cubic: float) -> _Gated | None:
    return _Gated("Mish") if gate.v == cubic == 0 and s == 1 else None


def _hard(gate: _Gate, s: float, cubic: float) -> _Gated | None:
    """x·clip(sx + ½, 0, 1) = y·clip(y/6 + ½, 0, 1)/6s, y = 6sx."""
    if not (gate.v == cubic == 0 and gate.b == 0.5 and s > 0):
        return None
    return _Gated("HardSwish", factor=1 / (6 * s), stretch=6 * s)


#: By h: what x·(r·h + v) is, but for r.
GATES: dict[str, Callable[[_Gate, float, float], _Gated | None]] = {
    "Sigmoid": _sigmoid,
    "Tanh": _tanh,
    "Erf": _erf,
    "Tanh of Softplus": _mish,
    "HardSigmoid": _hard,
}
