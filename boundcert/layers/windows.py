"""Sliding windows: kernel, stride, dilation and padding, as ONNX spells them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from boundcert.layers.base import NodeSpec, Unsupported


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

    def pad(self, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
        """Pad (or crop) the spatial axes so that windows tile from the first position."""
        widths: list[int] = []
        for before, after, spill in zip(
            reversed(self.before), reversed(self.after), reversed(self.spill)
        ):
            widths += [before, after + spill]
        return F.pad(x, widths, value=value) if any(widths) else x

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
            count = np.zeros(self.size[i], dtype=np.int64)
            for start, offset in itertools.product(
                range(self.out[i]), range(self.kernel[i])
            ):
                place = start * self.stride[i] - self.before[i] + offset * self.dilation[i]
                if 0 <= place < self.size[i]:
                    count[place] += 1
            most *= int(count.max(initial=0))
        return most


def spatial(spec: NodeSpec, most: int = 2) -> tuple[int, ...]:
    """Spatial sizes of a (N, C, spatial…) operand with at most ``most`` spatial axes."""
    shape = spec.data_shape()
    if not 3 <= len(shape) <= 2 + most:
        raise Unsupported(
            f"data of shape {shape} has {max(len(shape) - 2, 0)} spatial axes; 1 to {most} work"
        )
    return shape[2:]


def of_node(spec: NodeSpec, kernel: tuple[int, ...]) -> Windows:
    """The windows of a Conv or pooling node over its data operand."""
    size = spatial(spec, 3 if spec.op == "Conv" else 2)
    rank = len(size)
    if len(kernel) != rank:
        raise Unsupported(f"kernel {kernel} does not fit {rank} spatial axes")
    stride = tuple(spec.attr("strides") or [1] * rank)
    dilation = tuple(spec.attr("dilations") or [1] * rank)
    pads = list(spec.attr("pads") or [0] * (2 * rank))
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
            raise Unsupported(f"a window of {extent} does not fit the padded size {size[i] + lo + hi}")
        count = (math.ceil(free / stride[i]) if ceil else free // stride[i]) + 1
        if ceil and (count - 1) * stride[i] >= size[i] + lo:
            count -= 1  # a window may not start in the padding behind the data
        before.append(lo)
        after.append(hi)
        out.append(count)
        spill.append((count - 1) * stride[i] + extent - size[i] - lo - hi)
    return Windows(
        size, tuple(out), tuple(kernel), stride, dilation, tuple(before), tuple(after), tuple(spill)
    )


def merge_batch(x: torch.Tensor) -> torch.Tensor:
    """Merge the batch axis with the ONNX batch axis: (B, N, C, …) → (B·N, C, …)."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
