"""``certify`` and ``attack``: tables, JSON lines, and their agreement."""

from __future__ import annotations

import numpy as np
import pytest
from cli.cli_helpers import Call, Files, parsed, walk

SAMPLE_KEYS = {"type", "index", "label", "predicted", "lower", "rung"}
SAMPLE_KEYS |= {"upper", "attack", "proved", "layers"}
SUMMARY_KEYS = {
    *("type", "samples", "accuracy", "mean_lower", "mean_upper", "violations", "seconds"),
}


def test_demo_prints_a_table(call: Call) -> None:
    result = call("certify", "--method", "walk")
    assert result.code == 0 and result.err == ""
    lines = result.out.splitlines()
    assert lines[0] == "certified brackets, l2, method walk: demo"
    heads = ["index", "label", "predicted", "correct", "lower", "upper", "attack", "ratio"]
    assert [head.strip() for head in lines[1].split("|")] == heads
    assert len([line for line in lines if "deepfool" in line]) == 20
    assert "20 samples, accuracy" in result.out and "MiB of memory" in result.out
    assert "radii in the units of the data, l2" in result.out
    assert "NOT A CERTIFICATE" not in result.out


def test_auto_is_the_default_and_says_who_proved(call: Call, files: Files) -> None:
    walked = parsed(call(*walk(files), "--json").out)
    base = ("certify", files.model, "--data", files.data, "--samples", "3")
    run, *samples, _ = parsed(call(*base, "--json").out)
    assert run["method"] == "auto" and run["budget"] == 10.0
    assert {s["rung"] for s in samples} <= {"walk", "relax", "optimize"}
    for sample, other in zip(samples, walked[1:]):
        assert sample["lower"] >= other["lower"] and other["rung"] == "walk"
        assert (sample["rung"] == "walk") == (sample["lower"] == other["lower"])
    table = call(*base).out
    heads = table.splitlines()[1]
    assert "by" in heads and len(heads) <= 90


def test_json_lines(call: Call, files: Files) -> None:
    result = call(*walk(files), "--json")
    assert result.code == 0 and result.err == ""
    run, *samples, summary = parsed(result.out)
    assert run["type"] == "run" and run["norm"] == "l2" and run["certified"] is True
    assert run["samples"] == len(samples) == 10 and run["indices"] is None
    assert run["attack"] == ["deepfool"] and run["data"] == str(files.data)
    assert [s["index"] for s in samples] == list(range(10))
    for sample in samples:
        assert set(sample) == SAMPLE_KEYS and sample["type"] == "sample"
        assert sample["label"] == sample["index"] % 3 and sample["layers"] == []
        assert 0 < sample["lower"] <= sample["upper"] and sample["attack"] == "deepfool"
    assert set(summary) == SUMMARY_KEYS and summary["violations"] == 0
    lower = [s["lower"] for s in samples]
    assert summary["mean_lower"] == pytest.approx(np.mean(lower), rel=1e-14)
    right = [s["label"] == s["predicted"] for s in samples]
    assert summary["accuracy"] == pytest.approx(np.mean(right))


def test_file_equals_stdout(call: Call, files: Files, tmp_path) -> None:
    out = tmp_path / "r.jsonl"
    result = call(*walk(files), "--json", "--out", out)
    assert out.read_text() == result.out


def test_bounds_are_those_of_the_library(call: Call, files: Files) -> None:
    from boundcert import load_data, load_onnx
    from boundcert.api import certify

    result = call(*walk(files), "--json", "--attack", "none")
    expected = certify(load_onnx(files.model), load_data(files.data).x[:10], method="walk")
    samples = parsed(result.out)[1:-1]
    np.testing.assert_allclose([s["lower"] for s in samples], expected.lower, rtol=1e-12)
    assert all(s["upper"] is None and s["attack"] is None for s in samples)
    assert parsed(result.out)[-1]["mean_upper"] is None


def test_indices_keep_their_order(call: Call, files: Files) -> None:
    base = (*walk(files), "--json", "--attack", "none")
    samples = parsed(call(*base, "--indices", "7,0,5").out)[1:-1]
    assert [s["index"] for s in samples] == [7, 0, 5]
    every = parsed(call(*base, "--samples", "all").out)[1:-1]
    assert len(every) == 30
    assert [s["lower"] for s in samples] == pytest.approx([every[k]["lower"] for k in (7, 0, 5)])
    assert call(*base, "--samples", "0").out.count('"sample"') == 30


def test_random_data_has_no_labels(call: Call, files: Files) -> None:
    result = call(*walk(files, "random:12:-1:1"), "--json")
    run, *samples, summary = parsed(result.out)
    assert run["samples"] == len(samples) == 12
    assert all(s["label"] is None for s in samples) and summary["accuracy"] is None
    table = call(*walk(files, "random:3:-1:1")).out
    assert "accuracy" not in table


def test_layers(call: Call, files: Files) -> None:
    base = (*walk(files), "--layers", "--attack", "none")
    for sample in parsed(call(*base, "--json").out)[1:-1]:
        assert [set(layer) for layer in sample["layers"]] == [{"name", "op", "kappa"}] * 2
        assert sample["layers"][0]["kappa"] == sample["lower"]
        assert [layer["op"] for layer in sample["layers"]] == ["Gemm+Relu", "Gemm"]
    few = call(*base, "--samples", "2").out
    assert "cost by stage, sample 0" in few and "cost by stage, sample 1" in few
    assert "kappa in front" in few and "share of log cost" in few and "first+relu" in few
    assert "geometric means over the 10 samples" in call(*base).out


def test_mean_std_and_range_fold_in(call: Call, files: Files) -> None:
    # a runtime rounds where it normalises, if only by 1
    base = (*walk(files), "--json", "--attack", "none", "--semantics", "exact")

    def radii(*more: str) -> list[float]:
        return [s["lower"] for s in parsed(call(*base, *more).out)[1:-1]]

    assert radii("--range", "-1,1") == pytest.approx(radii("--mean", "0.5", "--std", "0.5"))
    both = radii("--range", "0,10", "--mean", "2", "--std", "5,5,5,5")
    assert both == pytest.approx(radii("--mean", "0.2", "--std", "0.5"))
    assert radii("--std", "1") == pytest.approx(radii())


def test_correct_only(call: Call, files: Files) -> None:
    base = (*walk(files), "--samples", "all", "--attack", "none")
    _, *samples, summary = parsed(call(*base, "--correct-only", "--json").out)
    right = [s["lower"] for s in samples if s["label"] == s["predicted"]]
    assert len(samples) == 30 and 0 < len(right) < 30
    assert summary["samples"] == len(right)
    assert summary["mean_lower"] == pytest.approx(np.mean(right))
    assert summary["accuracy"] == pytest.approx(len(right) / 30)
    assert "over the" in call(*base, "--correct-only").out


def test_quiet_prints_nothing(call: Call, files: Files) -> None:
    result = call(*walk(files), "--quiet", "--attack", "none")
    assert result == (0, "", "")


def test_long_tables_are_cut(call: Call, files: Files) -> None:
    result = call(*walk(files, "random:50:-1:1"), "--attack", "none")
    rows = [line for line in result.out.splitlines() if line.split("|")[0].strip().isdigit()]
    assert len(rows) == 40 and "... and 10 more" in result.out and "50 samples" in result.out


@pytest.mark.parametrize("norm", ["l1", "linf"])
def test_other_norms(call: Call, files: Files, norm: str) -> None:
    result = call(*walk(files), "--norm", norm, "--json")
    run, *samples, summary = parsed(result.out)
    assert run["norm"] == norm and summary["violations"] == 0
    found = [s for s in samples if s["upper"] is not None]
    assert len(found) > 5 and all(s["lower"] <= s["upper"] for s in found)


def test_attack_has_no_lower_bound(call: Call, files: Files) -> None:
    base = ("attack", files.model, "--data", files.data, "--attack", "deepfool,fgv")
    run, *samples, summary = parsed(call(*base, "--json").out)
    assert run["command"] == "attack" and run["method"] is None and run["certified"] is False
    assert all(s["lower"] is None and s["upper"] > 0 for s in samples)
    assert summary["mean_lower"] is None and summary["mean_upper"] > 0
    table = call(*base).out
    assert "lower" not in table and "attacked upper bounds" in table
    same = parsed(call("certify", *base[1:], "--json").out)[1:-1]
    assert [s["upper"] for s in samples] == pytest.approx([s["upper"] for s in same], rel=1e-3)


def test_method_without_proof_says_so(call: Call, files: Files) -> None:
    pytest.importorskip("boundcert.bounds.peck2017")
    base = ("certify", "--samples", "2", "--method", "peck2017")
    result = call(*base)
    assert result.code == 0, result.err
    assert result.out.startswith("NOT A CERTIFICATE")
    assert "bound (not certified)" in result.out
    assert "lower" not in result.out
    run, *_ = parsed(call(*base, "--json").out)
    assert run["certified"] is False and run["method"] == "peck2017"
