"""Elementwise activations: every bound from the entry in :mod:`activation_table`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from boundcert.kernels import backend
from boundcert.layers.activation_accuracy import Use
from boundcert.layers.activation_table import ACTIVATIONS, Activation
from boundcert.layers.arithmetic import Arithmetic
from boundcert.layers.ball import Ball
from boundcert.layers.base import (
    UNIT,
    Deviation,
    Emit,
    Ends,
    Layer,
    NodeSpec,
    Reach,
    Site,
    Unsupported,
    align,
    constant,
    elementary_rounding,
    numel,
)
from boundcert.layers.diagonal import diagonal
from boundcert.layers.lines import Lines, flat
from boundcert.layers.relaxation import Box, Relaxation
from boundcert.layers.rows import array
from boundcert.layers.runtime_bounds import least, quotient_error

#: Activations that never decrease, whatever their parameters.
RISING = frozenset(
    {"Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Erf", "Exp", "Clip", "Celu"}
)
#: Those that do not where their parameters are not negative.
RISING_IF = frozenset({"LeakyRelu", "PRelu", "Elu", "Selu", "HardSigmoid"})


@dataclass(frozen=True)
class Elementwise(Layer):
    """y_i = g(x_i), with parameters a, b shared or one an entry."""

    ops: ClassVar[tuple[str, ...]] = tuple(k for k in ACTIVATIONS if k != "GeluTanh")
    wants_reach: ClassVar[bool] = True
    name: str
    a: torch.Tensor
    b: torch.Tensor
    shape: tuple[int, ...]

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        shape = spec.data_shape()
        name = spec.op
        if name == "Gelu" and spec.attr("approximate", "none") == "tanh":
            name = "GeluTanh"
        if name == "PRelu":
            slope = spec.constant(1)
            if slope is None:
                raise Unsupported("has no slope")
            a = constant(slope)
            return cls(name=name, a=align(a[None], len(shape)), b=torch.zeros(1), shape=spec.shape)
        first, second = ACTIVATIONS[name].parameters(spec)
        if math.isnan(first) or math.isnan(second):
            raise Unsupported("has a parameter that is not a number")
        return cls(
            name=name,
            a=torch.tensor([first], dtype=torch.float64),
            b=torch.tensor([second], dtype=torch.float64),
            shape=spec.shape,
        )

    @property
    def rule(self) -> Activation:
        """The entry of the table."""
        return ACTIVATIONS[self.name]

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        if self.name in ("Clip", "Pow"):
            return self.rule.function(x[0], self.a[0], self.b[0])
        return self.rule.function(x[0], self.a, self.b)

    def gain(self, norm: object) -> float | None:
        return None

    def _arguments(self, reach: Reach) -> tuple[np.ndarray, ...]:
        """Parameters as the kernels take them: unit, scale, offset, a, b."""
        unit = reach.unit.expand(numel(self.shape))
        return array(unit), array(reach.scale), array(reach.offset), *self._shape_arguments()[:2]

    def _zones(self, order: int) -> np.ndarray:
        return self.cached(("zones", order), lambda: self._make_zones(order))

    def _make_zones(self, order: int) -> np.ndarray:
        rows = self.rule.bends if order == 2 else self.rule.zones
        zones = rows(float(self.a.reshape(-1)[0]), float(self.b.reshape(-1)[0]))
        return np.array(zones, dtype=np.float64).reshape(-1, 3)

    def slopes(
        self, z: torch.Tensor, reach: Reach, order: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Range of g' (or g″) over each entry's reach: two (B, n) arrays."""
        unit, scale, offset, a, b = self._arguments(reach)
        return backend().activation_slopes(
            self.rule.code, order, flat(z), unit, scale, offset, a, b, self._zones(order)
        )

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        """The better of max|g'|·‖δ‖ and the norm of the entrywise moves (mean value theorem)."""
        reach = moves[0].entries(numel(self.shape))
        unit, scale, offset, a, b = self._arguments(reach)
        gain, size = backend().activation_gain(
            self.rule.code,
            site.norm.p,
            flat(site.inputs[0]),
            unit,
            scale,
            offset,
            a,
            b,
            self._zones(1),
        )
        device = moves[0].size.device
        through = torch.from_numpy(gain).to(device) * moves[0].size
        # 0·inf is nan, which fmin would drop: no bound then
        return Deviation(torch.minimum(through, torch.from_numpy(size).to(device)))

    def rounding(self, site: Site) -> torch.Tensor:
        if self.name in ("Relu", "Abs"):
            return site.output.new_zeros(site.output.shape[0])
        return elementary_rounding(site)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """What the table says of its accuracy."""
        box = boxes[0]
        low, high = (end.to(box.low.device) for end in self.interval(box))
        sizes = torch.cat([self.a.reshape(-1), self.b.reshape(-1)]).abs()
        present = sizes[sizes > 0]
        use = Use(
            box,
            torch.maximum(low.abs(), high.abs()),
            float(self.a if self.a.numel() == 1 else self.a.abs().max()),
            float(self.b.reshape(-1)[0]),
            float(present.min()) if present.numel() else math.inf,
        )
        return self.rule.accuracy(arithmetic, use)

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        reach = moves[0].entries(numel(self.shape))
        low, high = self.slopes(site.inputs[0], reach)
        unit, scale, offset, _, _ = self._arguments(reach)
        weight = cotangent.detach().cpu().flatten(2).contiguous().numpy()
        size = moves[0].size.detach().cpu().contiguous().numpy()
        linear, rest = backend().slope_remainder(
            weight, low, high, unit, scale, offset, size, site.norm.dual.p
        )
        device = cotangent.device
        pulled = torch.from_numpy(linear).to(device).reshape(cotangent.shape)
        return (pulled,), torch.from_numpy(rest).to(device)

    def _shape_arguments(self) -> tuple[np.ndarray, ...]:
        """Parameters and pieces as the kernels take them: a, b, pieces."""
        return self.cached("shape", self._make_shape_arguments)

    def _make_shape_arguments(self) -> tuple[np.ndarray, ...]:
        a = self.a.expand(1, *self.shape) if self.a.numel() > 1 else self.a
        first, second = float(self.a.reshape(-1)[0]), float(self.b.reshape(-1)[0])
        pieces = np.array(self.rule.pieces(first, second), dtype=np.float64).reshape(-1, 3)
        return array(a.reshape(-1)), array(self.b.reshape(-1)), pieces

    def interval(self, *boxes: Box) -> Ends:
        low, high = backend().activation_range(
            self.rule.code, flat(boxes[0].low), flat(boxes[0].high), *self._shape_arguments()
        )
        shape = boxes[0].low.shape
        return torch.from_numpy(low).reshape(shape), torch.from_numpy(high).reshape(shape)

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        box = boxes[0]
        arrays = (flat(part) for part in (box.low, box.high, box.point, value))
        shape = self._shape_arguments()
        lines, kink = backend().deviation_lines(self.rule.code, *arrays, *shape), self._kink
        pencil = partial(self._pencil, box)
        if box.spread is None:
            return Lines(box, value, lines, pencil, kink)
        # two lines describe the function best on either side of a kink, else of the sample
        cut = box.point if kink is None else torch.full_like(box.point, kink)
        cut = torch.minimum(torch.maximum(cut, box.low), box.high)
        left, right = self._lines(box.low, cut), self._lines(cut, box.high)
        return Ball(box, value, lines, cut, left, right, pencil, kink)

    def _pencil(self, box: Box) -> tuple[torch.Tensor, torch.Tensor]:
        """Lines to choose from (B, 12, *shape), and the mix that :meth:`_lines` is."""
        table, start = backend().activation_pencil(
            self.rule.code,
            *(flat(part) for part in (box.low, box.high, box.point)),
            *self._shape_arguments(),
        )
        shape = box.low.shape
        return (
            torch.from_numpy(table).reshape(shape[0], 12, *shape[1:]),
            torch.from_numpy(start).reshape(shape),
        )

    def chords(self, box: Box) -> tuple[torch.Tensor, torch.Tensor]:
        """Slopes of chords from the point into the box: middle and half range, (B, *shape) each.

        A chord's slope is a mean of derivatives along it. Where the function is two straight
        pieces, only a share t of the longest chord that crosses the kink lies beyond it, and the
        slope is nearer to the own piece's than the other's by as much. A half range that is not
        finite says nothing.
        """
        low, high = torch.minimum(box.low, box.point), torch.maximum(box.high, box.point)
        least, most = self._derivatives(0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low)
        if self._kink is not None:
            point, kink = box.point, torch.full_like(low, self._kink)
            beyond = (point >= kink) & (high > kink)
            own = self._derivatives(torch.where(beyond, high, low), torch.zeros_like(low))
            share = torch.where(
                beyond, (kink - low) / (point - low), (high - kink) / (high - point)
            )
            share = torch.where(beyond | (point < kink), share, 1.0) * (1 + 8 * UNIT)
            # nothing lies beyond: 0/0, or less than nothing
            share = share.nan_to_num(0.0, 1.0, 0.0).clamp(0.0, 1.0)
            least, most = (a + share * (b - a) for a, b in zip(own, (least, most)))
        middle = 0.5 * least + 0.5 * most
        half = torch.maximum(most - middle, middle - least)
        half = half + (least.abs() + most.abs()) * (8 * UNIT) * (half != 0)
        return middle, half

    def _derivatives(
        self, point: torch.Tensor, reach: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Range of g' (B, *shape) over ``reach`` (B, *shape) about points."""
        one, flat_a = np.ones(1), self._shape_arguments()[0]
        a = np.tile(flat_a, len(point)) if flat_a.size > 1 else flat_a
        ends = backend().activation_slopes(
            self.rule.code,
            1,
            flat(point).reshape(1, -1),
            flat(reach).reshape(-1) * (1 + 4 * UNIT),
            one,
            np.zeros(1),
            a,
            self._shape_arguments()[1],
            self._zones(1),
        )
        low, high = (torch.from_numpy(end).reshape(point.shape) for end in ends)
        return low, high

    def _lines(self, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Lines below and above over [low, high]: slope, constant, slope, constant."""
        lines = backend().activation_lines(
            self.rule.code, flat(low), flat(high), *self._shape_arguments()
        )
        return tuple(torch.from_numpy(part).reshape(low.shape) for part in lines)

    @property
    def _kink(self) -> float | None:
        """Where two straight pieces meet, if that is all there is."""
        kink: float | None = self.cached("kink", self._find_kink)
        return kink

    def _find_kink(self) -> float | None:
        pieces = self._shape_arguments()[2]
        if len(pieces) == 2 and bool((pieces[:, 2] == 0).all()):
            return float(pieces[0, 1])
        return None

    @property
    def rises(self) -> bool:
        """Whether it is one nondecreasing function for all entries of a channel."""
        if self.name in RISING:
            return True
        known = self.name in RISING_IF and bool((self.a >= 0).all())
        # a is one number, or (1, N, C, spatial…): one a channel at most
        same = self.a.numel() == 1 or all(n == 1 for n in self.a.shape[3:])
        return known and same and (self.name != "Selu" or bool((self.b >= 0).all()))


def elementwise(name: str, shape: tuple[int, ...], a: float = 0.0, b: float = 0.0) -> Elementwise:
    """An activation of the table over values of a shape."""
    first, second = (torch.tensor([v], dtype=torch.float64) for v in (a, b))
    return Elementwise(name=name, a=first, b=second, shape=tuple(shape))


def reciprocal(shape: tuple[int, ...], out: tuple[int, ...], numerator: np.ndarray) -> Layer:
    """c / x for a constant c of one entry (any other shape is refused)."""
    if numerator.size != 1 or shape != out:
        raise Unsupported("divides a constant array by data; one constant number works")
    return _ScaledReciprocal(
        name="Reciprocal",
        a=torch.zeros(1, dtype=torch.float64),
        b=torch.zeros(1, dtype=torch.float64),
        shape=out,
        numerator=float(numerator.reshape(-1)[0]),
    )


@dataclass(frozen=True)
class _ScaledReciprocal(Elementwise):
    """x ↦ c / x."""

    ops: ClassVar[tuple[str, ...]] = ()
    numerator: float = 1.0

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.numerator * super().forward(*x)

    @property
    def rises(self) -> bool:
        return False

    def parts(self, emit: Emit, *operands: int) -> int:
        inverse = emit(elementwise("Reciprocal", self.shape), self.shape, *operands)
        return emit(diagonal(self.shape, self.shape, self.numerator, 0.0), self.shape, inverse)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        return quotient_error(arithmetic, abs(self.numerator), least(boxes[0]))

    def interval(self, *boxes: Box) -> Ends:
        raise Unsupported("a scaled reciprocal is made of two layers")

    def relax(self, boxes: tuple[Box, ...], value: torch.Tensor) -> Relaxation:
        raise Unsupported("a scaled reciprocal is made of two layers")

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        inner = super().modulus(site, *moves)
        return Deviation(inner.size * abs(self.numerator) * (1 + 1e-15))

    def linearise(
        self, site: Site, cotangent: torch.Tensor, *moves: Deviation
    ) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        return super().linearise(site, cotangent * self.numerator, *moves)
