"""`limen demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    path: Annotated[
        Path | None, typer.Argument(help="A folder with Python files; by default the standard library's.")
    ] = None,
    *,
    workers: Annotated[int, typer.Option(min=1, max=32, help="Process workers, of two processes each.")] = 2,
    no_crash: Annotated[bool, typer.Option("--no-crash", help="Kill no process half-way.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Send real files through real workers, kill a process half-way, and lose nothing.

    Each file is read and hashed by a thread worker, then parsed and measured by a process worker. The exit status is 0
    when every file has an outcome and a sample equals a plain loop's, 1 when not, 2 when there is nothing to do, and
    130 or 143 when Ctrl-C or SIGTERM ended it: files under way finish, the others are named. A second one ends it at
    once.
    """
    from ..demo.command import run_demo

    raise typer.Exit(run_demo(path, workers=workers, crash=not no_crash, as_json=as_json))
