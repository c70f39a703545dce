"""A certificate that an attack contradicts: exit code 3, a loud message and a reproducer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli.cli_helpers import Call, Files, parsed, walk

from boundcert.prepared import Prepared


@pytest.fixture
def lying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower bounds beyond any attack from the third block of samples on."""
    honest, blocks = Prepared.__call__, []

    def huge(self: Prepared, rows, progress=None):
        chunk = honest(self, rows, progress)
        blocks.append(len(rows))
        return replace(chunk, lower=chunk.lower * (1e6 if len(blocks) > 2 else 1))

    monkeypatch.setattr(Prepared, "__call__", huge)


def test_reproducer(call: Call, files: Files, lying: None, tmp_path: Path) -> None:
    out = tmp_path / "results" / "r.jsonl"
    out.parent.mkdir()
    base = (*walk(files), "--samples", "all", "--out", out)
    result = call(*base)
    assert result.code == 3 and result.out == ""
    assert result.err.startswith("boundcert: CERTIFICATE VIOLATED")
    run, *samples = parsed(out.read_text())
    assert [s["index"] for s in samples] == list(range(8))
    stem = out.parent / f"boundcert-violation-{run['sha256'][:8]}-8"
    assert f"{stem}.json" in result.err and f"{stem}.npz" in result.err
    report = json.loads(Path(f"{stem}.json").read_text())
    assert report["sha256"] == run["sha256"] and report["index"] == 8
    assert (report["norm"], report["method"]) == ("l2", "walk")
    assert report["lower"] > report["upper"] and report["version"] == run["version"]
    arrays = np.load(f"{stem}.npz")
    distance = np.linalg.norm(arrays["point"].astype(float) - arrays["x"].astype(float))
    assert distance == pytest.approx(report["upper"], rel=1e-6)
    np.testing.assert_array_equal(arrays["x"], np.load(files.data)["x"][8])


def test_reproducer_without_out(call: Call, files: Files, lying: None, tmp_path: Path) -> None:
    result = call(*walk(files), "--indices", "9,8,7,6,5,4,3,2,1,0")
    assert result.code == 3
    assert sorted(p.suffix for p in tmp_path.glob("boundcert-violation-*-1.*")) == [
        ".json",
        ".npz",
    ]


def test_unsaved_reproducer_still_says_so(
    call: Call, files: Files, lying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boundcert import run as glue

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(glue, "save_reproducer", full)
    result = call(*walk(files), "--samples", "all")
    assert result.code == 3 and "cannot be saved" in result.err


def test_method_without_proof_is_marked_not_raised(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boundcert.bounds.peck2017")
    honest = Prepared.__call__

    def huge(self: Prepared, rows, progress=None):
        chunk = honest(self, rows, progress)
        return replace(chunk, lower=chunk.lower * 0 + 1e6)

    monkeypatch.setattr(Prepared, "__call__", huge)
    result = call("certify", "--samples", "2", "--method", "peck2017")
    assert result.code == 0 and "violations 2 (marked !)" in result.out
