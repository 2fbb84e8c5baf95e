"""`limen worker`: a worker host, from the command line."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from .. import Activity
from ..messages.errors import ConfigError
from ._common import AsJson, Namespace, Url, application, plain_errors
from ._target import load_activities


class Executor(enum.StrEnum):
    """What runs the activities."""

    THREAD = "thread"
    ASYNCIO = "asyncio"
    PROCESS = "process"


def worker(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE[:NAME]", envvar="LIMEN_TARGET", help="Where the activities are: a module, or one of them."
        ),
    ],
    *,
    queue: Annotated[
        str | None, typer.Option(envvar="LIMEN_QUEUE", help="The queue to serve; by default the only one there is.")
    ] = None,
    types: Annotated[
        str | None, typer.Option(envvar="LIMEN_TYPES", help="The activities to serve, by comma; by default all.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, envvar="LIMEN_CONCURRENCY", help="How many at once.")
    ] = None,
    executor: Annotated[
        Executor | None, typer.Option(envvar="LIMEN_EXECUTOR", help="What runs them; coroutines need asyncio.")
    ] = None,
    drain: Annotated[
        float, typer.Option(min=0, envvar="LIMEN_DRAIN", help="Seconds for what runs to end after SIGTERM.")
    ] = 30.0,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Serve a queue until SIGTERM or Ctrl-C.

    The first signal drains: nothing new is taken, what runs may end. A second one leaves at once; the broker then gives
    to others what was not done. Shows the pool on a terminal, else one structured line for each event.
    """
    with plain_errors():
        activities = choose(load_activities(target), queue, types)
        chosen = activities[0].queue
        from .host import serve

        with application(url, namespace) as app:
            app.worker(chosen, activities, max_concurrent=concurrency, executor=executor.value if executor else None)
            status = serve(app, chosen, drain_s=drain, as_json=as_json)
    raise typer.Exit(status)


def choose(activities: Sequence[Activity[..., Any]], queue: str | None, types: str | None) -> list[Activity[..., Any]]:
    """Give those of one queue and of these types. Raises `ConfigError` for a choice that leaves nothing or too much."""
    wanted = [each.strip() for each in types.split(",") if each.strip()] if types is not None else None
    unknown = sorted(set(wanted or ()) - {each.name for each in activities})
    if unknown:
        raise ConfigError("--types", f"{', '.join(unknown)}: not there; there are {_names(activities)}")
    typed = [each for each in activities if wanted is None or each.name in wanted]
    queues = sorted({each.queue for each in typed})
    if queue is None and len(queues) > 1:
        raise ConfigError("--queue", f"must say which: these activities are for {', '.join(queues)}")
    chosen = [each for each in typed if queue in {None, each.queue}]
    if not chosen:
        raise ConfigError("--queue", f"nothing is for {queue!r}; these activities are for {', '.join(queues)}")
    return chosen


def _names(activities: Sequence[Activity[..., Any]]) -> str:
    return ", ".join(sorted({each.name for each in activities}))
