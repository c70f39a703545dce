"""Runs to be broken off: the command line in a fresh child for every one, loaded only once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: Loads everything once, then runs the command line in a fresh child for every line of input,
#: with small blocks, and slow ones if bounds are made up, so that a kill finds it anywhere.
SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
from cli.cli_helpers import MadeUp
from boundcert import run as glue
from boundcert.cli.main import run
glue.BLOCK_SAMPLES = 1
if sys.argv.pop(1) == "made up":
    glue.Bracketer = MadeUp
network = glue.load_model(glue.ModelOptions(sys.argv[sys.argv.index("--data") - 1]))
glue.load_model = lambda options: network
errors = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(errors, 1)
        os.dup2(errors, 2)
        signal.alarm(60)  # no test hangs
        try:
            run(sys.argv[2:])
        except SystemExit as stop:
            os._exit(stop.code or 0)  # a forked child must not tear down its parent's threads
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """Starts one command again and again; use it as a context manager.

    ``errors`` is the file that its output goes to.
    """

    def __init__(self, command: Sequence[str], errors: Path, made_up: bool) -> None:
        tests = str(Path(__file__).resolve().parents[1])
        kind = "made up" if made_up else "honest"
        arguments = [sys.executable, "-c", SCRIPT, tests, kind, str(errors), *command]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def start(self) -> int:
        """The process id of a new run."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("go\n")
        return int(self.process.stdout.readline())

    def kill(self, child: int, sent: int) -> int:
        """Send a signal to the run; how it ended."""
        os.kill(child, sent)
        return self.ended()

    def ended(self) -> int:
        """Wait for the run; its exit code, or the signal's number with a minus."""
        assert self.process.stdout
        return int(self.process.stdout.readline())

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        with self.process:
            assert self.process.stdin
            self.process.stdin.close()


def wait_for(out: Path, size: int) -> None:
    """Until a file has more bytes than that."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        if out.exists() and out.stat().st_size > size:
            return
        time.sleep(0.002)
    raise AssertionError(f"{out} does not grow beyond {size} bytes")
