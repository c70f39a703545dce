"""The contract of the kernel on rows over a ball that is cut with a box, in NumPy.

Rows, owners and origins as in :mod:`rows_reference`. A perturbation q moves entry i by at most
r_i ≥ 0 in the direction that lowers c_i·q_i, its *room*: ``below`` where c_i > 0, ``above``
elsewhere. With m_i = max(0, −sign(c_i)·q_i) ≤ min(r_i, |q_i|) and any u, v ≥ 0 whose sum is |c|,

    −c·q ≤ Σ |c_i|·m_i = Σ u_i·m_i + Σ v_i·m_i ≤ Σ u_i·r_i + s·‖v‖_q   whenever ‖q‖_p ≤ s,

the box on u and Hölder on v, for every s ≥ 0 whatever the split. How good a split is depends on
the radius; the best one at a radius ε attains the maximum of −c·q over ball and box (it is the
infimal convolution of their support functions):

- p = 2: v_i = min(|c_i|, t·r_i) with Σ min(|c_i|/t, r_i)² = ε², or t = 0 if the ball holds the box;
- p = ∞: v_i = |c_i| where r_i ≥ ε, else 0;
- p = 1: v_i = min(|c_i|, t), t the least with Σ r_i ≤ ε over the i with |c_i| > t.

An entry that has no room goes to u, where it costs nothing.
"""

from __future__ import annotations

import numpy as np

from .rows_reference import Array, _inside, _patches


def clipped_norm(
    rows: Array, owner: Array, origin: Array, below: Array, above: Array, eps: Array, p: float
) -> tuple[Array, Array, Array]:
    """The split of every row that is the best at its radius.

    Parameters
    ----------
    below, above : (B, C, H, W) rooms, finite.
    eps : (R,) radii; a split is made for any number, and is a split even where that is none.
    p : 1, 2 or inf, of the ball.

    Returns
    -------
    loss, slope (R,) : Σ u_i·r_i and ‖v‖_q, in plain arithmetic; nan (or infinite) where a
        coefficient on the plane is.
    level (R,) : t, and ε where p is inf.
    """
    size = (rows.shape[2], rows.shape[3])
    inside = _inside(rows, origin, below.shape[2:]).astype(np.float64)
    room = np.where(
        inside > 0, _patches(below, owner, origin, size), _patches(above, owner, origin, size)
    )
    found = np.empty((3, len(rows)))
    for r, (c, span, radius) in enumerate(zip(inside, room, eps)):
        found[:, r] = _split(np.abs(c).ravel(), span.ravel(), float(radius), p)
    return found[0], found[1], found[2]


def _split(c: Array, r: Array, eps: float, p: float) -> tuple[float, float, float]:
    """Loss, slope and level of one row of absolute values."""
    if p == np.inf:
        level = eps
        v = np.where((r > 0) & ~(r < eps), c, 0.0)
    elif p == 1.0:
        level = _threshold(c, r, eps)
        v = np.minimum(c, level)
    else:
        level = _tension(c, r, eps)
        with np.errstate(invalid="ignore", over="ignore"):
            v = np.minimum(c, np.where(r > 0, level * r, 0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        return float(((c - v) * r).sum()), _length(v, p), level


def _length(v: Array, p: float) -> float:
    top = float(v.max(initial=0.0))
    if p == 1.0 or top == 0.0 or not np.isfinite(top):
        return top
    return float(v.sum()) if p == np.inf else top * float(np.sqrt(((v / top) ** 2).sum()))


def _threshold(c: Array, r: Array, eps: float) -> float:
    """The least t with Σ r ≤ ε over c > t; it is one of the c, or 0."""
    order = np.argsort(-c, kind="stable")
    used = np.cumsum(r[order])
    over = np.nonzero(~(used <= eps))[0]
    return float(c[order][over[0]]) if len(over) else 0.0


def _tension(c: Array, r: Array, eps: float) -> float:
    """t with Σ min(c/t, r)² = ε²; infinite at ε = 0, 0 where Σ r² ≤ ε²."""
    top = float(c.max(initial=0.0))
    if not eps > 0.0 or not 0.0 < top < np.inf:
        return np.inf
    squares, rooms = (c / top) ** 2, np.minimum(r / eps, 2.0) ** 2
    # entries in the order in which growing 1/t² exhausts their rooms
    order = np.argsort(np.divide(rooms, squares, out=np.full_like(c, np.inf), where=squares > 0))
    full = np.concatenate([[0.0], np.cumsum(rooms[order])])
    free = np.concatenate([np.cumsum(squares[order][::-1])[::-1], [0.0]])
    for k in range(len(c)):
        if free[k] == 0.0:
            break
        share = (1.0 - full[k]) / free[k]
        # with the first k exhausted: right if the next one is not
        if share * squares[order[k]] <= rooms[order[k]]:
            return float(top / eps / np.sqrt(share)) if share > 0.0 else np.inf
    return 0.0
