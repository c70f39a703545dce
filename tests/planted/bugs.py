"""Unsound changes, one of every kind that people make: sign, slope, norm, window, stale bound."""

from __future__ import annotations

from typing import Any

from planted.checker_bugs import CHECKER_BUGS
from planted.plant import Bug
from planted.trust_bugs import TRUST_BUGS


def _part(k: int, change: Any) -> Any:
    """Changes one of a kernel's results."""
    return lambda found: (*found[:k], change(found[k]), *found[k + 1 :])


def _lines(k: int, factor: float) -> Any:
    """Scales part k of the lines that the kernel ``deviation_lines`` gives beside the kink."""
    return lambda found: tuple(p * factor if i == k else p for i, p in enumerate(found))


BUGS = (
    Bug(
        "the norm itself at the input, not its dual",
        "bounds.region:concretise",
        ("frames", "radii"),
        "norm.dual.p",
        "norm.p",
    ),
    Bug(
        "a bound that grows with the radius",
        "bounds.backward:Linear.at",
        ("frames",),
        "self.base - move -",
        "self.base + move -",
    ),
    Bug(
        "boxes in front of the first activation at half the radius",
        "bounds.prefix:Prefix.ends",
        ("frames",),
        "eps.reshape",
        "0.5 * eps.reshape",
    ),
    Bug(
        "what an activation leaves over is dropped",
        "bounds.sought:carry",
        ("frames",),
        "        rest = down(rest, loss)\n        for",
        "        for",
    ),
    Bug("upper lines too low", "kernel:deviation_lines", ("frames",), spoil=_lines(3, 0.9)),
    Bug("lower lines too high", "kernel:deviation_lines", ("frames",), spoil=_lines(1, 0.9)),
    Bug("lower slopes too steep", "kernel:deviation_lines", ("frames",), spoil=_lines(0, 1.1)),
    Bug(
        "the range of an activation ends early",
        "kernel:activation_range",
        ("frames",),
        spoil=_part(1, lambda high: high - 0.01 * abs(high)),
    ),
    Bug(
        "the second operand of a difference is added",
        "layers.merge_relaxation:Sum.below",
        ("frames",),
        "-rows if self.minus and k else rows",
        "rows",
    ),
    Bug(
        "a product without its second order",
        "layers.merge_relaxation:_plane",
        ("frames",),
        "slack = gap +",
        "slack = 0 * gap +",
    ),
    Bug(
        "a plane above a product tilted as one below",
        "layers.merge_relaxation:_plane",
        ("frames",),
        "u.middle + side * tilt",
        "u.middle + tilt",
    ),
    Bug(
        "windows one position off",
        "layers.conv_rows:_receptive",
        ("frames",),
        "rows.origin * stride - before",
        "rows.origin * stride - before + 1",
    ),
    Bug(
        "lines of maxima that forget all but two entries' room",
        "kernel:window_lines",
        ("frames",),
        spoil=_part(1, lambda lines: lines * 0.95),
    ),
    Bug(
        "stale: bounds of a smaller ball",
        "bounds.form:Form.ends",
        ("frames",),
        "wide = eps",
        "wide = 0.7 * eps",
    ),
    Bug(
        "multipliers for half of the 2-norm",
        "layers.ball:Ball.square",
        ("balls",),
        "box.spread * box.spread",
        "0.25 * box.spread * box.spread",
    ),
    Bug(
        "2-norms that forget what activations leave over",
        "bounds.spread:joint_norms",
        ("balls",),
        "parts = [part for part in parts if bool((part.rows != 0).any())]",
        "parts = parts[-1:]",
    ),
    Bug(
        "room below taken for room above",
        "bounds.region:Region._split",
        ("ranges",),
        "planes(self.rooms.below), planes(self.rooms.above)",
        "planes(self.rooms.above), planes(self.rooms.below)",
    ),
    Bug(
        "sums that move as far as the one that moves most",
        "layers.merge:Add.modulus",
        ("moves",),
        "torch.stack(sizes).sum(dim=0)",
        "torch.stack(sizes).amax(dim=0)",
    ),
    Bug(
        "gates of which only one side moves",
        "layers.product:Product.modulus",
        ("moves",),
        "first + second + cross",
        "first + cross",
    ),
    Bug(
        "derivatives at the sample instead of over the reach",
        "kernel:activation_gain",
        ("moves",),
        spoil=_part(0, lambda gain: gain * 0.7),
    ),
    Bug(
        "row sums for column sums",
        "layers.affine:Affine.absolute_gain",
        ("moves", "radii"),
        "Norm.LINF: rows, Norm.L1: columns",
        "Norm.LINF: columns, Norm.L1: rows",
    ),
    Bug(
        "the margin to the farthest class decides",
        "bounds.looks:decided",
        ("radii",),
        "amin(dim=1)",
        "amax(dim=1)",
    ),
    Bug(
        "distances at the output in the wrong norm",
        "bounds.walk:compose",
        ("radii",),
        "pairwise_norms(flat, norm.dual.p)",
        "pairwise_norms(flat, norm.p)",
    ),
    Bug(
        "rows that do not pay for a runtime's errors",
        "bounds.backward:_paid",
        ("runtimes",),
        "-(up(torch.from_numpy(size)) + UNDERFLOW)",
        "0 * torch.from_numpy(size)",
    ),
    Bug(
        "a runtime's errors in front of the first activation forgotten",
        "bounds.frame:Frame._add_errors",
        ("erring",),
        "widened(Box(*ends, problem.values[k]), errors.own.get(k))",
        "Box(*ends, problem.values[k])",
    ),
    Bug(
        "boxes that are not widened by a runtime's errors",
        "bounds.frame:Frame.reached",
        ("erring",),
        "widened(box, self.errors.own.get(k))",
        "box",
    ),
    Bug(
        "an entry's own error forgotten where it is bounded",
        "bounds.refine:first_rows",
        ("erring",),
        "if errors and node in errors.own:",
        "if False:",
    ),
    Bug(
        "2-norms without a runtime's errors",
        "bounds.frame:Frame._spread",
        ("erring",),
        "if k in self.errors.own:",
        "if False:",
    ),
    Bug(
        "means above without what entries exceed them by",
        "layers.window_means:Means.of",
        ("windows",),
        ".sum(dim=-1) + extra - top",
        ".sum(dim=-1) - top",
    ),
    Bug(
        "means below of too large weights",
        "layers.window_means:Windowed.highest",
        ("windows",),
        "share / share.sum(dim=-1, keepdim=True)",
        "1.1 * share / share.sum(dim=-1, keepdim=True)",
    ),
    Bug(
        "only the entry with the highest end may exceed the mean",
        "layers.window_means:Contrasts.of",
        ("windows",),
        "(high >= most)",
        "(high >= high.amax(dim=-1, keepdim=True)) | (low >= most)",
    ),
    Bug(
        "excesses of the next window",
        "layers.window_means:Contrasts.rows",
        ("windows",),
        "* step - before",
        "* step - before + 1",
    ),
    Bug(
        "excesses at the samples, not over the balls",
        "bounds.excess:Excess.at",
        ("windows",),
        "self.bound.at(eps.",
        "self.bound.at(0 * eps.",
    ),
    Bug(
        "a runtime that sums without error",
        "layers.affine:Affine.runtime_error",
        ("sums",),
        "arithmetic.gamma(terms + arithmetic.fused + 2)",
        "0 * arithmetic.gamma(terms + arithmetic.fused + 2)",
    ),
    Bug(
        "roundings of the walk without a runtime's",
        "bounds.propagate:Evaluation.rounding",
        ("runtimes",),
        "if k in self.errors:",
        "if False:",
    ),
    *CHECKER_BUGS,
    *TRUST_BUGS,
)
