"""The ``boundcert`` command. Command bodies import what they need: ``--help`` stays instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from boundcert import __version__
from boundcert.cli import data
from boundcert.cli.attack import attack
from boundcert.cli.certify import certify
from boundcert.cli.check import check
from boundcert.cli.guard import guarded
from boundcert.cli.inspect import inspect

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="How far can an input be pushed before an ONNX classifier changes its mind?",
)
app.command()(certify)
app.command()(check)
app.command()(attack)
app.command()(inspect)
app.add_typer(data.app, name="data")


@guarded
def _version(wanted: bool) -> None:
    if wanted:
        print(f"boundcert {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Only ``--version``; the help text is the app's."""


def run(arguments: Sequence[str] | None = None) -> None:
    """Entry point; ends in ``SystemExit`` with the command's exit code."""
    app(args=None if arguments is None else list(arguments), prog_name="boundcert")


if __name__ == "__main__":
    run()
