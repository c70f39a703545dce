"""Layers that only move entries about: gain 1 (or the number of copies), no rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.layers.affine import Affine, Transform
from boundcert.layers.arithmetic import BY_CODE, BY_NAME, Arithmetic
from boundcert.layers.base import (
    Deviation,
    NodeSpec,
    Site,
    Unsupported,
    axis_of,
    constant,
    numel,
)
from boundcert.layers.relaxation import Box
from boundcert.layers.rows import Rows
from boundcert.layers.runtime_bounds import representable, settled
from boundcert.norms import Norm


@dataclass(frozen=True)
class Rearrange(Affine):
    """A permutation of the entries (reshape, transpose, identity): an isometry in every norm."""

    @property
    def fan_in(self) -> int:
        return 1

    @property
    def moves_only(self) -> bool:
        return True

    def gain(self, norm: Norm) -> float:
        return 1.0

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])


@dataclass(frozen=True)
class Reshape(Rearrange):
    """Anything that keeps the row-major order of the entries.

    A Cast is no rounding here: the network is evaluated in float64. The runtime's is that to
    ``cast``, the name of its type.
    """

    ops: ClassVar[tuple[str, ...]] = (
        "Identity",
        "Dropout",
        "Cast",
        "Flatten",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
    )
    cast: str = ""

    @classmethod
    def build(cls, spec: NodeSpec) -> Reshape:
        shape = spec.data_shape()
        if spec.op == "Cast" and spec.attr("to") not in BY_CODE:
            raise Unsupported("casts the data to a type that is not floating point")
        if spec.op == "Dropout" and spec.opset >= 12 and spec.constant(2):
            raise Unsupported("training_mode is on; export the model in evaluation mode")
        if numel(shape) != numel(spec.shape):
            raise Unsupported(f"shape {shape} cannot become {spec.shape} for one sample")
        cast = BY_CODE[spec.attr("to")].name if spec.op == "Cast" else ""
        return cls(shape, spec.shape, cast=cast)

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        return x.reshape(x.shape[0], *self.out_shape)

    def pull(self, rows: Rows, mass: torch.Tensor) -> Rows:
        if self.in_shape == self.out_shape:
            return rows
        return Rows.of(rows.flat(self.out_shape), rows.owner, self.in_shape, rows.mass)

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        return moves[0]

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """One rounding to the coarser of the two types, if this is a cast."""
        if not self.cast:
            return None
        kinds = (arithmetic, BY_NAME[self.cast])
        unit, tiny = max(k.unit for k in kinds), max(k.tiny for k in kinds)
        size = boxes[0].magnitude.reshape(-1, *self.out_shape)
        narrow = min(kinds, key=lambda kind: kind.largest)
        return settled(narrow, unit * size + tiny, size)


@dataclass(frozen=True)
class Transpose(Rearrange):
    """Axis permutation."""

    ops: ClassVar[tuple[str, ...]] = ("Transpose",)
    perm: tuple[int, ...] = ()

    @classmethod
    def build(cls, spec: NodeSpec) -> Transpose:
        shape = spec.data_shape()
        perm = tuple(spec.attr("perm") or range(len(shape))[::-1])
        return cls(shape, spec.shape, perm=perm)

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        return x.permute(0, *(k + 1 for k in self.perm))

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        return Deviation(moves[0].size)


@dataclass(frozen=True)
class Select(Affine):
    """Picks entries by flat index, constants where the index is −1.

    One input may be picked ``copies`` times, so ‖A‖_1 = copies, ‖A‖_∞ = 1, ‖A‖_2 = √copies.
    """

    ops: ClassVar[tuple[str, ...]] = (
        "DepthToSpace",
        "Expand",
        "Gather",
        "Pad",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Tile",
    )
    index: torch.Tensor
    fill: float = 0.0

    @classmethod
    def build(cls, spec: NodeSpec) -> Select:
        shape = spec.data_shape()
        places = np.arange(numel(shape)).reshape(shape)
        picked = _SELECTIONS[spec.op](spec, places)
        fill = 0.0
        if spec.op == "Pad":
            fill = float(np.asarray(spec.attr_or_input("value", 2, 0.0)).reshape(-1)[0])
        if picked.shape != tuple(spec.shape):
            raise Unsupported(f"gives shape {picked.shape} where {spec.shape} was inferred")
        constant(fill)
        index = torch.from_numpy(np.ascontiguousarray(picked.reshape(-1)).astype(np.int64))
        return cls(shape, spec.shape, index=index, fill=fill)

    @property
    def fan_in(self) -> int:
        return 1

    @property
    def copies(self) -> int:
        """How often the most used input is picked."""
        used = self.index[self.index >= 0]
        return int(torch.bincount(used).max()) if used.numel() else 0

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        flat = x.reshape(x.shape[0], -1)
        padded = F.pad(flat, (0, 1))
        return padded[:, self.index].reshape(x.shape[0], *self.out_shape)

    def offset(self) -> torch.Tensor | None:
        if self.fill == 0.0 or bool((self.index >= 0).all()):
            return None
        inside = (self.index >= 0).reshape(1, *self.out_shape)
        return torch.where(inside, 0.0, self.fill).to(torch.float64).to(self.index.device)

    def runtime_error(self, arithmetic: Arithmetic, *boxes: Box) -> torch.Tensor | None:
        """That of the constant, where the arithmetic's type has not got it."""
        offset = self.offset()
        if offset is None or representable(arithmetic, self.fill):
            return None
        size = offset.abs().expand(len(boxes[0].low), *self.out_shape)
        return settled(arithmetic, arithmetic.unit * size + arithmetic.tiny * (size > 0), size)

    def gain(self, norm: Norm) -> float:
        copies = float(self.copies)
        return {
            Norm.LINF: min(copies, 1.0),
            Norm.L1: copies,
            Norm.L2: math.nextafter(math.sqrt(copies), math.inf) if copies > 1 else copies,
        }[norm]

    def rounding(self, site: Site) -> torch.Tensor:
        return site.output.new_zeros(site.output.shape[0])


def _ints(value: object, size: int, default: int) -> list[int]:
    if value is None:
        return [default] * size
    return [int(v) for v in np.asarray(value).reshape(-1)]


def _slice(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    starts = _ints(spec.attr_or_input("starts", 1), 0, 0)
    ends = _ints(spec.attr_or_input("ends", 2), 0, 0)
    axes_value = spec.attr_or_input("axes", 3)
    axes = _ints(axes_value, 0, 0) if axes_value is not None else list(range(len(starts)))
    steps = _ints(spec.constant(4), len(starts), 1) if spec.opset >= 10 else [1] * len(starts)
    cut: list[slice] = [slice(None)] * places.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        position = axis_of(axis, places.ndim) - 1
        size = places.shape[position]
        start = start + size if start < 0 else start
        end = end + size if end < 0 else end
        if step > 0:
            cut[position] = slice(min(max(start, 0), size), min(max(end, 0), size), step)
        else:
            stop = min(max(end, -1), size - 1)
            cut[position] = slice(min(max(start, 0), size - 1), None if stop < 0 else stop, step)
    return places[tuple(cut)]


def _split(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    axis = axis_of(int(spec.attr("axis", 0)), places.ndim) - 1
    sizes = spec.attr_or_input("split", 1)
    count = int(spec.attr("outputs"))
    if sizes is None:
        step = -(-places.shape[axis] // count)
        sizes = [min(step, places.shape[axis] - k * step) for k in range(count)]
    which = int(spec.attr("output"))
    start = sum(_ints(sizes, 0, 0)[:which])
    return places.take(range(start, start + _ints(sizes, 0, 0)[which]), axis=axis)


def _pad(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    pads = _ints(spec.attr_or_input("pads", 1), 0, 0)
    axes_value = spec.constant(3)
    axes = _ints(axes_value, 0, 0) if axes_value is not None else list(range(places.ndim))
    half = len(pads) // 2
    widths = [(0, 0)] * places.ndim
    for k, axis in enumerate(axes):
        widths[axis_of(axis, places.ndim) - 1] = (pads[k], pads[half + k])
    cut = tuple(slice(max(-lo, 0), hi if hi < 0 else None) for lo, hi in widths)
    grow = [(max(lo, 0), max(hi, 0)) for lo, hi in widths]
    mode = spec.attr("mode", "constant")
    if mode == "constant":
        return np.pad(places[cut], grow, constant_values=-1)
    if mode not in ("reflect", "edge", "wrap"):
        raise Unsupported(f"pad mode {mode!r} is unknown; constant, reflect, edge and wrap work")
    return np.pad(places[cut], grow, mode=mode)


def _gather(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    axis = axis_of(int(spec.attr("axis", 0)), places.ndim) - 1
    indices = spec.constant(1)
    if indices is None:
        raise Unsupported("has no indices")
    return places.take(np.asarray(indices).astype(np.int64), axis=axis)


def _expand(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    return np.broadcast_to(places, spec.shape)


def _tile(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    return np.tile(places, _ints(spec.constant(1), 0, 1))


def _depth_to_space(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    b = int(spec.attr("blocksize"))
    n, c, h, w = places.shape
    if spec.attr("mode", "DCR") == "DCR":
        blocks = places.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = places.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(spec.shape)


def _space_to_depth(spec: NodeSpec, places: np.ndarray) -> np.ndarray:
    b = int(spec.attr("blocksize"))
    n, c, h, w = places.shape
    order = (0, 3, 5, 1, 2, 4) if spec.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    blocks = places.reshape(n, c, h // b, b, w // b, b).transpose(order)
    return blocks.reshape(spec.shape)


_SELECTIONS: dict[str, Callable[[NodeSpec, np.ndarray], np.ndarray]] = {
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Gather": _gather,
    "Expand": _expand,
    "Tile": _tile,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}

__all__: Sequence[str] = ("Rearrange", "Reshape", "Select", "Transpose")
