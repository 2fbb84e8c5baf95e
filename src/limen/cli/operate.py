"""`limen declare`, `limen pause` and `limen resume`: what an operator does to a queue."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import typer

from ..messages.errors import ConfigError
from ._common import AppTarget, AsJson, Namespace, Queue, Url, application, plain_errors, show
from ._target import load_activities


def declare(
    target: Annotated[
        str | None, typer.Argument(metavar="[MODULE[:NAME]]", help="Where the activities are; or say --queue, --types.")
    ] = None,
    *,
    queue: Annotated[
        str | None, typer.Option(envvar="LIMEN_QUEUE", help="The queue, where there is no module.")
    ] = None,
    types: Annotated[str | None, typer.Option(envvar="LIMEN_TYPES", help="Its activities, by comma.")] = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Make the broker's side of queues, so that requests are kept before the first worker comes. Safe to repeat."""
    with plain_errors():
        wanted = _wanted(target, queue, types)
        with application(url, namespace) as app:
            made = {name: app.declare(name, kinds) for name, kinds in wanted.items()}
    if as_json:
        show(made)
    else:
        for names in made.values():
            typer.echo("\n".join(names))


def _wanted(target: str | None, queue: str | None, types: str | None) -> dict[str, list[str]]:
    """Give activity types by queue."""
    if target is None:
        names = [each.strip() for each in (types or "").split(",") if each.strip()]
        if queue is None or not names:
            raise ConfigError("declare", "give a module with activities, or --queue and --types")
        return {queue: names}
    wanted: dict[str, list[str]] = defaultdict(list)
    for each in load_activities(target):
        if queue in {None, each.queue}:
            wanted[each.queue].append(each.name)
    if not wanted:
        raise ConfigError("--queue", f"no activity of {target} is for {queue!r}")
    return wanted


def pause(
    queue: Queue,
    *,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Let nothing of a queue start, on any host, until it is resumed. What runs goes on; what waits keeps its place."""
    with plain_errors(), application(url, namespace, target) as app:
        app.pause(queue)
    _said(queue, "paused", as_json=as_json)


def resume(
    queue: Queue,
    *,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Let a paused queue go on."""
    with plain_errors(), application(url, namespace, target) as app:
        app.resume(queue)
    _said(queue, "open", as_json=as_json)


def _said(queue: str, state: str, *, as_json: bool) -> None:
    if as_json:
        show({"queue": queue, "state": state})
    else:
        typer.echo(f"{queue} is {state}")
