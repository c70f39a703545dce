"""ONNX's own node tests for every operator that boundcert supports.

Each case is imported as a plain function of one input and evaluated in float64, then compared
with the expected output that ships with onnx, and with onnxruntime on random data. A case may
be refused only for a reason listed here, and each reason has its exact count.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from network import node_cases

from boundcert.errors import UnsupportedModel

#: The onnx release whose suite the counts belong to; others must show no failure either.
COUNTED = "1.23."
PASSED = 342
#: Cases without any floating-point input: integers, 4- and 8-bit types, sequences, empty arrays.
WITHOUT_DATA = 107
#: What may be refused: (cases by name, text of the message) → why, and how many.
REFUSALS = {
    # batch statistics and random masks: a trained network does not compute them
    (r"_training_mode|training_dropout", r"training.mode"): 6,
    # rounding to integers or to 4 and 8 bits is piecewise constant: no useful bound
    (r"test_cast(like)?_.*_to_(U?INT|FLOAT[48])", r"not floating point"): 54,
    # an exponent an entry, or a constant base with the data in the exponent
    (r"test_pow", r"needs one constant exponent|input 0 must be data"): 9,
    # nothing is left to classify
    (r"test_slice_start_out_of_bounds", r"is empty"): 1,
}


@dataclass(frozen=True)
class Results:
    """What became of each case: its name, and the message where there is one."""

    passed: list[str]
    failed: dict[str, str]
    refused: dict[str, str]
    without_data: list[str]
    operators: Counter[str]


@pytest.fixture(scope="module")
def results() -> Results:
    found = Results([], {}, {}, [], Counter())
    rng = np.random.default_rng(0)
    for case in node_cases.supported_cases():
        if case.data is None:
            found.without_data.append(case.name)
            continue
        model, source, target = node_cases.as_function(case)
        x = np.asarray(case.inputs[case.data])
        try:
            nodes = node_cases.import_function(model, source, target)
        except UnsupportedModel as error:
            found.refused[case.name] = str(error)
            continue
        expected = np.asarray(case.outputs[0])
        # some of the suite's expected values are typed in with four digits
        wrong = node_cases.gap(node_cases.evaluate(nodes, x), expected, x, relative=1e-3)
        x = rng.standard_normal(x.shape).astype(x.dtype)
        runtime = node_cases.run(model, x, source, target)
        if wrong is None and runtime is not None:
            wrong = node_cases.gap(node_cases.evaluate(nodes, x), runtime, x)
        if wrong is None:
            found.passed.append(case.name)
            found.operators.update(case.operators)
        else:
            found.failed[case.name] = wrong
    return found


def test_nothing_fails(results: Results) -> None:
    assert results.failed == {}


def test_every_refusal_is_one_of_the_listed(results: Results) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for name, message in results.refused.items():
        reasons = [
            key for key in REFUSALS if re.search(key[0], name) and re.search(key[1], message)
        ]
        assert len(reasons) == 1, f"{name}: {message}"
        counts[reasons[0]] += 1
    if onnx.__version__.startswith(COUNTED):
        assert counts == REFUSALS


def test_counts(results: Results) -> None:
    print(
        f"{len(results.passed)} passed, {len(results.refused)} refused, "
        f"{len(results.failed)} failed, {len(results.without_data)} without float data"
    )
    if onnx.__version__.startswith(COUNTED):
        assert len(results.passed) == PASSED
        assert len(results.without_data) == WITHOUT_DATA
    assert len(results.passed) > 250


def test_every_operator_with_node_tests_passes_one(results: Results) -> None:
    tested = {op for case in node_cases.supported_cases() for op in case.operators}
    assert tested - set(results.operators) == set()
