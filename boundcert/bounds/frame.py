"""Boxes and relaxations of every node over balls about the samples."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from boundcert.bounds.boxes import Boxes
from boundcert.bounds.clock import Clock
from boundcert.bounds.deployed import Errors, widened
from boundcert.bounds.excess import Excess, excess_of
from boundcert.bounds.form import Form
from boundcert.bounds.kept import Kept
from boundcert.bounds.problem import Problem
from boundcert.bounds.propagate import size_of
from boundcert.bounds.refine import refine
from boundcert.bounds.sketch import Sketch
from boundcert.bounds.spread import Source, Spread, opaque, spread_of
from boundcert.layers.activation import Elementwise
from boundcert.layers.base import UNIT, Deviation, Layer
from boundcert.layers.registry import LINEAR
from boundcert.layers.relaxation import Box, Relaxation
from boundcert.norms import Norm

#: The box of a node at radii (B,), from the one that forms give.
Ahead = Callable[[int, Box, torch.Tensor], Box]


@dataclass
class Frame:
    """Boxes and relaxations that hold on the balls of radii ``eps`` (B,).

    Attributes
    ----------
    boxes, relaxations : one a node.
    forms : bounds that a backward pass proved, by node; they hold at smaller radii, too.
    spreads : 2-norms of activations' operands, by the activation; they hold at smaller radii, too.
    sources : what rows leave at nonlinear nodes, for the spreads of later ones.
    excesses : how far entries of windows exceed means, by the maximum; likewise.
    errors : what a runtime adds to the values on these balls, where bounds are about one.
    ball : whether nodes' 2-norms are bounded, too, and relaxations make use of it.
    means : whether excesses over means are, likewise.
    clock : when to give up.
    precision : of rows. In float32 a frame proves nothing: it scouts.
    steps : of the ascent that chooses lines, row by row; 0: the lines are what they are.
    kept : what rows chose in the last frame, to begin with, and where they leave what they choose.
    sketch : guesses most bounds from a few; such a frame is of float32, as it proves nothing.
    """

    problem: Problem
    eps: torch.Tensor
    boxes: Boxes = field(default_factory=Boxes)
    relaxations: list[Relaxation | None] = field(default_factory=list)
    forms: dict[int, Form] = field(default_factory=dict)
    spreads: dict[int, Spread] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    excesses: dict[int, Excess] = field(default_factory=dict)
    errors: Errors = field(default_factory=Errors)
    ball: bool = False
    means: bool = False
    clock: Clock = field(default_factory=Clock)
    precision: torch.dtype = torch.float64
    steps: int = 0
    kept: Kept | None = None
    sketch: Sketch | None = None

    @cached_property
    def shortcuts(self) -> dict[int, Relaxation]:
        """Relaxations of nodes that reach the input at once; there is none to a box."""
        if self.problem.region.rooms is not None:
            return {}
        points, ways = self.problem.points, self.problem.prefix.shortcuts
        return {k: way.at(points[k], self.eps) for k, way in ways.items()}

    @classmethod
    def build(
        cls,
        problem: Problem,
        eps: torch.Tensor,
        ball: bool = False,
        clock: Clock | None = None,
        precision: torch.dtype = torch.float64,
        steps: int = 0,
        kept: Kept | None = None,
        means: bool = False,
        sketch: Sketch | None = None,
    ) -> Frame:
        """Node by node: an interval, then backward bounds where they would help.

        Raises
        ------
        OutOfTime
            The clock says so, looked at between blocks of rows.
        """
        clock = clock or Clock()
        frame = cls(
            problem,
            eps,
            Boxes(),
            [None],
            ball=ball,
            means=means,
            clock=clock,
            precision=precision if sketch is None else torch.float32,
            steps=steps,
            kept=kept,
            sketch=sketch,
        )
        frame._make_boxes(lambda frame, k: frame._spread(k, frame.reached(k)))
        frame.boxes[0] = frame._input()
        moves = bool((eps > 0).any())
        for k, node in enumerate(problem.network.nodes[1:], start=1):
            assert node.layer is not None
            value = problem.values[k]
            relaxation = node.layer.relax(frame.operands(k), value)
            # first the ends that may settle the matter, then the others of what is loose still
            for first in (True, False) if sketch is None else (False,):
                if not moves or not refine(frame, node.inputs, relaxation, first):
                    break
                relaxation = node.layer.relax(frame.operands(k), value)
            # what is loose even so is worth an ascent
            if steps and refine(frame, node.inputs, relaxation, steps=steps):
                relaxation = node.layer.relax(frame.operands(k), value)
            if ball:
                relaxation = frame._spread_out(k, relaxation)
            if means and moves:
                relaxation = frame._set_beside(k, relaxation)
            frame.relaxations.append(relaxation)
            if moves:
                frame._add_errors(k)
            if ball and k not in frame.sources and not isinstance(node.layer, LINEAR):
                frame.sources[k] = opaque(frame, k)
        return frame

    def _make_boxes(self, make: Callable[[Frame, int], Box]) -> None:
        """Let boxes be made when they are asked for, by what does not keep the frame alive.

        A frame that is part of a cycle would take its memory until garbage is collected.
        """
        here = weakref.ref(self)

        def made(k: int) -> Box:
            frame = here()
            assert frame is not None
            return make(frame, k)

        self.boxes = Boxes(made)

    def _spread_out(self, k: int, relaxation: Relaxation) -> Relaxation:
        """The relaxation of node k with the 2-norm of what it is about."""
        if relaxation.bent is None:
            return relaxation
        self.clock.check()
        found = spread_of(self, k, relaxation.bent)
        if found is None:
            return relaxation
        self.spreads[k], source = found
        if source is not None:
            self.sources[k] = source
        return self.within(k, relaxation)

    def _set_beside(self, k: int, relaxation: Relaxation) -> Relaxation:
        """The relaxation of node k with excesses over means, if it makes use of such."""
        found = excess_of(self, k, relaxation)
        if found is None:
            return relaxation
        self.excesses[k] = found
        return relaxation.beside(found.weight, found.at(self.eps))

    def within(self, k: int, relaxation: Relaxation) -> Relaxation:
        """The relaxation of node k with what is known of its operand besides a box."""
        if k in self.excesses:
            found = self.excesses[k]
            relaxation = relaxation.beside(found.weight, found.at(self.eps))
        if k not in self.spreads or relaxation.bent is None:
            return relaxation
        return relaxation.within(self.spreads[k].over(relaxation.bent, self.eps))

    def _spread(self, k: int, box: Box) -> Box:
        """The box with its spread: the layer's modulus of the operands' spreads."""
        if not self.ball:
            return box
        problem = self.problem
        spreads = [operand.spread for operand in self.operands(k)]
        moves = [Deviation(spread) for spread in spreads if spread is not None]
        move = problem.evaluation.layer(k).modulus(problem.evaluation.site(k, Norm.L2), *moves)
        rounding = problem.evaluation.rounding(k, Norm.L2)
        if k in self.errors.own:
            rounding = rounding + size_of(self.errors.own[k], Norm.L2)
        size = (move.size + rounding) * (1 + 8 * UNIT)
        if k in problem.points:
            columns = problem.prefix.spread(k, self._point(k), self.eps)
            size = size if columns is None else torch.fmin(size, columns)
        return replace(box, spread=size)

    def _add_errors(self, k: int) -> None:
        """What a runtime adds at node k, and in all up to there in front of nonlinear layers."""
        problem, errors = self.problem, self.errors
        if problem.arithmetic is None:
            return
        if k in problem.rounded:
            error = problem.rounded[k].error(problem.arithmetic, self.boxes)
            if error is not None:
                errors.own[k] = error
        if k in problem.prefix.nodes:
            node = problem.network.nodes[k]
            assert node.layer is not None
            ends = node.layer.interval(*(self._point(i) for i in node.inputs))
            errors.points[k] = widened(Box(*ends, problem.values[k]), errors.own.get(k))

    def _point(self, k: int) -> Box:
        """Affine node k's value at the samples, with what a runtime adds."""
        return self.errors.points[k] if k in self.errors.points else self.problem.points[k]

    def reached(self, k: int) -> Box:
        """The box of node k's value from those of its operands, or from its matrix."""
        problem, node = self.problem, self.problem.network.nodes[k]
        if k in problem.prefix.norms:
            return Box(*problem.prefix.ends(k, self._point(k), self.eps), problem.values[k])
        assert node.layer is not None
        box = Box(*node.layer.interval(*self.operands(k)), problem.values[k])
        return widened(box, self.errors.own.get(k))

    def take(self, samples: torch.Tensor) -> Frame:
        """What forms and boxes say of some of the samples, with relaxations of their own."""
        part = replace(
            self,
            problem=self.problem.take(samples),
            eps=self.eps[samples],
            boxes=Boxes(lambda k: self.boxes[k].take(samples)),
            relaxations=[None] * len(self.relaxations),
            forms={k: form.take(samples) for k, form in self.forms.items()},
            spreads={k: spread.take(samples) for k, spread in self.spreads.items()},
            sources={},
            excesses={k: excess.take(samples) for k, excess in self.excesses.items()},
            errors=self.errors.take(samples),
            kept=None,
        )
        return part.tightened(part.eps)

    def tightened(self, eps: torch.Tensor, ahead: Ahead | None = None) -> Frame:
        """The frame at radii eps from the forms that are there, without carrying anything back.

        Up to the frame's own radius this is a frame like any other. Beyond it nothing is proved:
        forms are extrapolated, other boxes stretched, to estimate what a frame there would find.
        Nor is it with boxes that ``ahead`` estimates.
        """
        problem = self.problem
        frame = replace(self, eps=eps, relaxations=[None])
        frame._make_boxes(lambda frame, k: frame._moved_to(k, self, ahead))
        for k, node in enumerate(problem.network.nodes[1:], start=1):
            assert node.layer is not None
            relaxation, linear = self.relaxations[k], isinstance(node.layer, LINEAR)
            if relaxation is None or not linear:
                relaxation = node.layer.relax(frame.operands(k), problem.values[k])
                relaxation = frame.within(k, relaxation)
            frame.relaxations.append(relaxation)
            if self.ball:
                # needs those of all nodes before, one after the other
                _ = frame.boxes[k]
        return frame

    def _moved_to(self, k: int, before: Frame, ahead: Ahead | None) -> Box:
        """The box of node k, from a frame at other radii."""
        layer = self.problem.network.nodes[k].layer
        if layer is None:
            return self._input()
        if ahead is not None and k in before.forms:
            return self._spread(k, ahead(k, before.boxes[k], self.eps))
        box = self._moved(k, layer, before)
        if ahead is not None:
            box = ahead(k, box, self.eps)
        elif k in before.forms:
            box = box.meet(*before.forms[k].ends(self.eps))
        return self._spread(k, box)

    def _moved(self, k: int, layer: Layer, before: Frame) -> Box:
        """The box of a node whose operands' are there, from that of a frame at other radii."""
        problem, box, grown = self.problem, before.boxes[k], self.eps > before.eps
        if k in problem.prefix.norms:
            return self.reached(k)
        if isinstance(layer, LINEAR):
            return box.stretched(torch.clamp(self.eps / before.eps, min=1.0))
        if not isinstance(layer, Elementwise) and not bool(grown.any()):
            return box
        new, wide = self.reached(k), (-1, *[1] * box.point[0].dim())
        old = box.meet(new.low, new.high)
        return replace(
            old,
            low=torch.where(grown.reshape(wide), new.low, old.low),
            high=torch.where(grown.reshape(wide), new.high, old.high),
        )

    def _input(self) -> Box:
        """The ball at the input: ‖q‖₂ ≤ ε for p = 1 and 2, √n·ε for p = ∞."""
        box = self.problem.region.box(self.problem.values[0], self.eps)
        if not self.ball:
            return box
        size = box.point[0].numel() if self.problem.norm is Norm.LINF else 1
        eps = self.problem.region.within(self.eps)
        return replace(box, spread=eps * math.sqrt(size) * (1 + 4 * UNIT))

    def operands(self, k: int) -> tuple[Box, ...]:
        """The boxes of node k's operands."""
        return tuple(self.boxes[i] for i in self.problem.network.nodes[k].inputs)
