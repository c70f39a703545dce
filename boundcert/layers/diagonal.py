"""Elementwise affine layers: x ↦ w·x + b with constant w and b, broadcast as NumPy does.

Covers Add, Sub, Mul and Div with a constant, Neg, batch normalisation in inference, and the
normalisation that is put in front of a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from boundcert.layers.affine import Affine, Transform
from boundcert.layers.base import (
    Deviation,
    Layer,
    NodeSpec,
    Reach,
    Site,
    Unsupported,
    align,
    constant,
    numel,
)
from boundcert.layers.rows import Rows
from boundcert.layers.runtime_bounds import Detour
from boundcert.layers.spectral import gamma


@dataclass(frozen=True)
class Diagonal(Affine):
    """x ↦ weight·x + shift; the operator norm is max|weight| times any broadcasting copies."""

    ops: ClassVar[tuple[str, ...]] = ("Add", "Sub", "Mul", "Div", "Neg", "BatchNormalization")
    weight: torch.Tensor
    shift: torch.Tensor
    shift_size: torch.Tensor
    way: Detour = field(default_factory=Detour)

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        if spec.op == "BatchNormalization":
            return _batch_normalization(spec)
        if spec.op == "Neg":
            return diagonal(spec.data_shape(), spec.shape, -1.0, 0.0)
        first, second = spec.operands[0], spec.operands[1]
        if isinstance(first, tuple) and isinstance(second, np.ndarray):
            shape, c, data_first = first, np.asarray(second, dtype=np.float64), True
        elif isinstance(first, np.ndarray) and isinstance(second, tuple):
            shape, c, data_first = second, np.asarray(first, dtype=np.float64), False
        else:
            raise Unsupported("needs one constant operand")
        constant(c)
        if spec.op == "Add":
            return diagonal(shape, spec.shape, 1.0, c)
        if spec.op == "Sub":
            return diagonal(shape, spec.shape, *((1.0, -c) if data_first else (-1.0, c)))
        if spec.op == "Mul":
            return diagonal(shape, spec.shape, c, 0.0)
        if not data_first:
            from boundcert.layers.activation import reciprocal

            return reciprocal(shape, spec.shape, c)
        if (c == 0).any():
            raise Unsupported("divides by a constant that contains 0")
        return diagonal(shape, spec.shape, 1.0 / c, 0.0)

    @property
    def fan_in(self) -> int:
        return 1

    @property
    def fan_out(self) -> int:
        return max(numel(self.out_shape) // max(numel(self.in_shape), 1), 1)

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        wide = align(x, len(self.out_shape)).expand(x.shape[0], *self.out_shape)
        return wide * coefficients(self.weight)

    def offset(self) -> torch.Tensor | None:
        return self.shift

    def offset_size(self) -> torch.Tensor | None:
        return self.shift_size

    @property
    def detour(self) -> Detour:
        return self.way

    def spectral(self) -> float:
        # every output reads one input: the columns are orthogonal, the longest is the norm
        host = self.to("cpu", torch.float64)
        ones = torch.ones(1, *self.out_shape, dtype=torch.float64)
        square = float(host.transpose(ones, torch.square).max())
        return math.sqrt(square) * (1.0 + 2 * gamma(self.fan_out + 8)) + 1e-150

    def pull(self, rows: Rows, mass: torch.Tensor) -> Rows:
        if self.in_shape != self.out_shape:
            return super().pull(rows, mass)
        return rows.scaled(self.weight.expand(1, *self.out_shape))

    def modulus(self, site: Site, *moves: Deviation) -> Deviation:
        size = moves[0].size * self.gain(site.norm)
        inner = moves[0].reach
        if inner is None or self.in_shape != self.out_shape:
            return Deviation(
                size, Reach(self.sums()[0].to(size.device), moves[0].size, torch.zeros_like(size))
            )
        steep = self.sums()[0].to(size.device)
        # unit·scale + offset under a weight: the offset grows by the largest weight
        return Deviation(
            size, Reach(inner.unit * steep, inner.scale, inner.offset * float(steep.max()))
        )


def diagonal(
    in_shape: tuple[int, ...],
    out_shape: tuple[int, ...],
    weight: np.ndarray | float,
    shift: np.ndarray | float,
    shift_size: np.ndarray | float | None = None,
    way: Detour | None = None,
) -> Diagonal:
    """A :class:`Diagonal` from constants that broadcast against the output (ONNX shapes)."""
    w, b = constant(weight), constant(shift)
    size = constant(np.abs(shift) if shift_size is None else shift_size)
    rank = len(out_shape)
    return Diagonal(
        tuple(in_shape),
        tuple(out_shape),
        weight=align(w[None], rank),
        shift=align(b[None], rank),
        shift_size=align(size[None], rank),
        way=way or Detour(),
    )


def _batch_normalization(spec: NodeSpec) -> Diagonal:
    if spec.attr("training_mode", 0):
        raise Unsupported("training_mode=1; export the model in evaluation mode")
    shape = spec.data_shape()
    parts = [spec.constant(k) for k in range(1, 5)]
    if any(p is None for p in parts) or len(shape) < 2:
        raise Unsupported("needs scale, bias, mean and variance, and data with a channel axis")
    gamma, beta, mean, variance = (np.asarray(p, dtype=np.float64).reshape(-1) for p in parts)
    spread = variance + float(np.float32(spec.attr("epsilon", 1e-5)))
    if not (spread > 0).all():
        raise Unsupported("variance + epsilon is not positive")
    weight = gamma / np.sqrt(spread)
    column = (-1, *([1] * (len(shape) - 2)))
    if not spec.attr("spatial", 1) and weight.size == numel(shape[1:]) != shape[1]:
        column = shape[1:]  # opset 7 and 8: statistics of their own for every entry
    return diagonal(
        shape,
        spec.shape,
        weight.reshape(column),
        (beta - mean * weight).reshape(column),
        (np.abs(beta) + 2 * np.abs(mean * weight)).reshape(column),
        _on_the_way(gamma, mean, spread),
    )


def _on_the_way(scale: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> Detour:
    """x − mean, which is multiplied by the scale and by 1/√spread, one after the other."""
    if not spread.size:
        return Detour()
    least = float(spread.min())
    most = max(1.0, float(np.abs(scale).max()), least**-0.5)
    return Detour(swell=most, carry=most, centre=float(np.abs(mean).max()), spread=least)
