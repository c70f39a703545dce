"""Rows pulled back through 2-D windows: matrix products, then windows added up where they overlap.

A row that lives on a patch stays on one: the patch of its receptive field.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F

from boundcert.layers.rows import Plane, Rows, fold, up
from boundcert.layers.tape import inside
from boundcert.layers.windows import Windows

#: Bytes of window entries that are written out at a time: what stays in the cache.
COLUMN_BYTES = 4 * 2**20
#: A patch that covers this share of the plane is carried as the whole plane.
WHOLE = 0.8
#: The library's transposed convolution pays off from so many channels of its result on.
WIDE = 8


def transposed(
    rows: Rows,
    mass: torch.Tensor,
    weight: torch.Tensor,
    windows: Windows,
    groups: int,
    plane: Plane,
) -> Rows:
    """The transposed convolution of every row, in the rows' precision.

    Parameters
    ----------
    rows : functionals of the convolution's output.
    mass : (R,) of the result.
    weight : (O, I/groups, kh, kw).
    plane : of the convolution's input.
    """
    count, (high, wide) = len(rows), rows.patch
    taps = weight.shape[1:].numel()
    # (1, groups, taps of a group, outputs of a group)
    matrix = weight.reshape(1, groups, -1, taps).transpose(2, 3).contiguous()
    outputs = weight.shape[1] * math.prod(windows.stride)
    place = _receptive(rows, mass, windows, plane)
    fast = rows.values.dtype is torch.float32 and outputs >= WIDE
    if fast or rows.values.requires_grad:
        return _library(rows, weight, windows, groups, place.rows, plane)
    place.rows.values.zero_()
    each = groups * taps * high * wide
    step = max(1, COLUMN_BYTES // max(8 * each, 1))
    buffer = rows.values.new_empty(each * min(step, count))
    for start in range(0, count, step):
        part = rows.values[start : start + step]
        columns = buffer[: len(part) * each].view(len(part), groups, taps, -1)
        torch.matmul(matrix, part.reshape(len(part), groups, -1, high * wide), out=columns)
        cut = slice(start, start + step)
        fold(
            columns.view(len(part), plane[0], *windows.kernel, high, wide),
            place.first[cut],
            place.rows.origin[cut],
            plane,
            windows.stride,
            windows.dilation,
            place.rows.values[cut],
        )
    return place.rows


def _library(
    rows: Rows, weight: torch.Tensor, windows: Windows, groups: int, to: Rows, plane: Plane
) -> Rows:
    """The library's transposed convolution, onto the patches of ``to``.

    Several times as fast as a matrix product and additions, but for float32 only, and in an order
    of summation (perhaps a transform) that is not known.
    """
    stride, dilation = windows.stride, windows.dilation
    if stride[0] == stride[1] > 1 and dilation == (1, 1):
        out = _shuffled(rows.values, weight, windows, groups)
    else:
        out = F.conv_transpose2d(
            rows.values, weight, stride=stride, groups=groups, dilation=dilation
        )
    if not to.whole:
        return replace(to, values=_cleared(out, to.origin, plane))
    (up, left), (high, wide) = windows.before, to.patch
    if rows.whole:
        widths = (-left, wide + left - out.shape[3], -up, high + up - out.shape[2])
        return replace(to, values=F.pad(out, widths))
    first = rows.origin * torch.tensor(stride) - torch.tensor(windows.before)
    return Rows(out, to.mass, to.owner, first, False).spread((out.shape[1], high, wide))


def _shuffled(
    values: torch.Tensor, weight: torch.Tensor, windows: Windows, groups: int
) -> torch.Tensor:
    """A transposed convolution of stride s as s² of stride 1 whose results interleave.

    Tap i reaches position x·s + i, so each position modulo s has the taps i, i + s, ... to itself.
    The library is fast with stride 1 only.
    """
    s, (tall, wide) = windows.stride[0], windows.kernel
    sub = F.pad(weight, (0, -wide % s, 0, -tall % s))
    outputs, inputs, high, broad = sub.shape
    sub = sub.reshape(outputs, inputs, high // s, s, broad // s, s).permute(0, 1, 3, 5, 2, 4)
    parts = F.conv_transpose2d(values, sub.flatten(1, 3), groups=groups)
    size = [(n - 1) * s + k for n, k in zip(values.shape[2:], windows.kernel)]
    out = parts.new_empty(len(parts), parts.shape[1] // s**2, *size)
    # half the time that the library takes to shuffle pixels and to cut them off
    for k in range(s * s):
        to = out[:, :, k // s :: s, k % s :: s]
        to.copy_(parts[:, k :: s * s, : to.shape[2], : to.shape[3]])
    return out


class _Receptive:
    """Where rows land on the input plane: the first tap, and room for them, not cleared yet."""

    def __init__(self, first: torch.Tensor, rows: Rows) -> None:
        self.first, self.rows = first, rows


def _receptive(rows: Rows, mass: torch.Tensor, windows: Windows, plane: Plane) -> _Receptive:
    stride, before = torch.tensor(windows.stride), torch.tensor(windows.before)
    first = rows.origin * stride - before
    patch = windows.reach(rows.patch)
    whole = rows.whole or _fills(patch, plane)
    origin = torch.zeros_like(first) if whole else first
    size = plane[1:] if whole else (patch[0], patch[1])
    values = rows.values.new_empty(len(rows), plane[0], *size)
    return _Receptive(first, Rows(values, mass, rows.owner, origin, whole))


def _cleared(values: torch.Tensor, origin: torch.Tensor, plane: Plane) -> torch.Tensor:
    """Values on patches, 0 off the plane: a product further back does not look where they lie."""
    high, wide = values.shape[2:]
    last = origin + torch.tensor((high, wide)) - torch.tensor(plane[1:])
    across = torch.nonzero((origin < 0).any(dim=1) | (last > 0).any(dim=1)).reshape(-1)
    if not len(across):
        return values
    on_plane = inside(origin[across], (high, wide), plane[1:])[:, None]
    if len(across) == len(values):
        return values * on_plane
    cleared = values[across] * on_plane
    # on a tape nothing is overwritten; else nobody else has these values
    copy = values.index_copy if values.requires_grad else values.index_copy_
    return copy(0, across, cleared)


def _fills(patch: tuple[int, ...], plane: Plane) -> bool:
    """Whether the whole plane is carried rather than the patch."""
    return patch[0] * patch[1] >= WHOLE * plane[1] * plane[2]


def single(
    index: torch.Tensor,
    owner: torch.Tensor,
    weight: torch.Tensor,
    windows: Windows,
    groups: int,
    plane: Plane,
) -> Rows:
    """Rows of the convolution's matrix: the kernel at its place, without any arithmetic."""
    high, wide = windows.out
    channel, place = index // (high * wide), index % (high * wide)
    at = torch.stack((place // wide, place % wide), dim=1)
    # each kernel among the channels of all groups, once; then one a row
    some, which = channel.unique(return_inverse=True)
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    kernels = weight.new_zeros(len(some), groups, inputs, *windows.extent)
    (down, across), number = windows.dilation, torch.arange(len(some))
    kernels[number, some // outputs, :, ::down, ::across] = weight[some]
    values = kernels.flatten(1, 2)[which]
    mass = up(weight.abs().flatten(1).sum(dim=1))[channel]
    first = at * torch.tensor(windows.stride) - torch.tensor(windows.before)
    found = Rows(_cleared(values, first, plane), mass, owner, first, False)
    return found.spread(plane) if _fills(found.patch, plane) else found
