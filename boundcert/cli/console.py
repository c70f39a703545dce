"""Standard output for tables."""

from __future__ import annotations

import io
import os
import sys

from rich.console import Console

#: Columns of a table in a file or pipe, which has no width of its own.
FILE_WIDTH = 120


def table_console() -> Console:
    """A console on stdout that never fails on a character the terminal cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if known else FILE_WIDTH, highlight=False)
