"""Certified upper bounds on the 2-norm of strided, padded, dilated, grouped convolutions."""

from __future__ import annotations

import math

import numpy as np

from boundcert.layers.spectral import UNIT, batched_norm_bound, spectral_norm_bound
from boundcert.layers.windows import Windows

#: Floating-point operations the frequency-wise bound may take before the kernel bound has to do.
BUDGET = 3e11


def conv_norm_bound(weight: np.ndarray, windows: Windows, groups: int) -> float:
    """Upper bound on ‖conv‖₂ for kernels (k, c/groups, q…) over ``windows``.

    The better of two proofs.

    *Overlap.* Each output patch is W_mat times an input patch, and one input entry lies in at
    most m patches, so ‖y‖² ≤ ‖W_mat‖²·Σ‖patch‖² ≤ m‖W_mat‖²‖x‖².

    *Torus.* On an axis of size d with padding (l, r) take a torus of N ≥ d + max(l, r)
    positions, N a multiple of the stride. Put the data at 0…d−1 and zeros elsewhere: every
    window then reads the same values on the torus as in the padded data (positions −l…−1 wrap to
    N−l…N−1, positions d…d+r−1 stay below N; both hold zeros), and different windows start at
    different torus positions as (out−1)·stride < N. So the convolution is a compression of the
    strided circular convolution, whose DFT is block diagonal: output frequency f couples the
    s = Πstride input frequencies f + jN/stride, through the block s^(−1/2)·[Ŵ(f+jN/stride)]_j.
    Its norm is the largest block norm; those are bounded by proof (:mod:`spectral`). Each entry
    of Ŵ is a sum of Πq terms with twiddle factors correct to 4u, hence an error of at most
    (Πq+8)·2u·‖|W| summed over taps‖_F on the whole block, which is added.
    """
    per_group = np.array_split(weight, groups, axis=0)
    return max(_group_bound(part, windows) for part in per_group)


def _group_bound(weight: np.ndarray, windows: Windows) -> float:
    matrix = weight.reshape(weight.shape[0], -1)
    overlap = math.sqrt(windows.multiplicity()) * spectral_norm_bound(matrix) * (1 + 8 * UNIT)
    sides = [
        -(-(size + max(lo, hi, 0)) // s) * s
        for size, lo, hi, s in zip(windows.size, windows.before, windows.after, windows.stride)
    ]
    fits = all(
        (out - 1) * s < n and after + spill <= after and e <= n
        for out, s, n, after, spill, e in zip(
            windows.out, windows.stride, sides, windows.after, windows.spill, windows.extent
        )
    )
    k, c = weight.shape[:2]
    alias = math.prod(windows.stride)
    blocks = math.prod(n // s for n, s in zip(sides, windows.stride))
    short = min(k, c * alias)
    if not fits or 8.0 * blocks * k * c * alias * short + 30.0 * blocks * short**3 > BUDGET:
        return overlap
    return min(overlap, _torus_bound(weight, windows, sides))


def _torus_bound(weight: np.ndarray, windows: Windows, sides: list[int]) -> float:
    k, c = weight.shape[:2]
    stride = windows.stride
    taps = math.prod(weight.shape[2:])
    transformed = weight.astype(np.complex128)
    for axis, (n, d) in enumerate(zip(sides, windows.dilation)):
        # exact integer phase modulo n, so the twiddle factors are as good as cos and sin
        phase = np.outer(np.arange(weight.shape[2 + axis]) * d, np.arange(n)) % n
        twiddle = np.exp(2j * np.pi * phase / n)
        # consumes the first spatial axis left and appends its frequency axis
        transformed = np.tensordot(transformed, twiddle, axes=([2], [0]))
    for axis, (n, s) in enumerate(zip(sides, stride)):
        # frequency f + j·n/s is at [j, f] after this split
        shape = transformed.shape
        at = 2 + 2 * axis
        transformed = transformed.reshape(*shape[:at], s, n // s, *shape[at + 1 :])
    rank = len(sides)
    aliases = [2 + 2 * i for i in range(rank)]
    frequencies = [3 + 2 * i for i in range(rank)]
    ordered = transformed.transpose(*frequencies, 0, 1, *aliases)
    alias = math.prod(stride)
    # real weights: the block at −f is the conjugate of the block at f
    half = ordered[: ordered.shape[0] // 2 + 1]
    stack = half.reshape(-1, k, c * alias) / math.sqrt(alias)
    error = (taps + 8) * 2 * UNIT * np.linalg.norm(np.abs(weight).reshape(k, c, -1).sum(axis=2))
    return float(batched_norm_bound(stack).max()) * (1 + 8 * UNIT) + 2 * rank * error
