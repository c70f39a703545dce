"""Writing, reading and continuing results files."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from certificates.makers import run_record, sample_record

from boundcert.certificates import Writer, open_store, read, summarise, to_line
from boundcert.errors import RefusedInput

RUN = run_record(samples=3000)
PLACES = list(range(3000))

#: Continues a file sample by sample, as fast as it goes, without any network.
WRITE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from certificates.makers import run_record, sample_record
from boundcert.certificates import open_store, summarise
run, places = run_record(samples=3000), list(range(3000))
store = open_store(Path(sys.argv[1]), run, places, resume=True)
if store.writer:
    with store.writer as writer:
        for k in places[len(store.kept):]:
            writer.write([sample_record(k, lower=k / 7)])
        writer.write([summarise(run, [], 0.0)])
"""


def test_kill_at_random_moments(tmp_path: Path) -> None:
    out, tests = tmp_path / "r.jsonl", Path(__file__).resolve().parents[1]
    kept, rng, kills = b"", random.Random(1), 0
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", WRITE, str(out), str(tests)])
        limit = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < limit:
            if out.exists() and out.stat().st_size > len(kept):
                break
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        kills += process.wait() != 0
        data = out.read_bytes()
        assert data.startswith(kept)
        contents = read(out)
        assert [s.index for s in contents.samples] == PLACES[: len(contents.samples)]
        kept = data[: contents.size]
    assert kills > 1
    subprocess.run([sys.executable, "-c", WRITE, str(out), str(tests)], check=True)
    contents = read(out)
    assert len(contents.samples) == 3000 and contents.summary and contents.tail == b""


def test_half_lines_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    lines = to_line(RUN) + to_line(sample_record(0)) + to_line(sample_record(1))
    path.write_text(lines + '{"type": "sam')
    contents = read(path)
    assert (contents.run, len(contents.samples), contents.summary) == (RUN, 2, None)
    assert contents.size == len(lines) and contents.tail == b'{"type": "sam'
    with open_store(path, RUN, PLACES, resume=True).writer as writer:  # type: ignore[union-attr]
        writer.write([sample_record(2)])
    assert path.read_text() == lines + to_line(sample_record(2))


def test_reader_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    summary = summarise(RUN, [], 0.0)
    run, sample, last = to_line(RUN), to_line(sample_record(0)), to_line(summary)
    for text, line in (
        (sample, 1),
        (run + run, 2),
        (run + sample + "\n", 3),
        (run + last + sample, 3),
        (run + sample + "\0\0\0\n", 3),
    ):
        path.write_text(text)
        with pytest.raises(RefusedInput, match=rf"r\.jsonl, line {line}"):
            read(path)


def test_only_one_process_writes(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "r.jsonl"
    first = open_store(path, RUN, PLACES, resume=False)
    with pytest.raises(RefusedInput, match="another boundcert"):
        open_store(path, RUN, PLACES, resume=True)
    assert first.writer
    first.writer.close()
    first.writer.close()
    assert open_store(path, RUN, PLACES, resume=True).kept == ()


def test_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("mine")
    for resume in (False, True):
        with pytest.raises(RefusedInput):
            open_store(path, RUN, PLACES, resume)
        assert path.read_text() == "mine"


def test_failed_first_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RefusedInput, match="No space left"):
        open_store(tmp_path / "r.jsonl", RUN, PLACES, resume=False)
    assert not (tmp_path / "r.jsonl").exists()


def test_full_disk_takes_back_half_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, honest = tmp_path / "r.jsonl", os.write
    with Writer(path) as writer:
        writer.write([RUN])
        before = path.read_bytes()

        def half(file: int, data: bytes) -> int:
            if len(data) < 50:
                raise OSError(28, "No space left on device")
            return honest(file, data[: len(data) // 2])

        monkeypatch.setattr(os, "write", half)
        with pytest.raises(RefusedInput, match="--resume continues"):
            writer.write([sample_record(0)])
    assert path.read_bytes() == before


def test_summary() -> None:
    samples = [
        sample_record(0, lower=0.2, upper=0.4),
        sample_record(1, lower=0.4, upper=None),
        sample_record(2, label=0, lower=0.9, upper=0.8),
    ]
    summary = summarise(run_record(), samples, 1.23456)
    assert summary.mean_lower == pytest.approx(0.5) and summary.mean_upper == pytest.approx(0.6)
    assert summary.accuracy == pytest.approx(2 / 3) and summary.violations == 1
    assert summary.samples == 3 and summary.seconds == 1.235
    right = summarise(run_record(correct_only=True), samples, 0.0)
    assert right.samples == 2 and right.mean_lower == pytest.approx(0.3)
    assert right.accuracy == pytest.approx(2 / 3)
    empty = summarise(run_record(), [], 0.0)
    assert (empty.samples, empty.accuracy, empty.mean_lower) == (0, None, None)
