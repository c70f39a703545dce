"""Damaged models: a refusal of boundcert's own, or a network that agrees with onnxruntime.

Each case runs in this process, so a crash of native code fails the whole run, as it should. The
seeds are fixed, so that a failure can be repeated; BOUNDCERT_FUZZ=N starts at another one, and
BOUNDCERT_EXAMPLES=M tries M times as many.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network import fuzz_seeds, mutations

from boundcert import certify
from boundcert.errors import BoundcertError
from boundcert.network.check import check_against_runtime
from boundcert.network.importer import import_bytes
from boundcert.network.runtime import Runtime
from examples import examples

FIRST = int(os.environ.get("BOUNDCERT_FUZZ", "0"))
CASES = examples(350)
#: What one model may take: seconds on a busy machine, and KiB beyond what any took before (a file
#: may declare tensors of 1 GiB a sample, which the comparison holds twice).
SECONDS, MEMORY = 20, 3 * 2**20


@pytest.fixture(autouse=True, scope="module")
def compiled() -> None:
    """What compiling kernels takes is no model's fault."""
    for seed in fuzz_seeds.seeds():
        network = import_bytes(seed)
        certify(network, np.full((1, *network.input_shape), 0.5), method="walk")


def outcome(data: bytes) -> str:
    """Import and check; "refused" or "agrees"."""
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        network = import_bytes(data, "some.onnx")
        check_against_runtime(network)
    except BoundcertError as error:
        assert str(error).startswith("some.onnx: ") and len(str(error)) > 20
        result = "refused"
    else:
        x = np.random.default_rng(1).random((2, *network.input_shape))
        z = network.logits(network.prepare(x)).numpy()
        ran = Runtime(network.source, network.input_shape)
        classes = ran.classify(x)
        top = np.sort(z, axis=1)
        clear = np.isfinite(z).all(axis=1) & (classes >= 0)
        if z.shape[1] > 1:
            # what float32 flushes to 0 may be all there is: runtimes are compared to 1e-6 anyway
            clear &= top[:, -1] - top[:, -2] > 0.05 * np.abs(z).max(axis=1) + 1e-6
        assert (classes == z.argmax(axis=1))[clear].all()
        result = "agrees"
        if x.size < 2**16:
            bounds = certify(network, x[:1], method="walk")
            assert bounds.lower[0] >= 0
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    return result


def test_seeds_themselves_are_fine() -> None:
    assert {outcome(seed) for seed in fuzz_seeds.seeds()} == {"agrees"}


def test_mutated_models() -> None:
    seeds = fuzz_seeds.seeds()
    counts: Counter[str] = Counter()
    for k in range(FIRST, FIRST + CASES):
        try:
            data = mutations.mutate(seeds[k % len(seeds)], k, seeds[k // 7 % len(seeds)])
        except ValueError:
            continue  # one mutation left nothing that a second one could change
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                counts[outcome(data)] += 1
        except Exception as error:
            pytest.fail(f"seed {k}: {type(error).__name__}: {error}")
    # the importer neither refuses everything nor lets everything pass
    assert counts["agrees"] > CASES // 50
    assert counts["refused"] > CASES // 2


@settings(max_examples=examples(60), deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    with pytest.raises(BoundcertError):
        import_bytes(data)
