"""Runs that are broken off and continued."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli.cli_helpers import Call, Files, parsed, refused

from boundcert import run as glue

#: The command line with small, slow blocks, so that a kill finds it anywhere.
SLOW = """
import sys, time
from boundcert import run as glue
from boundcert.cli.main import run
glue.BLOCK_SAMPLES = 1
honest = glue.brackets
def slow(*given, **named):
    time.sleep(0.03)
    yield from honest(*given, **named)
glue.brackets = slow
run(sys.argv[1:])
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The indices of every block that is computed."""
    seen: list[list[int]] = []
    honest = glue.brackets

    def counted(*given, **named):
        seen.append(list(named["indices"]))
        return honest(*given, **named)

    monkeypatch.setattr(glue, "brackets", counted)
    return seen


def command(files: Files, out: Path, *more: str) -> list[str]:
    base = ("certify", files.model, "--data", files.data, "--samples", "all", "--attack", "none")
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
        "line 1": lines[1:5],
        "behind its summary": [*lines, b"x"],
    }
    for where, content in damage.items():
        out.write_bytes(b"".join(content))
        refused(call(*command(files, out, "--resume")), 1, "bad.jsonl", where)
        assert out.read_bytes() == b"".join(content)


def start(files: Files, out: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SLOW, *command(files, out, "--resume")]
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=out.parent
    )


def wait_for(out: Path, size: int, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < limit:
        if out.exists() and out.stat().st_size > size:
            return
        time.sleep(0.005)


def test_kill_and_interrupt(call: Call, files: Files, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "killed.jsonl"
    kept, rng = b"", random.Random(0)
    for sent in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = start(files, out)
        wait_for(out, len(kept), process)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
        data = out.read_bytes()
        assert data.startswith(kept)  # finished samples stay byte for byte
        kept = data[: data.rindex(b"\n") + 1]
        if sent == signal.SIGINT:
            assert process.returncode == 130, err
            assert "Traceback" not in err and "interrupted" in err and data == kept
        else:
            assert process.returncode == -signal.SIGKILL
    assert call(*command(files, out, "--resume")).code == 0
    assert out.read_bytes().startswith(kept)
    ours, theirs = (parsed(data.decode()) for data in (out.read_bytes(), whole))
    assert [s["index"] for s in ours[1:-1]] == list(range(30))
    for mine, other in zip(ours[1:-1], theirs[1:-1]):
        assert mine["lower"] == pytest.approx(other["lower"], rel=1e-12)


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
