"""A progress bar with the time left, on stderr, where that is a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from boundcert.certificates import Record, Run, Sample


class ProgressBar:
    """Follows a run's records; does nothing when not ``wanted`` or stderr is no terminal."""

    def __init__(self, wanted: bool) -> None:
        console = Console(stderr=True)
        self.shown = wanted and console.is_terminal
        columns = (
            TextColumn("samples"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, transient=True)
        self.task: TaskID | None = None
        self.kept = 0

    def on_record(self, record: Record, kept: bool) -> None:
        """As for :func:`boundcert.run.run_brackets`."""
        if isinstance(record, Run):
            self.begin(record.samples)
        elif isinstance(record, Sample) and self.task is not None:
            if kept:
                self.kept += 1
                # a fresh clock: samples read from the file say nothing of the time left
                self.progress.reset(self.task, completed=self.kept)
            else:
                self.advance()

    def begin(self, total: int) -> None:
        """How many samples there will be."""
        if self.shown:
            self.task = self.progress.add_task("", total=total)

    def advance(self) -> None:
        """One more is done."""
        if self.task is not None:
            self.progress.advance(self.task)

    def __enter__(self) -> ProgressBar:
        if self.shown:
            self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.shown:
            self.progress.stop()
