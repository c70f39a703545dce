"""Every layer's bound on a runtime's error against onnxruntime and torch in float32.

The reference is the layer itself in float64 with the same float32 constants and operands. Its own
error is about 2⁻⁵³ of what it adds up, the bounds are at least 2⁻²⁴ of that.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import CASES, Case
from runtime_cases import deployed, float32_boxes, float32_inside, ratio

from boundcert.layers.arithmetic import FLOAT32
from boundcert.layers.relaxation import Box
from examples import examples

#: A window that onnxruntime moves along the channels, adding and subtracting squares.
MOVED = {"size": 5, "alpha": 3.0, "beta": 1.6, "bias": 0.2}
ALL = [
    *CASES,
    Case("lrn_moved", "LRN", lambda rng: ([(1, 20, 2, 2)], dict(MOVED))),
    Case("log", "Log", lambda rng: ([(1, 40)], {}), low=1e-30),
]

seeds = st.integers(0, 2**32 - 1)
#: The first is what every run tries: an ordinary one, whose bounds are closest to the errors.
scales = st.sampled_from([1.0, 10.0, 1e-2, 1e-42, 1e-30, 1e-19, 1e-6, 1e3, 1e9, 1e18, 1e30])
widths = st.sampled_from([0.0, 1e-6, 1e-2, 1.0, 10.0])


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
@settings(max_examples=examples(3), deadline=None)
@given(seed=seeds, scale=scales, width=widths)
def test_no_runtime_is_further_off(case: Case, seed: int, scale: float, width: float) -> None:
    rng = np.random.default_rng(seed)
    made = deployed(case, seed)
    boxes = float32_boxes(case, made.shapes, rng, scale, width, 3)
    bound = made.layer.runtime_error(FLOAT32, *boxes)
    assert bound is None or bool((bound >= 0).all())
    for kind in range(4):
        points = float32_inside(rng, boxes, kind)
        value = made.layer.forward(*points)
        for name, run in made.runtimes.items():
            assert ratio(run(*points), value, bound) <= 1, name


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
@pytest.mark.parametrize("scale", [1e-2, 1.0, 10.0])
def test_ordinary_operands_have_a_useful_bound(case: Case, scale: float) -> None:
    rng = np.random.default_rng(0)
    layer, shapes = case.build(rng)
    boxes = float32_boxes(case, shapes, rng, scale, 0.1, 2, odd=0.0)
    bound = layer.runtime_error(FLOAT32, *boxes)
    if bound is not None:
        size = layer.forward(*(box.point for box in boxes)).abs().max()
        size = size + sum(float(box.magnitude.max()) for box in boxes)
        assert bool((bound <= 1e-3 * (1 + size)).all())


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
@pytest.mark.parametrize("end", [np.inf, np.nan])
def test_unbounded_operands_have_no_bound(case: Case, end: float) -> None:
    layer, shapes = case.build(np.random.default_rng(0))
    boxes = []
    for shape in shapes:
        low = torch.full((2, *shape), max(case.low, -1.0), dtype=torch.float64)
        boxes.append(Box(low, torch.full_like(low, end), low))
    bound = layer.runtime_error(FLOAT32, *boxes)
    # an operand that is only divided by may be as large as it likes
    finite = bound is not None and bool((bound < torch.inf).any())
    assert not finite or (case.name == "reciprocal" and end == np.inf)
