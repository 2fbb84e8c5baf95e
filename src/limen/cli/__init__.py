"""The `limen` command: one module for each group of commands; this one puts them together."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from .dead import dead
from .demo import demo
from .dispatch import dispatch
from .look import pool, queues
from .operate import declare, pause, resume
from .worker import worker

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hands typed activities to supervised workers: inside one process, or between machines over RabbitMQ.",
)
for _command in (demo, worker, dispatch, pool, queues, declare, pause, resume):
    app.command()(_command)
app.add_typer(dead, name="dead")


def main() -> None:
    """Run the command line; ends with `SystemExit`."""
    app(prog_name="limen")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it
    if wanted:
        print(f"limen {importlib.metadata.version('limen')}")
        raise typer.Exit


@app.callback()
def limen(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options that go before a command."""
