"""What tables show is still true: lower bounds round down, upper bounds up."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from certificates.makers import run_record, sample_record
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from boundcert.certificates import LayerCost, summarise
from boundcert.report import print_brackets, rounded


@given(st.floats(min_value=0, allow_infinity=False))
def test_rounding_direction(value: float) -> None:
    down, up = Decimal(rounded(value, up=False)), Decimal(rounded(value, up=True))
    assert down <= Decimal(value) <= up
    assert up - down <= Decimal(value) / 1000


@pytest.mark.parametrize(
    ("value", "down", "up"),
    [
        (0.12345, "0.1234", "0.1235"),
        (0.99999, "0.9999", "1.000"),
        (0.5, "0.5000", "0.5000"),
        (0.1, "0.1000", "0.1001"),  # the double lies above one tenth
        (123456.0, "123400", "123500"),
        (1e-9, "1.000e-9", "1.001e-9"),
        (0.0, "0", "0"),
        (None, "-", "-"),
    ],
)
def test_rounded(value: float | None, down: str, up: str) -> None:
    assert rounded(value, up=False) == down and rounded(value, up=True) == up


def show(run, samples) -> str:
    target = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    print_brackets(Console(file=target, width=80), run, samples, summarise(run, samples, 1.0))
    target.seek(0)
    return target.read()


def test_table_fits_and_is_ascii() -> None:
    text = show(run_record(), [sample_record(9999, lower=0.12345, upper=0.12345)])
    assert "0.1234 | 0.1235" in text and max(map(len, text.splitlines()[1:4])) <= 80


def test_marks() -> None:
    samples = [
        sample_record(0, label=2),
        sample_record(1, lower=0.5, upper=0.4),
        sample_record(2, upper=None, attack=None),
        sample_record(3, lower=0.0),
        sample_record(4, label=None),
    ]
    rows = show(run_record(certified=False, method="other"), samples).splitlines()
    assert rows[0].startswith("NOT A CERTIFICATE")
    cells = {r.split("|")[0].strip(): [c.strip() for c in r.split("|")] for r in rows if "|" in r}
    assert cells["0"][3] == "NO" and cells["1"][-1].endswith("!")
    assert cells["2"][-1] == cells["3"][-1] == "-" and cells["4"][1] == cells["4"][3] == "-"
    assert "violations 1 (marked !)" in rows[-3]


def test_names_are_no_markup() -> None:
    layers = (LayerCost("[red]x[/red]", "[b]", 0.5), LayerCost("last", "Gemm", 2.0))
    text = show(run_record(model="[bold]m.onnx", layers=True), [sample_record(0, layers=layers)])
    assert "[red]x[/red]" in text and "[b]" in text and "[bold]m.onnx" in text
    assert "4.000" in text and "100%" in text


def test_layers_without_numbers() -> None:
    none = (LayerCost("a", "Gemm", 0.0), LayerCost("b", "Gemm", None))
    run = run_record(layers=True)
    assert "cost by stage, sample 0" in show(run, [sample_record(0, layers=none)])
    many = [sample_record(k, layers=none) for k in range(9)]
    assert "cost by stage" not in show(run, many)
    some = [*many, sample_record(9, layers=(LayerCost("a", "Gemm", 1.0), LayerCost("b", "G", 3.0)))]
    text = show(run, some)
    assert "over the 1 samples with a bound" in text
