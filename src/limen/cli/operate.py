"""`limen declare`, `limen pause` and `limen resume`: what an operator does to a queue."""

from __future__ import annotations

from typing import Annotated

import typer

from ..messages.errors import ConfigError
from ._common import AsJson, Namespace, Queue, Url, application, plain_errors, show


def declare(
    queue: Queue,
    *,
    types: Annotated[str, typer.Option(envvar="LIMEN_TYPES", help="The activities that it takes, by comma.")],
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Make a queue's places at the broker, so that requests are kept before the first worker comes. Idempotent."""
    names = [each.strip() for each in types.split(",") if each.strip()]
    with plain_errors(), application(url, namespace) as app:
        if not names:
            raise ConfigError("--types", "must name an activity")
        made = app.declare(queue, names)
    if as_json:
        show(made)
    else:
        for each in made:
            typer.echo(each)


def pause(queue: Queue, *, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False) -> None:
    """Let nothing of a queue begin until it is resumed, on any machine. What runs goes on; what waits keeps its place."""
    with plain_errors(), application(url, namespace) as app:
        app.pause(queue)
    _said(queue, "paused", as_json=as_json)


def resume(queue: Queue, *, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False) -> None:
    """Let a paused queue go on."""
    with plain_errors(), application(url, namespace) as app:
        app.resume(queue)
    _said(queue, "resumed", as_json=as_json)


def _said(queue: str, what: str, *, as_json: bool) -> None:
    if as_json:
        show({"queue": queue, "state": what})
    else:
        typer.echo(f"{queue} is {what}")
