"""Convolution and transposed convolution, 1-D to 3-D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.layers import conv_rows
from boundcert.layers.affine import Affine, Transform
from boundcert.layers.base import Layer, NodeSpec, Unsupported, constant, numel
from boundcert.layers.conv_norm import conv_norm_bound
from boundcert.layers.rows import Rows, plane_of
from boundcert.layers.windows import Windows, geometry, merge_batch, of_node, spatial

#: Largest matrix of a grouped convolution that is written out to bound its norm.
SMALL_ENTRIES = 1_000_000

_CONV: dict[int, Callable[..., torch.Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Callable[..., torch.Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def _kernel(spec: NodeSpec) -> torch.Tensor:
    weight = spec.constant(1)
    if weight is None or weight.ndim < 3:
        raise Unsupported("needs a constant kernel of rank 3 to 5")
    stated = spec.attr("kernel_shape")
    if stated is not None and tuple(stated) != weight.shape[2:]:
        raise Unsupported(
            f"kernel_shape {list(stated)} contradicts the weight's {weight.shape[2:]}"
        )
    return constant(weight)


def _bias(spec: NodeSpec, rank: int) -> torch.Tensor | None:
    bias = spec.constant(2)
    return None if bias is None else constant(bias).reshape(1, 1, -1, *([1] * rank))


@dataclass(frozen=True)
class Conv(Affine):
    """Cross-correlation with stride, dilation, groups and any padding."""

    ops: ClassVar[tuple[str, ...]] = ("Conv",)
    weight: torch.Tensor
    bias: torch.Tensor | None
    windows: Windows
    groups: int

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        size = spatial(spec)
        weight = _kernel(spec)
        groups = int(spec.attr("group", 1))
        windows = of_node(spec, tuple(weight.shape[2:]))
        shape = spec.data_shape()
        if shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
            raise Unsupported(
                f"data with {shape[1]} channels does not fit weight {tuple(weight.shape)} "
                f"in {groups} group(s)"
            )
        out = (shape[0], weight.shape[0], *windows.out)
        return cls(
            shape, out, weight=weight, bias=_bias(spec, len(size)), windows=windows, groups=groups
        )

    @property
    def fan_in(self) -> int:
        return int(np.prod(self.weight.shape[1:]))

    @property
    def fan_out(self) -> int:
        return self.weight.shape[0] // self.groups * int(np.prod(self.weight.shape[2:]))

    @property
    def work(self) -> float:
        # float64 convolutions have no fast path: about a third of a matrix product's speed
        return 3.0 * super().work

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        w = self.windows
        flat = merge_batch(x)
        padding: tuple[int, ...] = tuple(0 for _ in w.size)
        if w.before == w.after and all(s <= 0 for s in w.spill):
            padding = w.before  # what a negative spill would crop, no window reads anyway
        else:
            flat = w.pad(flat)
        out = _CONV[len(w.size)](
            flat, coefficients(self.weight), None, w.stride, padding, w.dilation, self.groups
        )
        return out.reshape(x.shape[0], *self.out_shape)

    @property
    def _flat(self) -> bool:
        """Whether rows see both sides as planes."""
        return len(self.windows.size) == 2 and self.in_shape[0] == 1

    def pull(self, rows: Rows, mass: torch.Tensor) -> Rows:
        if not self._flat:
            return super().pull(rows, mass)
        plane = plane_of(self.in_shape)
        return conv_rows.transposed(rows, mass, self.weight, self.windows, self.groups, plane)

    def single(self, index: torch.Tensor, owner: torch.Tensor) -> Rows | None:
        if not self._flat:
            return None
        plane = plane_of(self.in_shape)
        return conv_rows.single(index, owner, self.weight, self.windows, self.groups, plane)

    def offset(self) -> torch.Tensor | None:
        return self.bias

    def spectral(self) -> float:
        bound = conv_norm_bound(self.weight.detach().cpu().numpy(), self.windows, self.groups)
        if self.groups > 1 and numel(self.in_shape) * numel(self.out_shape) > SMALL_ENTRIES:
            return bound  # mostly zeros: writing the matrix out would take seconds for a few %
        return min(bound, super().spectral())


@dataclass(frozen=True)
class ConvTranspose(Affine):
    """The adjoint of a convolution, cropped by its padding.

    Before cropping it is the adjoint of an unpadded convolution over its own full output, so
    that convolution's norm bounds it.
    """

    ops: ClassVar[tuple[str, ...]] = ("ConvTranspose",)
    weight: torch.Tensor
    bias: torch.Tensor | None
    windows: Windows
    crop: tuple[tuple[int, int], ...]
    groups: int

    @classmethod
    def build(cls, spec: NodeSpec) -> Layer:
        size = spatial(spec)
        weight = _kernel(spec)
        rank, groups = len(size), int(spec.attr("group", 1))
        shape = spec.data_shape()
        if shape[1] != weight.shape[0]:
            raise Unsupported(
                f"data with {shape[1]} channels does not fit weight {tuple(weight.shape)}"
            )
        kernel = tuple(weight.shape[2:])
        stride, dilation, _ = geometry(spec, kernel)
        extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        full = tuple((n - 1) * s + e for n, s, e in zip(size, stride, extent))
        out = tuple(spec.shape[2:])
        crop = tuple(_crops(spec, rank, full, out))
        windows = Windows(
            full, tuple(size), kernel, stride, dilation, (0,) * rank, (0,) * rank, (0,) * rank
        )
        out_shape = (shape[0], weight.shape[1] * groups, *out)
        return cls(
            shape,
            out_shape,
            weight=weight,
            bias=_bias(spec, rank),
            windows=windows,
            crop=crop,
            groups=groups,
        )

    @property
    def fan_in(self) -> int:
        return self.weight.shape[0] // self.groups * int(np.prod(self.weight.shape[2:]))

    @property
    def fan_out(self) -> int:
        return int(np.prod(self.weight.shape[1:]))

    def apply(self, x: torch.Tensor, coefficients: Transform) -> torch.Tensor:
        w = self.windows
        full = _TRANSPOSED[len(w.size)](
            merge_batch(x),
            coefficients(self.weight),
            None,
            stride=w.stride,
            groups=self.groups,
            dilation=w.dilation,
        )
        widths: list[int] = []
        for before, after in reversed(self.crop):
            widths += [-before, -after]
        return F.pad(full, widths).reshape(x.shape[0], *self.out_shape)

    def offset(self) -> torch.Tensor | None:
        return self.bias

    def spectral(self) -> float:
        bound = conv_norm_bound(self.weight.detach().cpu().numpy(), self.windows, self.groups)
        return min(bound, super().spectral())


def _crops(
    spec: NodeSpec, rank: int, full: tuple[int, ...], out: tuple[int, ...]
) -> list[tuple[int, int]]:
    """How much of the full output is cut off on each side (negative: zeros are added)."""
    pads = list(spec.attr("pads") or [0] * (2 * rank))
    extra = list(spec.attr("output_padding") or [0] * rank)
    auto = spec.attr("auto_pad", "NOTSET")
    crops = []
    for i in range(rank):
        total = full[i] + extra[i] - out[i]
        if auto in ("SAME_UPPER", "SAME_LOWER") or spec.attr("output_shape"):
            total = max(total, 0)  # what is missing is added behind
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
        elif auto == "VALID":
            before = 0
        else:
            before = pads[i]
        crops.append((before, full[i] - out[i] - before))
    return crops
