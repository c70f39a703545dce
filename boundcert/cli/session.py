"""A request run in front of a user: a table, JSON lines, or nothing, and a progress bar."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from boundcert.certificates import Record, Request, to_line
from boundcert.cli.progress import ProgressBar
from boundcert.errors import UsageError

if TYPE_CHECKING:
    from boundcert.run import Outcome


def perform(request: Request, out: Path | None, resume: bool, quiet: bool, json: bool) -> None:
    """Run a request; stdout gets the table or the JSON lines, stderr everything else.

    Raises
    ------
    UsageError
        Both ``quiet`` and ``json``, or as :func:`boundcert.run.run_brackets`.
    """
    if quiet and json:
        raise UsageError("--quiet and --json contradict each other; give one of them")
    from boundcert.run import run_brackets

    # a bar and lines on one terminal would write over each other
    with ProgressBar(wanted=not quiet and not (json and sys.stdout.isatty())) as bar:

        def on_record(record: Record, kept: bool) -> None:
            if json:
                sys.stdout.write(to_line(record))
                sys.stdout.flush()
            bar.on_record(record, kept)

        outcome = run_brackets(request, on_record, out=out, resume=resume)
    if quiet:
        return
    if outcome.kept or outcome.complete:
        print(_told(outcome, out), file=sys.stderr)
    if outcome.refused:
        print(
            f"boundcert: no certificates were written: the checker refuses {outcome.refused}",
            file=sys.stderr,
        )
    if not json:
        _print_table(outcome)


def _told(outcome: Outcome, out: Path | None) -> str:
    if outcome.complete:
        return f"boundcert: {out} is already complete; nothing was computed"
    return f"boundcert: {outcome.kept} samples of {out} were finished and kept as they were"


def _print_table(outcome: Outcome) -> None:
    from boundcert.cli.console import table_console
    from boundcert.report import print_brackets

    print_brackets(table_console(), outcome.run, outcome.samples, outcome.summary)
