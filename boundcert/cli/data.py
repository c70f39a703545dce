"""``boundcert data list``, ``download`` and ``show``."""

from __future__ import annotations

from typing import Annotated

import typer

from boundcert.cli import options as opt
from boundcert.cli.guard import guarded

app = typer.Typer(no_args_is_help=True, help="Data sets: list, download, show.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set's name; see list.")]
Shown = Annotated[
    str, typer.Argument(metavar="NAME", help="A data set's name, an .npz or .csv file, a folder.")
]


@app.command("list")
@guarded
def list_(data_dir: opt.DataDir = None) -> None:
    """The data sets known by name, and which of them are on this machine."""
    from boundcert.cli.console import table_console
    from boundcert.cli.datasets import print_inventory

    print_inventory(table_console(), data_dir)


@app.command()
@guarded
def download(name: Name, data_dir: opt.DataDir = None) -> None:
    """Download a data set (checked by its hash) and print where its files are."""
    from boundcert.data import download as fetch

    for path in fetch(name, data_dir):
        print(path)


@app.command()
@guarded
def show(name: Shown, data_dir: opt.DataDir = None) -> None:
    """The shape and classes of a data set; a named one is not downloaded for that."""
    from boundcert.cli.console import table_console
    from boundcert.cli.datasets import print_data

    print_data(table_console(), name, data_dir)
