"""The contracts of all kernels, in NumPy. Clear rather than fast; the tests hold the twins to it.

Conventions: ``B`` samples, ``n`` neurons, float64 and C-contiguous throughout. Every bound is
an upper bound in real arithmetic; each kernel inflates its result by a relative
``(terms + 16)·2⁻⁵²``, which covers the rounding of sums of that many non-negative terms and of
the few operations (and library functions, assumed within 4 ulp) that made each term. A nan
anywhere in a bound becomes +inf, which no certificate survives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import scalar

Array = NDArray[np.float64]

EPS = 2.0**-52
_slope = np.vectorize(scalar.slope, otypes=[float])
_curvature = np.vectorize(scalar.curvature, otypes=[float])


def inflate(value: Array, terms: int) -> Array:
    """Round a sum of ``terms`` non-negative terms up; nan → inf."""
    return np.where(np.isnan(value), np.inf, value * (1.0 + (terms + 16) * EPS))


def vector_norm(x: Array, p: float) -> Array:
    """p-norm over the last axis for p in {1, 2, inf}, safe from overflow and underflow."""
    if x.shape[-1] == 0:
        return np.zeros(x.shape[:-1])
    top = np.max(np.abs(x), axis=-1)
    if p == np.inf:
        return top
    if p == 1.0:
        return np.sum(np.abs(x), axis=-1)
    safe = np.where((top > 0) & np.isfinite(top), top, 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(
            np.isfinite(top),
            safe * np.sqrt(np.sum(np.square(x / safe[..., None]), axis=-1)),
            top,
        )


def activation_slopes(
    kind: int,
    order: int,
    z: Array,
    unit: Array,
    scale: Array,
    offset: Array,
    a: Array,
    b: Array,
    critical: Array,
) -> tuple[Array, Array]:
    """Range of an activation's derivative over a box around each pre-activation.

    Parameters
    ----------
    kind, order : int
        Activation code of :mod:`scalar`; 1 for the first derivative, 2 for the second.
    z : (B, n)
        Pre-activations.
    unit, scale, offset : (n,), (B,), (B,)
        The box: neuron i of sample s moves by at most ``unit[i]*scale[s] + offset[s]``.
    a, b : (n,) or (1,)
        Parameters of the activation, one a neuron or one for all.
    critical : (m, 3)
        Rows ``(lo, hi, value)``: where a box meets ``[lo, hi]``, ``value`` joins the range.
        Between critical zones the derivative is monotone, so its values at the ends of the box
        and those of the zones met bound it on the whole box.

    Returns
    -------
    low, high : (B, n)
        Bounds on the derivative over the box, widened by a relative 16·2⁻⁵², and by
        :func:`scalar.slope_noise`.
    """
    reach = (unit * scale[:, None] + offset[:, None]) * (1.0 + 4 * EPS)
    low_end, high_end = z - reach, z + reach
    low_end, high_end = low_end - EPS * np.abs(low_end), high_end + EPS * np.abs(high_end)
    f = _slope if order == 1 else _curvature
    with np.errstate(all="ignore"):
        ends = np.stack([f(kind, low_end, a, b), f(kind, high_end, a, b)])
    broken = np.isnan(ends).any(axis=0) | np.isnan(low_end) | np.isnan(high_end)
    low, high = ends.min(axis=0), ends.max(axis=0)
    for lo, hi, value in critical:
        met = (low_end <= hi) & (high_end >= lo)
        low = np.where(met, np.minimum(low, value), low)
        high = np.where(met, np.maximum(high, value), high)
    noise = scalar.slope_noise(kind, a[0])
    low = low - (16 * EPS * np.abs(low) + noise)
    high = high + (16 * EPS * np.abs(high) + noise)
    return np.where(broken, -np.inf, low), np.where(broken, np.inf, high)


def activation_gain(
    kind: int,
    p: float,
    z: Array,
    unit: Array,
    scale: Array,
    offset: Array,
    a: Array,
    b: Array,
    critical: Array,
) -> tuple[Array, Array]:
    """Largest slope over the box of :func:`activation_slopes`, and the p-norm of the moves.

    Returns
    -------
    gain : (B,)
        max_i sup|g'| over the box of neuron i: ‖g(z+δ)−g(z)‖_p ≤ gain·‖δ‖_p (mean value theorem,
        neuron by neuron).
    size : (B,)
        ‖(sup|g'|·reach)_i‖_p: the same deviation bounded through each neuron's own reach.
    """
    low, high = activation_slopes(kind, 1, z, unit, scale, offset, a, b, critical)
    steep = np.maximum(np.abs(low), np.abs(high))
    reach = (unit * scale[:, None] + offset[:, None]) * (1.0 + 4 * EPS)
    with np.errstate(invalid="ignore"):
        moves = np.where(steep == 0.0, 0.0, steep * reach)
    gain = steep.max(axis=1) if z.shape[1] else np.zeros(z.shape[0])
    return inflate(gain, 0), inflate(vector_norm(moves, p), z.shape[1])


def slope_remainder(
    weight: Array,
    low: Array,
    high: Array,
    unit: Array,
    scale: Array,
    offset: Array,
    size: Array,
    q: float,
) -> tuple[Array, Array]:
    """Split a weighted activation change into a linear part and a bounded rest.

    With every secant slope of neuron i in [low_i, high_i], m_i their midpoint and h_i half their
    range, |Σ w_i(g(z_i+δ_i) − g(z_i)) − Σ w_i m_i δ_i| ≤ Σ |w_i| h_i |δ_i|, which is at most
    Σ |w_i| h_i reach_i, and by Hölder at most ‖w∘h‖_q·‖δ‖_p: the smaller of the two.

    Parameters
    ----------
    weight : (K, B, n)
    low, high : (B, n)
    unit, scale, offset : (n,), (B,), (B,)
    size : (B,) bound on ‖δ‖_p
    q : the dual exponent

    Returns
    -------
    linear : (K, B, n)
        w_i m_i.
    rest : (K, B)
        The bound on the right (rounding of the midpoint included).
    """
    middle = 0.5 * (low + high)
    reach = (unit * scale[:, None] + offset[:, None]) * (1.0 + 4 * EPS)
    half = np.maximum(high - middle, middle - low) + EPS * np.abs(middle)
    with np.errstate(invalid="ignore"):
        linear = np.where(weight == 0.0, 0.0, weight * middle)
        # weight*middle itself is rounded, by a relative EPS
        factor = np.where(weight == 0.0, 0.0, np.abs(weight) * half + EPS * np.abs(linear))
        apart = np.where(factor == 0.0, 0.0, factor * reach).sum(axis=2)
        together = vector_norm(factor, q) * size
    rest = np.fmin(inflate(apart, weight.shape[2]), inflate(together, weight.shape[2]))
    return linear, rest


def lrn_gain(
    x: Array, reach: Array, size: int, alpha: float, beta: float, bias: float, p: float
) -> Array:
    """Local Lipschitz constant of local response normalisation on a p-ball.

    y_i = x_i·D_i^(−β), D_i = k + (α/size)·Σ_{j∈w(i)} x_j², window w(i) = channels
    i−⌊(size−1)/2⌋ … i+⌈(size−1)/2⌉ at the same position. Its Jacobian is
    diag(D^(−β)) − 2(α/size)β·diag(x D^(−β−1))·[j∈w(i)]·diag(x). On the box |x'−x| ≤ reach every
    |x'_j| ≤ |x_j|+reach and D_i ≥ k + (α/size)·Σ max(|x_j|−reach, 0)², so row sums R_i and
    column sums C_j of absolute values are bounded entry by entry; ‖J‖_∞ ≤ max R, ‖J‖_1 ≤ max C and
    ‖J‖_2 ≤ √(max R·max C) (Schur), per position, as J is block diagonal over positions. The
    mean value inequality on the convex ball turns sup‖J‖ into a Lipschitz constant.

    Parameters
    ----------
    x : (B, C, m)
        Activations: channels, then flattened positions.
    reach : (B,)
        Largest move of any entry.

    Returns
    -------
    (B,) upper bound on sup ‖J‖_{p→p}; inf where D can reach 0 or less.
    """
    samples, channels, _ = x.shape
    c = alpha / size
    big = np.abs(x) + reach[:, None, None]
    small = np.maximum(np.abs(x) - reach[:, None, None], 0.0)
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    with np.errstate(all="ignore"):
        d = np.empty_like(x)
        for i in range(channels):
            lo, hi = max(i - before, 0), min(i + after, channels - 1)
            square = np.square(small if c >= 0 else big)[:, lo : hi + 1].sum(axis=1)
            d[:, i] = (bias + c * square) * (1.0 - (size + 16) * EPS)
        main, decay = d**-beta, d ** (-beta - 1.0)
        out = np.zeros(samples)
        rows, columns = main.copy(), main.copy()
        for i in range(channels):
            lo, hi = max(i - before, 0), min(i + after, channels - 1)
            for j in range(lo, hi + 1):
                entry = 2.0 * abs(c * beta) * big[:, i] * decay[:, i] * big[:, j]
                rows[:, i] += entry
                columns[:, j] += entry
        top_r, top_c = rows.max(axis=1), columns.max(axis=1)
        here = top_r if p == np.inf else top_c if p == 1.0 else np.sqrt(top_r * top_c)
        bad = (~(d > 0)).any(axis=(1, 2))
        out = np.where(bad, np.inf, here.max(axis=1))
    return inflate(out, 4 * size)


def pool_multiplicity(x: Array, windows: NDArray[np.int64], reach: Array) -> Array:
    """How many max-pool windows one input can decide, at most, while entries move ≤ reach.

    Input i is a candidate of window w when x_i + reach ≥ max_{j∈w} x_j − reach. The window's
    change is at most the largest move among its candidates, so
    Σ_w |Δ_w|^p ≤ Σ_i m_i |q_i|^p with m_i the number of windows where i is a candidate.

    Parameters
    ----------
    x : (B, n)
        Flattened inputs.
    windows : (w, k) int64
        Flat input indices of each window, −1 for padding.
    reach : (B,)

    Returns
    -------
    (B,) max_i m_i as float64.
    """
    out = np.zeros(x.shape[0])
    for s in range(x.shape[0]):
        count = np.zeros(x.shape[1], dtype=np.int64)
        for window in windows:
            inside = window[window >= 0]
            if inside.size == 0:
                continue
            values = x[s, inside]
            slack = 2.0 * reach[s] + 8 * EPS * (np.abs(values).max() + reach[s])
            keep = ~(values < values.max() - slack)
            np.add.at(count, inside[keep], 1)
        out[s] = count.max() if count.size else 0
    return out


def pairwise_norms(w: Array, p: float) -> Array:
    """‖w_i − w_j‖_p for all pairs of rows of ``w`` (C, n), rounded up: (C, C)."""
    return np.stack([inflate(vector_norm(w[i] - w, p), w.shape[1]) for i in range(w.shape[0])])


def margin_distances(logits: Array, error: Array, norms: Array, label: NDArray[np.int64]) -> Array:
    """Distance to each rival's decision hyperplane (003, Lemma 3.5; exact for linear networks).

    Parameters
    ----------
    logits : (B, C)
    error : (B,)
        Bound on how far each computed logit may be off.
    norms : (C, C)
        Dual norms of the differences of the output rows.
    label : (B,) int64
        The predicted class c.

    Returns
    -------
    (B, C): (z_c − z_j − 2·error)/‖w_c − w_j‖_q rounded down, 0 where the margin is not
    positive or not a number, +inf at j = c and where equal rows make a positive margin constant.
    """
    samples, classes = logits.shape
    out = np.empty((samples, classes))
    for s in range(samples):
        c = label[s]
        for j in range(classes):
            gap = logits[s, c] - logits[s, j]
            gap -= 2.0 * error[s] + 4 * EPS * (abs(logits[s, c]) + abs(logits[s, j]))
            if j == c:
                out[s, j] = np.inf
            elif not gap > 0.0 or np.isnan(norms[c, j]):
                out[s, j] = 0.0
            elif norms[c, j] == 0.0:
                out[s, j] = np.inf
            else:
                out[s, j] = gap / norms[c, j] * (1.0 - 4 * EPS)
    return out


def taylor_recursion(
    steep: Array, curved: Array, spectral: Array, row: Array
) -> tuple[Array, Array]:
    """Lipschitz constants of a smooth dense block and of its Jacobian (corrected FC-Taylor).

    For z = V h + b, a = g(z) with |g'| ≤ A, |g''| ≤ B:
    Λ⁺ = B·‖V‖_{2→∞}·‖V‖₂·L² + A·‖V‖₂·Λ and L⁺ = A·‖V‖₂·L, from L = 1, Λ = 0.

    Parameters
    ----------
    steep, curved : (B, l)
        A and B of each layer, for each sample.
    spectral, row : (l,)
        Upper bounds on ‖V‖₂ and on the largest row 2-norm.

    Returns
    -------
    lipschitz, smoothness : (B,)
    """
    lipschitz = np.ones(steep.shape[0])
    smoothness = np.zeros(steep.shape[0])
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(steep.shape[1]):
            smoothness = (
                curved[:, k] * row[k] * spectral[k] * lipschitz * lipschitz
                + steep[:, k] * spectral[k] * smoothness
            )
            lipschitz = steep[:, k] * spectral[k] * lipschitz
    return inflate(lipschitz, 8 * steep.shape[1]), inflate(smoothness, 8 * steep.shape[1])
