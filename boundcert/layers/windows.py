"""Sliding windows: kernel, stride, dilation and padding, as ONNX spells them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.layers.base import NodeSpec, Unsupported

#: Most positions of one padded channel, and most entries of a table of windows.
LARGEST_PLANE, LARGEST_TABLE = 2**25, 2**25


@dataclass(frozen=True)
class Windows:
    """Windows over the spatial axes of one channel.

    Attributes
    ----------
    size, out : spatial input and output sizes.
    kernel, stride, dilation : one entry a spatial axis.
    before, after : explicit padding.
    spill : further positions behind ``after`` that ceil_mode lets the last window reach
        (negative where the last positions are not covered by any window).
    """

    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    spill: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Input positions from a window's first to its last."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))

    def reach(self, out: tuple[int, ...]) -> tuple[int, ...]:
        """Input positions that ``out`` windows an axis cover."""
        return tuple((n - 1) * s + e for n, s, e in zip(out, self.stride, self.extent))

    def over(self, out: tuple[int, ...]) -> Windows:
        """``out`` such windows an axis over just what they cover."""
        zero = (0,) * len(out)
        return replace(self, size=self.reach(out), out=out, before=zero, after=zero, spill=zero)

    def pad(self, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
        """Pad (or crop) the spatial axes so that windows tile from the first position."""
        widths: list[int] = []
        for before, after, spill in zip(
            reversed(self.before), reversed(self.after), reversed(self.spill)
        ):
            widths += [before, after + spill]
        if not any(widths):
            return x
        # widen first: a crop may reach past the data into the padding in front of it
        x = F.pad(x, [max(n, 0) for n in widths], value=value)
        return F.pad(x, [min(n, 0) for n in widths]) if min(widths) < 0 else x

    def table(self) -> np.ndarray:
        """Flat input index of every window entry, (windows, kernel entries), −1 for padding."""
        axes = []
        for i in range(len(self.size)):
            starts = np.arange(self.out[i]) * self.stride[i] - self.before[i]
            places = starts[:, None] + np.arange(self.kernel[i]) * self.dilation[i]
            axes.append(np.where((places >= 0) & (places < self.size[i]), places, -1))
        flat = np.zeros((1, 1), dtype=np.int64)
        for i, places in enumerate(axes):
            old = flat[:, None, :, None]
            new = places[None, :, None, :]
            joined = np.where((old < 0) | (new < 0), -1, old * self.size[i] + new)
            flat = joined.reshape(flat.shape[0] * self.out[i], flat.shape[1] * self.kernel[i])
        return flat

    def multiplicity(self) -> int:
        """In how many windows one input sits, at most: the m of theory, borders included."""
        most = 1
        for i in range(len(self.size)):
            starts = np.arange(self.out[i]) * self.stride[i] - self.before[i]
            places = (starts[:, None] + np.arange(self.kernel[i]) * self.dilation[i]).reshape(-1)
            inside = places[(places >= 0) & (places < self.size[i])]
            most *= int(np.bincount(inside, minlength=1).max())
        return most


def spatial(spec: NodeSpec) -> tuple[int, ...]:
    """Spatial sizes of a (N, C, spatial…) operand with one to three spatial axes."""
    shape = spec.data_shape()
    if not 3 <= len(shape) <= 5:
        raise Unsupported(
            f"data of shape {shape} has {max(len(shape) - 2, 0)} spatial axes; 1 to 3 work"
        )
    return shape[2:]


def of_pool(spec: NodeSpec) -> Windows:
    """The windows of a pooling node; a Global… operator has one over everything."""
    if spec.op.startswith("Global"):
        size = spatial(spec)
        one, zero = (1,) * len(size), (0,) * len(size)
        return Windows(size, one, size, one, one, zero, zero, zero)
    kernel = spec.attr("kernel_shape")
    if kernel is None:
        raise Unsupported("has no kernel_shape")
    return of_node(spec, tuple(kernel))


def of_node(spec: NodeSpec, kernel: tuple[int, ...]) -> Windows:
    """The windows of a Conv or pooling node over its data operand."""
    size = spatial(spec)
    rank = len(size)
    if len(kernel) != rank:
        raise Unsupported(f"kernel {kernel} does not fit {rank} spatial axes")
    stride, dilation, pads = geometry(spec, kernel)
    auto, ceil = spec.attr("auto_pad", "NOTSET"), bool(spec.attr("ceil_mode", 0))
    before, after, out, spill = [], [], [], []
    for i in range(rank):
        extent = dilation[i] * (kernel[i] - 1) + 1
        lo, hi = pads[i], pads[rank + i]
        if auto == "VALID":
            lo = hi = 0
        elif auto in ("SAME_UPPER", "SAME_LOWER"):
            total = max((-(-size[i] // stride[i]) - 1) * stride[i] + extent - size[i], 0)
            lo = total // 2 if auto == "SAME_UPPER" else total - total // 2
            hi = total - lo
        free = size[i] + lo + hi - extent
        if free < 0 and not ceil:
            raise Unsupported(
                f"a window of {extent} does not fit the padded size {size[i] + lo + hi}"
            )
        count = (math.ceil(free / stride[i]) if ceil else free // stride[i]) + 1
        if ceil and (count - 1) * stride[i] >= size[i] + lo:
            count -= 1  # a window may not start in the padding behind the data
        before.append(lo)
        after.append(hi)
        out.append(count)
        spill.append((count - 1) * stride[i] + extent - size[i] - lo - hi)
    padded = math.prod(n + a + b + max(c, 0) for n, a, b, c in zip(size, before, after, spill))
    if min(out) < 1 or max(padded, math.prod(out)) > LARGEST_PLANE:
        raise Unsupported(
            f"windows {kernel} over size {size} with pads {pads} give {tuple(out)} outputs; "
            f"1 to {LARGEST_PLANE} work"
        )
    if spec.op != "Conv" and math.prod(out) * math.prod(kernel) > LARGEST_TABLE:
        raise Unsupported(
            f"{tuple(out)} windows of {kernel} entries are too many; {LARGEST_TABLE} entries work"
        )
    return Windows(
        size, tuple(out), tuple(kernel), stride, dilation, tuple(before), tuple(after), tuple(spill)
    )


def geometry(
    spec: NodeSpec, kernel: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    """Strides, dilations and pads of a node, checked: one entry an axis, none impossible."""
    rank = len(kernel)
    stride = tuple(spec.attr("strides") or [1] * rank)
    dilation = tuple(spec.attr("dilations") or [1] * rank)
    pads = list(spec.attr("pads") or [0] * (2 * rank))
    if len(stride) != rank or len(dilation) != rank or len(pads) != 2 * rank:
        raise Unsupported(
            f"strides {list(stride)}, dilations {list(dilation)} or pads {pads} do not fit "
            f"{rank} spatial axes"
        )
    if min((*kernel, *stride, *dilation)) < 1 or min(pads) < 0:
        raise Unsupported(
            f"kernel {list(kernel)}, strides {list(stride)} and dilations {list(dilation)} must be "
            f"positive, pads {pads} not negative"
        )
    if spec.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise Unsupported(f"auto_pad {spec.attr('auto_pad')!r} is unknown")
    return stride, dilation, pads


def merge_batch(x: torch.Tensor) -> torch.Tensor:
    """Merge the batch axis with the ONNX batch axis: (B, N, C, …) → (B·N, C, …)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
