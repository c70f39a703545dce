"""Window norms (Σ|x|^p)^{1/p} out of powers, window sums and roots."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from boundcert.layers.activation import elementwise
from boundcert.layers.affine import Affine
from boundcert.layers.base import Emit, Unsupported, align, constant
from boundcert.layers.conv import Conv
from boundcert.layers.diagonal import Diagonal
from boundcert.layers.reduce import Reduce
from boundcert.layers.windows import Windows

#: Norms of a greater power, infinity among them, overflow on their way.
LARGEST_POWER = 1e4


@dataclass(frozen=True)
class Nearly(Diagonal):
    """x ↦ x(1 + η) for any |η| ≤ 1000u of each entry: x itself, and a bound that covers η.

    Affine layers allow for errors of their coefficients of γ_{n+8} ≥ (n + 8)u, n their fan, on
    top of which their own arithmetic (one exact product) needs nothing: a fan of 1024 it is.
    """

    ops: ClassVar[tuple[str, ...]] = ()

    @property
    def fan_in(self) -> int:
        return 1024

    @property
    def fan_out(self) -> int:
        return 1024


def nearly(shape: tuple[int, ...]) -> Nearly:
    """The layer for values of a shape."""
    one, zero = (align(constant(value)[None], len(shape)) for value in (1.0, 0.0))
    return Nearly(shape, shape, weight=one, shift=zero, shift_size=zero)


def window_norms(emit: Emit, x: int, windows: Windows, p: float) -> int:
    """(Σ_w |x|^p)^{1/p} for every window w of the value at ``x``, p ≥ 1; the result's position.

    The sum is put through a Relu, which changes nothing but says that it is not negative where
    its rounded bounds forget that: there is no root of a negative number.

    Where 1/p is rounded, to (1 + e)/p with |e| ≤ u, the root t of the sum comes out as t^(1 + e),
    so t is t^(1 + e)·(1 + η) with |η| ≤ exp(u|log t|) − 1 ≤ 720u for all t from 1e−308 to the
    greatest double; what t < 1e−308 loses is less than the underflow that every layer allows for.
    """
    shape = emit.shape(x)
    if p > LARGEST_POWER:
        raise Unsupported(f"p = {p} is too large; p ≤ {LARGEST_POWER:g} works")
    if p % 2 != 0:
        x = emit(elementwise("Abs", shape), shape, x)
    if p != 1:
        x = emit(elementwise("Pow", shape, p), shape, x)
    total = window_sum(shape, windows)
    out = total.out_shape
    x = emit(total, out, x)
    if p == 1:
        return x
    x = emit(elementwise("Relu", out), out, x)
    if p == 2:
        return emit(elementwise("Sqrt", out, 0.5), out, x)
    x = emit(elementwise("Pow", out, 1 / p), out, x)
    exact = math.frexp(p)[0] == 0.5
    return x if exact else emit(nearly(out), out, x)


def window_sum(shape: tuple[int, ...], windows: Windows) -> Affine:
    """Sums over the windows of (N, C, spatial…) data, padding counting as 0."""
    out = (*shape[:2], *windows.out)
    whole = windows.kernel == windows.size and math.prod(windows.out) == 1
    if whole and not any(windows.before) and set(windows.dilation) == {1}:
        return Reduce(shape, out, axes=tuple(range(2, len(shape))), factor=1.0)
    # ceil_mode may drop a last window and spill by −stride, which padding both sides would count
    after = tuple(a + s for a, s in zip(windows.after, windows.spill))
    windows = replace(windows, after=after, spill=(0,) * len(after))
    weight = torch.ones(shape[1], 1, *windows.kernel, dtype=torch.float64)
    return Conv(shape, out, weight=weight, bias=None, windows=windows, groups=shape[1])
