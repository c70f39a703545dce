"""Help is instant: nothing heavy is imported before a command's body runs."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "numba", "onnx", "onnxruntime", "numpy", "sklearn")

SCRIPT = f"""
import sys
from boundcert.cli.main import run
try:
    run(sys.argv[1:])
except SystemExit as stop:
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, loaded
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize(
    "command",
    [(), ("certify",), ("attack",), ("inspect",), ("data",), ("data", "list"), ("data", "show")],
)
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    arguments = [sys.executable, "-c", SCRIPT, *command, "--help"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: boundcert" in done.stdout


def test_help_is_fast() -> None:
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "boundcert.cli.main", "--help"], capture_output=True, check=True
    )
    assert time.monotonic() - start < 2  # about 0.25 s on an idle machine


def test_version(call) -> None:
    import boundcert

    assert call("--version").out == f"boundcert {boundcert.__version__}\n"
