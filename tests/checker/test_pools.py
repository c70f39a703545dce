"""Window maxima over a box and a ball: the sum of terms is below what any point makes of it."""

from __future__ import annotations

import numpy as np
from checker.choices import Choices
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.checker.lines import maximum_lines, windows
from boundcert.checker.nodes import Maximum
from boundcert.checker.pools import by_multipliers, overlap, tied
from examples import examples

seeds = st.integers(0, 2**32 - 1)


def pool(rng: np.random.Generator) -> tuple[Maximum, int]:
    """Windows of a few of some entries each, some of padding."""
    n, count, kernel = int(rng.integers(2, 9)), int(rng.integers(1, 6)), int(rng.integers(2, 5))
    table = np.stack([rng.permutation(n + 2)[:kernel] for _ in range(count)]) - 2
    table = np.maximum(table, -1)
    table[:, 0] = np.maximum(table[:, 0], 0)
    return Maximum(count, (0,), table), n


@settings(max_examples=examples(200), deadline=None)
@given(seed=seeds, scale=st.sampled_from([1e-20, 1.0, 1e20]))
def test_the_bound_holds_in_box_and_ball(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    node, n = pool(rng)
    point = rng.standard_normal(n) * scale
    reach = rng.random((2, n)) * scale
    low, high = point - reach[0], point + reach[1]
    with np.errstate(all="ignore"):
        ties = tied(node, low, high, point)
    c = rng.standard_normal((4, node.n))
    spread = float(rng.random() * np.sqrt(n)) * scale
    square = overlap(node.table) * spread**2
    lines = maximum_lines(node, low, high)
    with np.errstate(all="ignore"):
        found = by_multipliers(c, ties, square, lines, point, Choices(seed=seed))
    if found is None:
        return
    peaks = found.windows.peak
    for way in (*rng.standard_normal((60, n)), *np.eye(n), *-np.eye(n)):
        moved = np.clip(point + way * spread / (np.linalg.norm(way) or 1.0), low, high)
        z = point + (moved - point) * min(1.0, spread / (np.linalg.norm(moved - point) or 1.0))
        best = windows(z, node.table).max(axis=1)[found.windows.which]
        value = found.coefficients @ best
        size = np.abs(found.coefficients) @ np.abs(best)
        assert (value >= found.coefficients @ z[peaks] + found.gain - 1e-13 * size).all()


def test_multipliers_are_worth_having_where_many_windows_are_tied() -> None:
    """Every window may lose all of its width by the lines; the ball allows for one of them."""
    node = Maximum(16, (0,), np.arange(32).reshape(16, 2))
    point, wide = np.tile([1.0, 0.9], 16), np.full(32, 1.0)
    low, high = point - wide, point + wide
    rows = -np.ones((1, 16))
    lines = maximum_lines(node, low, high)
    line = (lines.above + lines.above_slope * point[::2] - 1.0).sum()

    class Half(Choices):
        def levels(self, start, value):  # type: ignore[no-untyped-def]
            return np.round(start).astype(np.int8)

    with np.errstate(all="ignore"):
        about = (tied(node, low, high, point), 1.0, lines, point)
        found = by_multipliers(rows, *about, Half())
    assert found is not None and -found.gain[0] < 0.5 * line
