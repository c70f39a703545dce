"""Relaxations over a box and a ball at once: twins agree where there is no ball, or no number."""

from __future__ import annotations

import pytest
from boundcert.kernels import available, backend
from kernel_cases import BALLS, SEEDS, agree, ball_cases


@pytest.mark.parametrize("name", [name for name in available() if name != "reference"])
@pytest.mark.parametrize("seed", SEEDS)
def test_backends_agree_on_whatever_tables(name: str, seed: int) -> None:
    """A comparison loses a nan, and with it the entry that bounds nothing."""
    agree(backend(name), ball_cases(seed), *BALLS)
