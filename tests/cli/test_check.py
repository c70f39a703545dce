"""``certify --certificates`` and ``boundcert check``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.cli_helpers import Call, Files, parsed, refused, walk


@pytest.fixture
def written(call: Call, files: Files, tmp_path: Path) -> Path:
    """Certificates of ten samples in L2."""
    folder = tmp_path / "certificates"
    found = call(*walk(files), "--attack", "none", "--json", "--certificates", folder)
    assert found.code == 0 and found.err == ""
    _, *samples, _ = parsed(found.out)
    assert len(samples) == 10 and all(s["proved"] == s["lower"] > 0 for s in samples)
    return folder


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_every_certificate_holds(call: Call, files: Files, written: Path) -> None:
    found = call("check", written, files.model, "--data", files.data)
    assert found.code == 0 and found.err == ""
    assert "10 of 10 certificates hold" in found.out and "REFUSED" not in found.out
    lines = parsed(call("check", written, files.model, "--data", files.data, "--json").out)
    assert [line["index"] for line in lines] == list(range(10))
    assert all(line["holds"] and line["why"] is None for line in lines)
    assert call("check", written, files.model, "--data", files.data, "--quiet").out == ""


def test_the_demo_needs_no_arguments(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    certify = ("certify", "--method", "walk", "--attack", "none", "--samples", 3)
    found = call(*certify, "--certificates", folder)
    assert found.code == 0 and "file proves" in found.out
    assert "3 of 3 lower bounds have a certificate file; the files prove 100.0 %" in found.out
    assert "3 of 3 certificates hold" in call("check", folder).out


def test_a_raised_radius_is_refused(call: Call, files: Files, written: Path) -> None:
    path = written / "00000003.json"
    change(path, radius=json.loads(path.read_text())["radius"] * 40)
    found = call("check", written, files.model, "--data", files.data)
    assert found.code == 1 and "9 of 10 certificates hold" in found.out
    assert "REFUSED: the radius is not proved" in found.out
    assert "1 of 10 certificates are refused (00000003.json: the radius" in found.err


def test_another_class_model_or_sample_is_refused(
    call: Call, files: Files, written: Path, tmp_path: Path
) -> None:
    path = written / "00000000.json"
    claim = json.loads(path.read_text())
    change(path, label=(claim["label"] + 1) % 3)
    refused_once = call("check", written, files.model, "--data", files.data)
    assert "00000000.json: the radius is not proved" in refused_once.err
    change(path, label=7)
    assert "no class 7" in call("check", written, files.model, "--data", files.data).err
    model = onnx.load(files.model)
    model.producer_name = "somebody else"
    onnx.save(model, tmp_path / "other.onnx")
    other = call("check", written, tmp_path / "other.onnx", "--data", files.data)
    assert other.code == 1 and "made for another model" in other.out
    with np.load(files.data) as data:
        np.savez(tmp_path / "moved.npz", x=data["x"] + 1e-3, y=data["y"])
    moved = call("check", written, files.model, "--data", tmp_path / "moved.npz")
    assert moved.code == 1 and "made for another sample" in moved.out


def test_another_reading_of_the_model_is_refused(call: Call, files: Files, written: Path) -> None:
    base = ("check", written, files.model, "--data", files.data)
    assert "made for mean None, not (0.5,)" in call(*base, "--mean", "0.5").out
    assert "made for decision None, not min" in call(*base, "--decision", "min").out


def test_choices_about_the_model_are_kept(call: Call, files: Files, tmp_path: Path) -> None:
    folder, choices = tmp_path / "c", ("--mean", "0.5", "--std", "2", "--decision", "min")
    found = call(*walk(files), *choices, "--clip", "-9,9", "--certificates", folder, "--norm", "l1")
    assert found.code == 0
    again = call("check", folder, files.model, "--data", files.data, *choices)
    assert again.code == 0 and "deployed in [-9, 9]" in again.out and " l1 " in again.out


def test_damaged_files_are_refused_one_by_one(call: Call, files: Files, written: Path) -> None:
    (written / "00000001.json").write_text("{}")
    (written / "00000002.json").write_bytes(b"\x00\xff")
    change(written / "00000004.json", slopes=["AAAA"])
    found = call("check", written, files.model, "--data", files.data)
    assert found.code == 1 and "7 of 10 certificates hold" in found.out
    assert "Traceback" not in found.err and "internal error" not in found.err


def test_folders_that_do_not_fit_are_refused(call: Call, files: Files, written: Path) -> None:
    again = call(*walk(files), "--certificates", written)
    refused(again, 1, "is not empty", "--resume")
    refused(call("check", written / "none", files.model, "--data", files.data), 1, "no such folder")
    empty = written.parent / "empty"
    empty.mkdir()
    refused(call("check", empty, files.model, "--data", files.data), 1, "holds no certificates")
    below = written / "00000000.json" / "c"
    refused(call(*walk(files), "--certificates", below), 1, "certificates")
    refused(call("check", written, files.model), 2, "--data is missing")


def test_a_method_without_proof_has_no_certificates(
    call: Call, files: Files, tmp_path: Path
) -> None:
    found = call(*walk(files), "--method", "peck2017", "--certificates", tmp_path / "c")
    refused(found, 2, "peck2017 proves nothing")


def test_a_run_that_was_broken_off_goes_on(call: Call, files: Files, tmp_path: Path) -> None:
    folder, out = tmp_path / "c", tmp_path / "r.jsonl"
    base = (*walk(files), "--attack", "none", "--out", out, "--certificates", folder)
    assert call(*base).code == 0
    whole = out.read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(whole[:5]))
    (folder / "00000006.json").unlink()
    assert call(*base, "--resume").code == 0
    assert len(list(folder.iterdir())) == 10
    assert "10 of 10" in call("check", folder, files.model, "--data", files.data).out


def test_a_proof_that_takes_too_long_is_given_up(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boundcert.proofs.PATIENCE", 0.0)
    folder = tmp_path / "c"
    certify = ("certify", "--method", "walk", "--attack", "none", "--samples", 1)
    found = call(*certify, "--certificates", folder)
    assert found.code == 0 and "0 of 1 lower bounds have a certificate file" in found.out
    assert not list(folder.iterdir())
