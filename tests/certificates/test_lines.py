"""Records to lines and back."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from certificates.makers import run_record, sample_record
from hypothesis import given
from hypothesis import strategies as st

from boundcert.certificates import LayerCost, Summary, from_line, same_run, to_line
from boundcert.errors import RefusedInput

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(lower=anything, upper=st.none() | anything, kappa=st.none() | anything)
def test_samples_survive(lower: float, upper: float | None, kappa: float | None) -> None:
    sample = sample_record(3, lower=lower, upper=upper, layers=(LayerCost("a+b", "Gemm", kappa),))
    line = to_line(sample)
    assert line.endswith("\n") and line.count("\n") == 1
    back = from_line(line, "here")
    finite = {
        "lower": lower if math.isfinite(lower) else None,
        "upper": upper if upper is not None and math.isfinite(upper) else None,
    }
    layer = LayerCost("a+b", "Gemm", kappa if kappa is not None and math.isfinite(kappa) else None)
    assert back == replace(sample, **finite, layers=(layer,))


def test_runs_and_summaries_survive() -> None:
    run = run_record(indices=(0, 5), mean=(0.1, 0.2), std=(1.0,), attack=("fgs", "deepfool"))
    assert from_line(to_line(run), "here") == run
    summary = Summary(3, None, 0.1, None, 0, 1.5)
    assert from_line(to_line(summary), "here") == summary
    assert json.loads(to_line(summary))["type"] == "summary"


def test_nan_in_a_summary_never_reaches_a_file() -> None:
    assert json.loads(to_line(Summary(1, math.nan, math.inf, None, 0, math.nan))) == {
        "type": "summary",
        "samples": 1,
        "accuracy": None,
        "mean_lower": None,
        "mean_upper": None,
        "violations": 0,
        "seconds": 0.0,
    }


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"type": "other"}',
        '{"type": ["run"]}',
        '{"type": "sample"}',
        "[" * 100_000,
        '{"type": "summary", "samples": NaN}',
        "\udcff",
    ],
)
def test_malformed_lines_say_where(line: str) -> None:
    with pytest.raises(RefusedInput, match=r"^file, line 7"):
        from_line(line, "file, line 7")
    with pytest.raises(RefusedInput, match=r"^file, line 7"):
        from_line(b"\xff\xfe" + line.encode(errors="replace"), "file, line 7")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", 1.5),
        ("index", True),
        ("index", None),
        ("label", "3"),
        ("lower", "0.1"),
        ("lower", True),
        ("attack", 3),
        ("layers", None),
        ("layers", [3]),
        ("layers", [{"name": "a"}]),
    ],
)
def test_wrong_types_name_the_field(name: str, value: object) -> None:
    content = {**json.loads(to_line(sample_record(1))), name: value}
    with pytest.raises(RefusedInput, match=f"here.*{'op' if 'name' in str(value) else name}"):
        from_line(json.dumps(content), "here")


def test_same_run_names_what_differs() -> None:
    run = run_record()
    assert same_run(run, replace(run, model="elsewhere.onnx", data="copy.npz")) == []
    (found,) = same_run(run, replace(run, sha256="f" * 64))
    assert found.startswith("model: m.onnx with sha256 aaaaaaaa, not m.onnx with ffffffff")
    found = same_run(run, replace(run, norm="l1", indices=(1, 2), data_sha256="c" * 64))
    assert [item.split(":")[0] for item in found] == ["norm", "data", "indices"]
    assert found[2] == "indices: none, not 1,2"
