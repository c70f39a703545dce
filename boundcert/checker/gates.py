"""Activations that models write out as products, read as what they are.

A product of two functions of one value forgets that it is. With polynomials of odd powers in x,

    p·x·(r·h(…) + v) = factor·σ(stretch·x)

is Swish where h is a sigmoid and v = 0, or tanh and v = r (with twice its a); GELU where h is erf
and v = r; its tanh form where tanh has an argument of x³, too; Mish where h is tanh of softplus;
HardSwish where h is a hard sigmoid.

What a runtime may add is told of the activation (:mod:`boundcert.checker.runtime`), as of a product
of rounded factors, in whatever order. So there are few steps, a rounding each, none of which makes
larger, by a difference, what was rounded before; and factors are of about the operand's size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from boundcert.checker.bends import GELU_TANH, STRETCHES
from boundcert.checker.blends import blend, blended, factors, numbers
from boundcert.checker.maps import Pick
from boundcert.checker.nodes import Affine, Bend, Node, Product, altered

#: What factors may be, and how many steps lead to an argument, and from a gate to its product.
FACTORS, STEPS, GATE_STEPS = (0.5, 2.0), 6, 3
#: Up to which share numbers of GELU's tanh form are those of the operator.
NEAR = 1e-3


@dataclass(frozen=True)
class Polynomial:
    """c₁x + c₂x² + c₃x³, by so many steps."""

    c: tuple[float, float, float] = (1.0, 0.0, 0.0)
    steps: int = 0


@dataclass(frozen=True)
class Gate:
    """r·h(…) + v, by so many steps; a hard sigmoid is h of its argument times ``a``, plus ``b``."""

    h: str
    of: Polynomial
    r: float = 1.0
    v: float = 0.0
    steps: int = 0
    a: float = 1.0
    b: float = 0.0


@dataclass(frozen=True)
class Gated:
    """factor·σ(stretch·x); whether it was scaled as a whole."""

    name: str
    a: float = 0.0
    b: float = 0.0
    factor: float = 1.0
    stretch: float = 1.0
    scaled: bool = False


Form = Polynomial | Gate | Gated
#: A node, and what another one is of it.
Known = tuple[int, Form]


def with_gates(nodes: list[Node], target: int, plain: set[int]) -> tuple[list[Node], int]:
    """Nodes with gated activations and blends as such; and where the target is now.

    ``plain`` affine nodes are computed as they stand. What nothing needs any more is still there.
    """
    known: list[Known] = []
    made: list[Node] = []
    place: list[int] = []
    for k, node in enumerate(nodes):
        found = _form(k, node, [known[i] for i in node.inputs], nodes, plain)
        known.append(found or (k, Polynomial()))
        root, form = known[-1]
        three = blend(k, nodes, plain)
        if isinstance(form, Gated):
            made += _written(node.n, form, place[root], len(made))
        elif three is not None:
            t, h, x = (place[i] for i in three)
            made += blended(node.n, t, h, x, len(made))
        else:
            made.append(altered(node, tuple(place[i] for i in node.inputs)))
        place.append(len(made) - 1)
    return made, place[target]


def _written(n: int, form: Gated, root: int, count: int) -> list[Node]:
    """The nodes of an activation behind ``root``, the first of them number ``count``."""
    made: list[Node] = []

    def scale(factor: float) -> None:
        if factor != 1.0:
            at = (count + len(made) - 1,) if made else (root,)
            pick, zero = Pick(np.arange(n), n, factor), np.zeros(n)
            made.append(Affine(n, at, (pick,), zero, zero))

    scale(form.stretch)
    at = count + len(made) - 1 if made else root
    made.append(Bend(n, (at,), form.name, np.array([form.a]), form.b))
    scale(form.factor)
    return made


def _form(
    k: int, node: Node, operands: list[Known], nodes: list[Node], plain: set[int]
) -> Known | None:
    """What a node is of the one that all its operands are functions of; None: nothing known."""
    roots = {root for root, _ in operands}
    if len(roots) != 1 or nodes[next(iter(roots))].n != node.n:
        return None
    if isinstance(node, Bend | Product) and node.free:
        return None
    root, forms = roots.pop(), [form for _, form in operands]
    found: Form | None = None
    if isinstance(node, Bend):
        found = _applied(node, forms[0])
    elif isinstance(node, Product):
        found = _product(*forms)
    elif isinstance(node, Affine) and node.rounds is not None:
        found = None
    elif isinstance(node, Affine) and len(forms) == 1:
        w, s = numbers(node) or (0.0, 0.0)
        if node.moves and (w, s) == (1.0, 0.0):
            found = forms[0]
        elif k in plain and w != 0:
            found = _scaled(w, s, forms[0])
    elif isinstance(node, Affine) and k in plain and len(forms) == 2:
        found = _sum(factors(node), *forms)
    return None if found is None else (root, found)


def _scaled(w: float, s: float, form: Form) -> Form | None:
    """w times a form, plus s, unless that may cancel what was rounded before."""
    if isinstance(form, Gate):
        made = replace(form, r=w * form.r, v=w * form.v + s, steps=form.steps + 1)
        once = s == 0 or form.v == 0
        fine = once and _within(FACTORS, made.r) and abs(made.v) <= FACTORS[1]
        return made if fine and made.steps <= GATE_STEPS else None
    if s != 0:
        return None
    if isinstance(form, Gated):
        whole = replace(form, factor=w * form.factor, scaled=True)
        return whole if not form.scaled and _within(FACTORS, whole.factor) else None
    return _polynomial([w * c for c in form.c], form.steps + 1)


def _polynomial(c: list[float], steps: int) -> Polynomial | None:
    fine = steps <= STEPS and all(x == 0 or _within(STRETCHES, x) for x in c)
    return Polynomial((c[0], c[1], c[2]), steps) if fine else None


def _sum(signs: tuple[float, ...] | None, one: Form, other: Form) -> Polynomial | None:
    """None where a difference makes larger what was rounded before."""
    if not (isinstance(one, Polynomial) and isinstance(other, Polynomial) and signs):
        return None
    pairs = [(signs[0] * c, signs[1] * d) for c, d in zip(one.c, other.c)]
    if any(c * d < 0 for c, d in pairs):
        return None
    return _polynomial([c + d for c, d in pairs], max(one.steps, other.steps) + 1)


def _times(one: Polynomial, other: Polynomial) -> Polynomial | None:
    powers = [0.0] * 7
    for i, c in enumerate(one.c, start=1):
        for j, d in enumerate(other.c, start=1):
            powers[i + j] += c * d
    return None if any(powers[4:]) else _polynomial(powers[1:4], one.steps + other.steps + 1)


def _applied(node: Bend, form: Form) -> Form | None:
    """An activation of a form; powers are polynomials."""
    a = float(node.a[0])
    if node.name == "Tanh" and isinstance(form, Gate):
        softplus = form.h == "Softplus" and (form.r, form.v) == (1.0, 0.0)
        return Gate("Tanh of Softplus", form.of) if softplus else None
    if not isinstance(form, Polynomial):
        return None
    if node.name == "Pow" and a in (2.0, 3.0):
        square = _times(form, form)
        return square if a == 2.0 or square is None else _times(square, form)
    if node.name == "HardSigmoid":
        return Gate(node.name, form, a=a, b=node.b)
    return Gate(node.name, form) if node.name in ("Sigmoid", "Tanh", "Erf", "Softplus") else None


def _product(one: Form, other: Form) -> Form | None:
    if isinstance(one, Polynomial) and isinstance(other, Polynomial):
        return _times(one, other)
    gate, factor = (one, other) if isinstance(one, Gate) else (other, one)
    if not (isinstance(gate, Gate) and isinstance(factor, Polynomial)):
        return None
    p, square, cube = factor.c
    if square or cube or gate.of.c[1] or factor.steps > 1:
        return None
    found = _gated(gate, gate.of.c[0], gate.of.c[2])
    if found is None:
        return None
    found = replace(found, factor=found.factor * p * gate.r)
    sizes = _within(FACTORS, p, gate.r, found.factor, found.stretch)
    return found if sizes and found.a >= 0 and _within(STRETCHES, found.a or 1.0) else None


def _gated(gate: Gate, s: float, cube: float) -> Gated | None:
    """What x·(h + v/r) is, for an argument s·x + cube·x³ of h."""
    shut, even = gate.v == 0, gate.v == gate.r
    if gate.h == "Tanh" and even and cube != 0:
        about = zip((s, cube / s if s else 0.0), GELU_TANH)
        near = all(abs(x - y) <= NEAR * y for x, y in about)
        return Gated("GeluTanh", s, cube / s, factor=2.0) if near else None
    if cube != 0:
        return None
    if gate.h == "Sigmoid" and shut:
        return Gated("Swish", s)
    if gate.h == "Tanh" and even:
        return Gated("Swish", 2.0 * s, factor=2.0)
    if gate.h == "Erf" and even:
        return Gated("Gelu", s, factor=2.0)
    if gate.h == "Tanh of Softplus" and shut and s == 1:
        return Gated("Mish")
    if gate.h == "HardSigmoid" and shut and gate.b == 0.5 and s * gate.a > 0:
        # x·clip(sx + ½, 0, 1) is y·clip(y/6 + ½, 0, 1)/6s for y = 6sx
        six = 6.0 * s * gate.a
        return Gated("HardSwish", factor=1.0 / six, stretch=six)
    return None


def _within(ends: tuple[float, float], *sizes: float) -> bool:
    return all(ends[0] <= abs(size) <= ends[1] for size in sizes)
