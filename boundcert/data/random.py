"""Uniform random inputs, for networks that no data set is at hand for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from boundcert.data.checks import check_size
from boundcert.data.dataset import DataSet
from boundcert.errors import UsageError

FORM = "random:N or random:N:LOW:HIGH, such as random:100:0:1"


def parse_random(spec: str) -> tuple[int, float, float] | None:
    """Number of samples, low and high of ``random:N[:LOW:HIGH]``; ``None`` for any other text.

    Low and high default to 0 and 1.

    Raises
    ------
    UsageError
        ``spec`` starts with ``random`` and a colon, or is ``random``, but does not have that form.
    """
    word, *fields = spec.split(":")
    if word != "random":
        return None
    try:
        if len(fields) not in (1, 3):
            raise ValueError("wrong number of fields")
        low, high = (float(field) for field in fields[1:] or ("0", "1"))
        count = int(fields[0])
        if count < 1 or not np.isfinite([low, high]).all() or low > high:
            raise ValueError("wrong range")
    except ValueError:
        raise UsageError(f"'{spec}' is not {FORM}, with N > 0 and LOW <= HIGH") from None
    return count, low, high


def random_inputs(
    shape: Sequence[int],
    n: int,
    low: ArrayLike = 0.0,
    high: ArrayLike = 1.0,
    seed: int = 0,
) -> DataSet:
    """``n`` unlabelled samples of ``shape``, uniform in [low, high], the same for the same seed.

    Parameters
    ----------
    shape : sequence of int
        Shape of one sample, without the batch axis.
    n : int
        Number of samples.
    low, high : float or array
        Bounds in the network's own input units, broadcast against ``shape``. Samples stay inside
        them after rounding to float32.
    seed : int
        Seed of the generator.

    Raises
    ------
    UsageError
        ``n`` or an extent is below 1, a bound is not finite, does not broadcast, or low > high.
    """
    shape = tuple(int(extent) for extent in shape)
    if n < 1 or any(extent < 1 for extent in shape):
        raise UsageError(f"random inputs need n and every extent above 0, not n={n}, {shape}")
    check_size((n, *shape), 8, "random inputs")
    try:
        lows, highs = (np.broadcast_to(np.asarray(b, np.float64), shape) for b in (low, high))
    except ValueError as error:
        raise UsageError(f"the bounds do not fit samples of shape {shape}: {error}") from None
    inner_low, inner_high = _inside(lows, highs)
    if not np.isfinite([inner_low, inner_high]).all() or (inner_low > inner_high).any():
        raise UsageError(
            "random inputs need finite low <= high with a float32 number between them, everywhere"
        )
    draws = np.random.default_rng(seed).uniform(0.0, 1.0, (n, *shape))
    x = np.clip((lows + (highs - lows) * draws).astype(np.float32), inner_low, inner_high)
    source = f"{n} uniform random inputs of shape {shape}, seed {seed}"
    return DataSet("random", x, None, (), source)


def _inside(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outermost float32 numbers inside [low, high]."""
    with np.errstate(over="ignore", invalid="ignore"):
        low32, high32 = low.astype(np.float32), high.astype(np.float32)
    low32 = np.where(low32 < low, np.nextafter(low32, np.float32(np.inf)), low32)
    high32 = np.where(high32 > high, np.nextafter(high32, np.float32(-np.inf)), high32)
    return low32, high32
