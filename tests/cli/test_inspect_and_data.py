"""``inspect`` and ``data``."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.cli_helpers import Call, Files, parsed, refused

from boundcert.errors import RefusedInput


def test_inspect(call: Call, files: Files) -> None:
    result = call("inspect", files.model)
    assert result.code == 0 and result.err == ""
    for text in ("first", "Gemm", "Relu", "operator norm (l2)", "67 parameters", "1x8"):
        assert text in result.out
    assert "onnxruntime check: passed" in result.out and "sha256 " in result.out


def test_inspect_json(call: Call, files: Files) -> None:
    (facts,) = parsed(call("inspect", files.model, "--json", "--norm", "linf").out)
    assert facts["norm"] == "linf" and facts["check"] is None and facts["classes"] == 3
    assert [n["op"] for n in facts["nodes"]] == ["Input", "Gemm", "Relu", "Gemm"]
    assert sum(n["parameters"] for n in facts["nodes"]) == facts["parameters"] == 67
    assert facts["nodes"][1]["gain"] > 0


def test_inspect_normalised(call: Call, files: Files) -> None:
    assert "Normalise" in call("inspect", files.model, "--std", "0.5").out


def test_inspect_disagreement(call: Call, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from boundcert.cli import nodes

    def differs(network: object) -> None:
        raise RefusedInput("differs at node 'first'")

    monkeypatch.setattr(nodes, "check_against_runtime", differs)
    result = call("inspect", files.model)
    assert result.code == 1 and "check: FAILED" in result.out
    assert result.err == "boundcert: differs at node 'first'\n"


def test_data_list(call: Call) -> None:
    result = call("data", "list")
    assert result.code == 0
    for name in ("digits", "mnist", "cifar10", "spambase", "not downloaded", "3x32x32"):
        assert name in result.out


def test_data_show(call: Call, files: Files) -> None:
    assert "10,000 samples of shape 3x32x32" in call("data", "show", "cifar10").out
    assert "airplane" in call("data", "show", "cifar10").out
    out = call("data", "show", files.data).out
    assert "30 samples of shape 4" in out and "labels 0 to 2" in out
    refused(call("data", "show", "nothing"), 1, "nothing")


def test_data_download(call: Call) -> None:
    (path,) = call("data", "download", "digits").out.splitlines()
    assert Path(path).is_file()
    refused(call("data", "download", "nothing"), 2, "nothing")
