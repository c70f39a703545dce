"""Damaged models: a refusal of boundcert's own, or a network that agrees with onnxruntime.

Each case runs in this process, so a crash of native code fails the whole run, as it should. The
seeds are fixed, so that a failure can be repeated; BOUNDCERT_FUZZ=N starts at another one.
"""

from __future__ import annotations

import os
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network import fuzz_seeds, mutations

from boundcert.errors import BoundcertError
from boundcert.network.check import check_against_runtime
from boundcert.network.importer import import_bytes
from boundcert.network.runtime import Runtime

FIRST = int(os.environ.get("BOUNDCERT_FUZZ", "0"))
CASES = 350


def outcome(data: bytes) -> str:
    """Import and check; "refused" or "agrees"."""
    start = time.monotonic()
    try:
        network = import_bytes(data)
        check_against_runtime(network)
    except BoundcertError as error:
        assert len(str(error)) > 10
        result = "refused"
    else:
        x = np.random.default_rng(1).random((2, *network.input_shape))
        z = network.logits(network.prepare(x)).numpy()
        ran = Runtime(network.source, network.input_shape)
        classes = ran.classify(x)
        top = np.sort(z, axis=1)
        clear = np.isfinite(z).all(axis=1) & (classes >= 0)
        if z.shape[1] > 1:
            clear &= top[:, -1] - top[:, -2] > 0.05 * np.abs(z).max(axis=1)
        assert (classes == z.argmax(axis=1))[clear].all()
        result = "agrees"
    assert time.monotonic() - start < 20
    return result


def test_seeds_themselves_are_fine() -> None:
    assert {outcome(seed) for seed in fuzz_seeds.seeds()} == {"agrees"}


def test_mutated_models() -> None:
    seeds = fuzz_seeds.seeds()
    counts: Counter[str] = Counter()
    for k in range(FIRST, FIRST + CASES):
        try:
            data = mutations.mutate(seeds[k % len(seeds)], k)
        except ValueError:
            continue  # one mutation left nothing that a second one could change
        try:
            counts[outcome(data)] += 1
        except Exception as error:
            pytest.fail(f"seed {k}: {type(error).__name__}: {error}")
    # the importer neither refuses everything nor lets everything pass
    assert counts["agrees"] > CASES // 50
    assert counts["refused"] > CASES // 2


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    with pytest.raises(BoundcertError):
        import_bytes(data)
