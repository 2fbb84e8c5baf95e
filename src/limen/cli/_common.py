"""What all commands share: the options that say where, errors as one line, and values as text or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from .. import Limen
from ..messages.errors import ConfigError, InvalidArgument, InvalidChannelName, LimenError
from ._target import load_application

WRONG = 1
"""The exit status when something went wrong that was well asked for."""
USAGE = 2
"""The exit status when what was asked for makes no sense."""

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="LIMEN_URL", show_envvar=True, help="The broker: amqp://user:pw@host/vhost"),
]
Namespace = Annotated[
    str, typer.Option(envvar="LIMEN_NAMESPACE", show_envvar=True, help="The namespace of the queues.")
]
Queue = Annotated[str, typer.Argument(help="The queue.")]
AppTarget = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="An application of your own, in place of one at --url."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Say an error in one line on stderr, and end with the status that goes with it."""
    try:
        yield
    except (ConfigError, InvalidArgument, InvalidChannelName) as error:
        raise complaint(error, USAGE) from error
    except (LimenError, TimeoutError) as error:
        raise complaint(error, WRONG) from error


def complaint(error: object, status: int) -> typer.Exit:
    """Say what is wrong, and give what ends the command."""
    typer.echo(f"limen: {error}", err=True)
    return typer.Exit(status)


@contextmanager
def application(url: str | None, namespace: str, target: str | None = None) -> Iterator[Limen]:
    """Give an application: the one at a broker, or the one that `target` names. Raises `ConfigError` without one."""
    if target is not None:
        with load_application(target) as app:
            yield app
        return
    if not url:
        raise ConfigError("--url", "work comes from other processes, over a broker; give its URL, or set LIMEN_URL")
    with Limen(url, namespace=namespace) as app:
        yield app


def show(value: Any) -> None:
    """Print a value as one JSON document."""
    typer.echo(json.dumps(plain(value), indent=2 if _is_terminal() else None))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: drawn on a terminal, else a line for each row, with tabs, for whatever reads it."""
    if not _is_terminal():
        for row in (columns, *rows):
            typer.echo("\t".join(" ".join(str(each).split()) for each in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(Text(str(each)) for each in row))
    Console().print(drawn)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def plain(value: Any) -> Any:
    """Make a value of what JSON can say; what it cannot is named by its text."""
    import cattrs

    return _speakable(cattrs.unstructure(value))


def _speakable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _speakable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_speakable(each) for each in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
