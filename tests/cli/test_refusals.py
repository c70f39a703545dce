"""Bad input: one message, the documented exit code, never a traceback."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.cli_helpers import Call, Files, Result, refused, walk


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A folder of files that are no models."""
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("this is no model\n" * 20)
    return tmp_path


@pytest.mark.parametrize("command", ["certify", "attack", "inspect"])
@pytest.mark.parametrize("name", ["missing.onnx", "empty.onnx", "text.onnx", "."])
def test_no_model(call: Call, files: Files, bad: Path, command: str, name: str) -> None:
    data = () if command == "inspect" else ("--data", files.data)
    refused(call(command, bad / name, *data), 1, str(bad / name))


@pytest.mark.parametrize("data", ["nothing.npz", "mnits", "empty.onnx"])
def test_no_data(call: Call, files: Files, bad: Path, data: str) -> None:
    refused(call(*walk(files, data)), 1, data)


def test_wrong_data_shape(call: Call, files: Files) -> None:
    refused(call(*walk(files, files.wide)), 1, "shape")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--norm", "l3"), "l3"),
        (("--method", "magic"), "magic"),
        (("--attack", "magic"), "magic"),
        (("--attack", "deepfool,,fgs"), "--attack"),
        (("--attack", "none,fgs"), "--attack"),
        (("--samples", "3", "--indices", "1"), "--indices"),
        (("--samples", "-3"), "--samples"),
        (("--samples", "some"), "--samples"),
        (("--indices", "30"), "30"),
        (("--indices", "-1"), "-1"),
        (("--indices", "1,1"), "twice"),
        (("--indices", "x"), "--indices"),
        (("--mean", "a"), "--mean"),
        (("--std", "inf"), "--std"),
        (("--std", "0"), "std"),
        (("--mean", "1,2"), "mean"),
        (("--range", "1"), "--range"),
        (("--range", "1,0"), "range"),
        (("--device", "tpu"), "tpu"),
        (("--decision", "median"), "median"),
        (("--input-shape", "1,q"), "--input-shape"),
        (("--resume",), "--out"),
        (("--quiet", "--json"), "--json"),
    ],
)
def test_usage(call: Call, files: Files, options: tuple[str, ...], word: str) -> None:
    refused(call(*walk(files), *options), 2, word)


def test_more_usage(call: Call, files: Files) -> None:
    refused(call("certify", "--method", "walk", files.model), 2, "--data is missing")
    refused(call("certify", "--data", files.data), 2, "a model is missing")
    refused(call("attack", files.model, "--data", files.data, "--attack", "none"), 2, "--attack")
    refused(
        call(*walk(files, "random:5"), "--correct-only"),
        2,
        "labels",
    )
    refused(call(*walk(files, "random:5:1")), 2, "random:N")


def test_unknown_option_and_missing_argument(call: Call) -> None:
    for arguments in (["certify", "--nothing"], ["attack"], ["inspect"], ["data", "download"]):
        result = call(*arguments)
        assert result.code == 2 and "Traceback" not in result.err


def test_out_exists(call: Call, files: Files, tmp_path: Path) -> None:
    out = tmp_path / "mine.txt"
    out.write_text("mine")
    base = (*walk(files), "--out", out)
    refused(call(*base), 1, "exists", "--resume")
    refused(call(*base, "--resume"), 1, "no boundcert results file")
    assert out.read_text() == "mine"


def test_unwritable_out(call: Call, files: Files, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    base = (*walk(files), "--out")
    refused(call(*base, tmp_path / "no" / "r.jsonl"), 1, "no folder")
    refused(call(*base, tmp_path / "file" / "r.jsonl"), 1, "file")
    refused(call(*base, tmp_path), 1, "folder")
    refused(call(*base, tmp_path / ("x" * 300)), 1, "xxx: File name too long")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_full_disk(call: Call, files: Files) -> None:
    base = (*walk(files), "--out", "/dev/full")
    refused(call(*base), 1, "/dev/full", "No space left")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("arguments", [["data", "list"], ["--version"]])
def test_full_disk_behind_standard_output(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "boundcert.cli.main", *arguments]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    refused(Result(ended.returncode, "", ended.stderr), 1, "No space left")


def test_full_disk_behind_compiled_kernels(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba passes on that it cannot save what it has compiled."""
    from boundcert import run as glue

    def full(*given: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(glue, "Bracketer", full)
    refused(call(*walk(files)), 1, "No space left", "NUMBA_CACHE_DIR")


def test_unexpected_error(call: Call, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    from boundcert import run as glue

    def broken(*given: object, **named: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(glue, "Bracketer", broken)
    result = call(*walk(files))
    assert result.code == 1 and "please report it" in result.err
    assert "ZeroDivisionError: oops" in result.err and "Traceback" not in result.err
    monkeypatch.setenv("BOUNDCERT_DEBUG", "1")
    assert "Traceback" in call(*walk(files)).err


def test_ctrl_c_inside_compiled_code(
    call: Call, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numba, among others, answers an interrupt with an error of its own."""
    from boundcert import run as glue

    def interrupted(*given: object, **named: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemError("returned a result with an exception set") from None

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(glue, "Bracketer", interrupted)
    refused(call(*walk(files)), 130, "interrupted")
    assert signal.getsignal(signal.SIGINT) is before


def test_reader_goes_away(files: Files) -> None:
    command = [sys.executable, "-m", "boundcert.cli.main", "data", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
