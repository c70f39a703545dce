"""Certificate files: what is written is read, and no changed file says more than is proved."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache

import numpy as np
import pytest
from checker.claims import claim_of, proved
from checker.graphs import points, values
from checker.random_models import gated_model, input_shape, random_model
from hypothesis import given, settings
from hypothesis import strategies as st

from boundcert.checker import (
    Certificate,
    Checker,
    NotUnderstood,
    Reading,
    decode,
    encode,
    sample_hash,
)
from boundcert.checker.ball import Ball
from boundcert.checker.certificate import NORMS
from boundcert.proofs import Chooser
from examples import examples

seeds = st.integers(0, 2**32 - 1)
finite = st.floats(-1e6, 1e6)
whole = st.integers(0, 2**50)
lines = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=9)
ranges = st.none() | st.tuples(finite, finite).filter(lambda c: c[0] < c[1])
readings = st.builds(
    Reading,
    st.lists(st.integers(1, 99), max_size=4).map(tuple),
    st.none() | st.lists(finite, min_size=1, max_size=3).map(tuple),
    st.none() | st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=3).map(tuple),
    st.none() | st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.sampled_from([None, "max", "min"]),
)
certificates = st.builds(
    Certificate,
    whole,
    st.text(max_size=9),
    st.text(max_size=9),
    whole,
    st.sampled_from(list(NORMS)),
    st.floats(0, 1e299, exclude_min=True),
    ranges,
    st.sampled_from(["deployed", "exact"]),
    readings,
    st.booleans(),
    st.booleans(),
    st.lists(st.none() | lines.map(lambda v: (np.array(v), np.array(v)[::-1])), max_size=3).map(
        tuple
    ),
    st.lists(st.integers(-128, 127), max_size=9).map(lambda v: np.array(v, dtype=np.int8)),
)


@settings(max_examples=examples(60), deadline=None)
@given(certificates)
def test_what_is_written_is_read(certificate: Certificate) -> None:
    found = decode(encode(certificate))
    plain = dataclasses.replace(certificate, slopes=(), levels=None)
    assert dataclasses.replace(found, slopes=(), levels=None) == plain
    np.testing.assert_array_equal(found.levels, certificate.levels)
    assert len(found.slopes) == len(certificate.slopes)
    for one, other in zip(found.slopes, certificate.slopes):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_array_equal(one, other)
    assert encode(found) == encode(certificate)


@cache
def proved_once(seed: int, norm: str, semantics: str) -> tuple[Checker, Certificate, np.ndarray]:
    """A certificate of a small random model, whose radius is as large as the checker proves.

    Seed 1: with 2-norms; seed 2: of gates.
    """
    for k in range(400):
        made = (gated_model if seed == 2 else random_model)(1000 * seed + k)
        checker, shape = Checker(made.SerializeToString()), input_shape(made)
        x = np.random.default_rng(seed).standard_normal(shape).clip(-1, 1)
        clip = (-1.0, 1.0) if seed % 2 else None
        found = proved(checker, claim_of(checker, x, norm, semantics, clip), x, seed == 1)
        if (
            found is not None
            and found.radius < 1.0
            and (len(found.levels) or seed != 1 or norm == "linf")
        ):
            return checker, found, x
    raise AssertionError("no model with a certificate")


def holds(checker: Checker, claim: Certificate, x: np.ndarray) -> bool:
    try:
        return checker.check(claim, x) is None
    except NotUnderstood:
        return False


about = pytest.mark.parametrize("semantics", ["exact", "deployed"])
by_norm = pytest.mark.parametrize("norm", list(NORMS))


@about
@by_norm
def test_a_radius_beyond_the_largest_is_refused(norm: str, semantics: str) -> None:
    checker, claim, x = proved_once(0, norm, semantics)
    assert checker.check(claim, x) is None

    def provable(radius: float) -> bool:
        chooser = Chooser()
        proved = checker.prove(dataclasses.replace(claim, radius=radius), x, chooser)
        made = chooser.settle(dataclasses.replace(claim, radius=radius))
        assert holds(checker, made, x) == proved.holds
        return proved.holds

    low, high = claim.radius, 1.1 * claim.radius
    while provable(high):
        low, high = high, 1.5 * high
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if provable(middle) else (low, middle)
    assert not any(provable(low * factor) for factor in (1 + 1e-6, 1.001, 2.0, 1e3, 1e30, 1e290))
    assert all(provable(low * factor) for factor in (1 - 1e-6, 0.5, 1e-3))
    # the choices of the largest one prove no more
    made = dataclasses.replace(claim, radius=claim.radius * 1e3)
    assert not holds(checker, made, x)


def assert_not_refuted(checker: Checker, claim: Certificate, x: np.ndarray, seed: int) -> None:
    """No attack finds a point of another class."""
    graph, _ = checker.graph(claim.reading, claim.norm)
    ball = Ball(x.ravel(), NORMS[claim.norm], claim.radius, claim.clip)
    for point in points(graph, ball, claim.label, seed):
        z = values(graph, point)[-1]
        assert (np.delete(z, claim.label) < z[claim.label]).all()


numbers = st.floats(0, 1e4) | st.sampled_from([1e-30, 1e30, 1e299, 5e-324, 1, 7])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "radius": numbers,
        "norm": st.sampled_from([*NORMS, "l3", "", None]),
        "label": st.integers(-1, 4),
        "clip": st.none() | st.tuples(finite, finite) | st.sampled_from([(-1, 1), (-3.0, 0.9)]),
        "semantics": st.sampled_from(["deployed", "exact", "both"]),
        "spreads": st.booleans(),
        "means": st.booleans(),
        "slopes": st.sampled_from(["none", "fewer", "more", "random", "huge"]),
        "levels": st.sampled_from(["fewer", "more", "random"]),
        "decision": st.sampled_from([None, "max", "min"]),
        "mean": st.none() | st.tuples(finite),
        "std": st.none() | st.tuples(st.floats(1e-3, 1e3)),
        "index": st.integers(-1, 9),
    },
)


@settings(max_examples=examples(60), deadline=None)
@given(
    which=st.tuples(
        st.integers(0, 2), st.sampled_from(list(NORMS)), st.sampled_from(["exact", "deployed"])
    ),
    changes=CHANGES,
    seed=seeds,
)
def test_no_changed_claim_passes_that_an_attack_refutes(which, changes, seed: int) -> None:  # type: ignore[no-untyped-def]
    checker, claim, x = proved_once(*which)
    changes, rng = dict(changes), np.random.default_rng(seed)
    slopes = changes.pop("slopes", None)
    if slopes is not None:
        size = {"huge": 1e30, "random": 1.0}.get(slopes, 0.0)
        more = tuple(
            s if s is None or not size else tuple(size * rng.standard_normal((2, len(s[0]))))
            for s in claim.slopes
        )
        more = {"none": (), "fewer": more[:-1], "more": (*more, None)}.get(slopes, more)
        changes["slopes"] = more
    levels, count = changes.pop("levels", None), len(claim.levels)
    if levels is not None:
        count += {"fewer": -1, "more": 1}.get(levels, 0)
        changes["levels"] = rng.integers(-128, 127, max(count, 0)).astype(np.int8)
    inner = {k: changes.pop(k) for k in ("decision", "mean", "std") if k in changes}
    reading = dataclasses.replace(claim.reading, **inner)
    try:
        changed = decode(encode(dataclasses.replace(claim, reading=reading, **changes)))
        verdict = checker.check(changed, x)
    except NotUnderstood:
        return
    if verdict is None:
        assert slopes != "more" and levels != "more"
        assert_not_refuted(checker, changed, x, seed)


@settings(max_examples=examples(120), deadline=None)
@given(seed=seeds, kind=st.sampled_from(["bytes", "cut", "field", "text"]))
def test_a_damaged_file_is_refused_or_is_as_it_was(seed: int, kind: str) -> None:
    checker, claim, x = proved_once(0, "l2", "exact")
    data, rng = bytearray(encode(claim)), np.random.default_rng(seed)
    place = int(rng.integers(len(data)))
    if kind == "bytes":
        data[place] = int(rng.integers(256))
    elif kind == "cut":
        del data[place : place + int(rng.integers(1, 9))]
    else:
        value = json.loads(data)
        odd = [{}, [], "", True, -1, 0.5, None, [None], 10**400, [[1]], "\ud800", {"a": 1}, "AAAA"]
        inside = value["reading"] if rng.random() < 0.4 else value
        name = str(rng.choice(list(inside)))
        inside[name] = odd[int(rng.integers(len(odd)))]
        if kind == "text":
            inside[f"{name} "] = inside.pop(name)
        data = bytearray(json.dumps(value).encode())
    try:
        found = decode(bytes(data))
        verdict = checker.check(found, x)
    except NotUnderstood:
        return
    if verdict is None:
        assert_not_refuted(checker, found, x, seed)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"null", b"NaN", b"{", b"[" * 100_000, b'{"boundcert certificate": 2}',
        b'{"radius": 1, "radius": 2}', b"\xff\xfe\x00", b"1" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_certificate(text: bytes) -> None:
    with pytest.raises(NotUnderstood):
        decode(text)


def test_numbers_that_json_reads_as_others() -> None:
    _, claim, _ = proved_once(0, "l2", "exact")
    value = json.loads(encode(claim))
    for radius in ("NaN", "Infinity", "-Infinity", "1e999", "-1", "0", "1e300", "true", "[1]"):
        with pytest.raises(NotUnderstood):
            decode(json.dumps({**value, "radius": "?"}).replace('"?"', radius).encode())
    for name, wrong in (("norm", {}), ("clip", [1, 0]), ("clip", [0, math.pi, 4]), ("label", 0.5)):
        with pytest.raises(NotUnderstood, match=name):
            decode(json.dumps({**value, name: wrong}).encode())


def test_the_sample_is_that_of_the_hash() -> None:
    checker, claim, x = proved_once(0, "l2", "exact")
    assert checker.check(claim, x) is None
    moved = x.copy()
    moved.ravel()[0] = np.nextafter(moved.ravel()[0], 9)
    assert "another sample" in str(checker.check(claim, moved))
    assert "another sample" in str(checker.check(claim, x[None]))
    moved.ravel()[0] = math.nan
    unsure = dataclasses.replace(claim, sample=sample_hash(moved))
    assert "no number" in str(checker.check(unsure, moved))
    assert "another model" in str(checker.check(dataclasses.replace(claim, model="0" * 64), x))
