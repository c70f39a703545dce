"""Rows on patches that hang over a plane, as kernels on rows are tried with."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
PLANE = (2, 4, 5)


def situation(rng: np.random.Generator, dtype: type = np.float64):  # type: ignore[no-untyped-def]
    """Rows on patches that hang over the plane, and a per-sample tensor maker."""
    count, samples = int(rng.integers(1, 9)), 3
    patch = (int(rng.integers(1, 6)), int(rng.integers(1, 7)))
    origin = rng.integers(-4, 6, size=(count, 2))
    owner = np.sort(rng.integers(samples, size=count))
    rows = rng.standard_normal((count, PLANE[0], *patch)) * (rng.random((count, 1, 1, 1)) < 0.9)
    for r in range(count):
        places = np.indices(patch) + origin[r][:, None, None]
        off = (places < 0).any(axis=0) | (places[0] >= PLANE[1]) | (places[1] >= PLANE[2])
        rows[r, :, off] = 0.0  # what is off the plane is 0

    def tensor(shared: bool = False) -> np.ndarray:
        return rng.standard_normal((1 if shared else samples, *PLANE)).astype(dtype)

    return rows.astype(dtype), owner, origin, tensor


def same(found, wanted, dtype: type = np.float64) -> None:  # type: ignore[no-untyped-def]
    found = found if isinstance(found, tuple) else (found,)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    rtol = 1e-11 if dtype is np.float64 else 1e-4
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
