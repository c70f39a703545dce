"""Runs that are broken off and continued."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from cli.broken_off import Server, wait_for
from cli.cli_helpers import Call, Files, MadeUp, parsed, refused, walk

from boundcert import run as glue
from examples import examples


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The indices of every block that is computed."""
    seen: list[list[int]] = []
    honest = glue.Bracketer.__call__

    def counted(self, rows, places):
        seen.append(list(places))
        return honest(self, rows, places)

    monkeypatch.setattr(glue.Bracketer, "__call__", counted)
    return seen


def command(files: Files, out: Path, *more: str) -> list[str]:
    base = (*walk(files), "--samples", "all", "--attack", "none")
    return [*map(str, base), "--out", str(out), *more]


def without_seconds(data: bytes) -> bytes:
    return data[: data.rindex(b'"seconds"')]


@pytest.fixture
def whole(call: Call, files: Files, tmp_path: Path) -> bytes:
    """What an undisturbed run writes."""
    assert call(*command(files, tmp_path / "whole.jsonl")).code == 0
    return (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("place", range(6))
def test_any_prefix_is_continued(
    call: Call, files: Files, whole: bytes, calls: list[list[int]], tmp_path: Path, place: int
) -> None:
    ends = [k for k, byte in enumerate(whole) if byte == 10]
    # nothing at all, half the first line, a whole number of lines, half lines, half the summary
    size = [0, 100, ends[0] + 1, ends[6] + 30, ends[9], len(whole) - 20][place]
    out = tmp_path / "cut.jsonl"
    out.write_bytes(whole[:size])
    finished = max(whole[:size].count(b"\n") - 1, 0)
    result = call(*command(files, out, "--resume"))
    assert result.code == 0, result.err
    assert without_seconds(out.read_bytes()) == without_seconds(whole)
    assert [i for block in calls for i in block] == list(range(finished, 30))
    assert (f"{finished} samples" in result.err) == (finished > 0)


def test_complete_file(
    call: Call, files: Files, whole: bytes, calls: list[list[int]], tmp_path: Path
) -> None:
    out = tmp_path / "whole.jsonl"
    result = call(*command(files, out, "--resume"))
    assert result.code == 0 and "already complete" in result.err and "30 samples" in result.out
    assert call(*command(files, out, "--resume", "--quiet")) == (0, "", "")
    assert call(*command(files, out, "--resume", "--json")).out.encode() == whole
    assert out.read_bytes() == whole and calls == []


def test_resumed_json_has_every_line(
    call: Call, files: Files, whole: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "cut.jsonl"
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:7]) + b'{"type": "sam')
    result = call(*command(files, out, "--resume", "--json"))
    assert result.out.encode() == out.read_bytes()
    assert len(parsed(result.out)) == 32


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (("--norm", "linf"), "norm: l2, not linf"),
        (("--method", "peck2017"), "method: walk, not peck2017"),
        (("--attack", "fgs"), "attack: none, not fgs"),
        (("--mean", "0.5"), "mean: none, not 0.5"),
        (("--layers",), "layers: False, not True"),
        (("--data", "random:30:-1:1"), "not random:30:-1:1 with"),
        (("--decision", "min"), "decision: max, not min"),
    ],
)
def test_another_run_is_refused(
    call: Call, files: Files, whole: bytes, tmp_path: Path, more: tuple[str, ...], word: str
) -> None:
    out = tmp_path / "whole.jsonl"
    refused(call(*command(files, out, "--resume", *more)), 1, "another run", word)
    assert out.read_bytes() == whole


def test_changed_data_is_another_run(
    call: Call, files: Files, whole: bytes, tmp_path: Path
) -> None:
    import numpy as np

    with np.load(files.data) as arrays:
        other = Files(files.model, tmp_path / "data.npz", files.wide)
        np.savez(other.data, x=arrays["x"] + 1, y=arrays["y"])
    refused(call(*command(other, tmp_path / "whole.jsonl", "--resume")), 1, "data: ")


def test_damaged_files_are_refused(call: Call, files: Files, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "bad.jsonl"
    lines = whole.splitlines(keepends=True)
    damage = {
        "line 3": [*lines[:2], b"{}\n", *lines[3:6]],
        "line 4": [*lines[:2], lines[2], lines[2]],
        "line 5": [*lines[:4], lines[4][:40], *lines[5:8]],
        "line 1": lines[1:5],
        "behind its summary": [*lines, b"x"],
    }
    for where, content in damage.items():
        out.write_bytes(b"".join(content))
        refused(call(*command(files, out, "--resume")), 1, "bad.jsonl", where)
        assert out.read_bytes() == b"".join(content)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_and_interrupt(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, errors = tmp_path / "killed.jsonl", tmp_path / "errors.txt"
    kept, rng = b"", random.Random(0)
    with Server(command(files, out, "--resume"), errors, made_up=True) as server:
        for sent in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
            child = server.start()
            wait_for(out, len(kept))
            time.sleep(rng.uniform(0, 0.15))
            code, data = server.kill(child, sent), out.read_bytes()
            assert data.startswith(kept)  # finished samples stay byte for byte
            kept = data[: data.rindex(b"\n") + 1]
            assert code == (130 if sent == signal.SIGINT else -signal.SIGKILL), errors.read_text()
    assert "interrupted" in errors.read_text() and "Traceback" not in errors.read_text()
    monkeypatch.setattr(glue, "Bracketer", MadeUp)
    assert call(*command(files, out, "--resume")).code == 0
    assert out.read_bytes().startswith(kept) and 2 < kept.count(b"\n") < 31
    _, *samples, summary = parsed(out.read_text())
    assert [(s["index"], s["lower"]) for s in samples] == [(k, k / 7) for k in range(30)]
    assert summary["samples"] == 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_runs_end_as_undisturbed_ones(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bounds themselves: every sample once, with the same numbers."""
    whole, out, errors = (tmp_path / name for name in ("whole.jsonl", "killed.jsonl", "errors.txt"))
    data = ("--data", "random:60:-1:1", "--attack", "deepfool,fgs")
    base = ("certify", str(files.model), *data, "--method", "relax")
    monkeypatch.setattr(glue, "BLOCK_SAMPLES", 1)
    assert call(*base, "--out", whole).code == 0
    rng, kills, size = random.Random(0), 0, 0
    with Server([*base, "--out", str(out), "--resume"], errors, made_up=False) as server:
        for _ in range(examples(3)):
            child = server.start()
            wait_for(out, size)
            time.sleep(rng.uniform(0, 0.1))
            kills += server.kill(child, signal.SIGKILL) == -signal.SIGKILL
            size = out.stat().st_size
        server.start()
        assert server.ended() == 0, errors.read_text()
    assert kills > 1
    assert without_seconds(out.read_bytes()) == without_seconds(whole.read_bytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs file size limits")
def test_disk_full_half_way(call: Call, files: Files, whole: bytes, tmp_path: Path) -> None:
    import resource

    out = tmp_path / "full.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, before[1]))
    try:
        result = call(*command(files, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    refused(result, 1, "full.jsonl", "--resume")
    data = out.read_bytes()
    assert whole.startswith(data) and data.endswith(b"\n") and data.count(b"\n") > 4
    assert call(*command(files, out, "--resume")).code == 0
    assert without_seconds(out.read_bytes()) == without_seconds(whole)
