"""`limen dispatch`: one activity, from the command line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from .. import Activity, Handle, Limen
from ..messages.errors import ConfigError, LimenError
from ._common import WRONG, AsJson, Namespace, Url, complaint, plain, plain_errors, show
from ._leaving import leave_to_broker
from ._target import load_activity


def dispatch(
    target: Annotated[str, typer.Argument(metavar="MODULE:ACTIVITY", help="The activity.")],
    arguments: Annotated[
        str, typer.Argument(help='Its arguments as JSON: {"name": value}, or [value, value] in order.')
    ] = "{}",
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the result and print it.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Wait so many seconds at most.")] = 3600.0,
    priority: Annotated[int | None, typer.Option(help="Higher goes first.")] = None,
    key: Annotated[str | None, typer.Option(help="Do the work once for all who give this key.")] = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Hand one activity to a worker of its queue.

    With a broker any machine's worker may take it. Without one it is run here, which needs --wait. The exit status is 0
    when it was taken, or done if waited for; 1 when not; 2 when it could not have been.
    """
    with plain_errors():
        activity = load_activity(target).options(priority=priority, key=key)
        args, kwargs = _arguments(arguments)
        if not url and not wait:
            raise ConfigError("--wait", "is needed without a broker: nobody would be there to do the work")
        with Limen(url, namespace=namespace) as app:
            if not url:
                app.worker(activity.queue, [activity], max_concurrent=1)
            handle: Handle[Any] = app.dispatch(activity, *args, **kwargs)
            if wait:
                _show_outcome(activity, handle, timeout, as_json=as_json)
            else:
                leave_to_broker(app, handle)
                _show_accepted(handle, as_json=as_json)


def _arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise ConfigError("arguments", f"are no JSON: {error}") from error
    if isinstance(given, dict):
        return [], given
    return (given if isinstance(given, list) else [given]), {}


def _show_outcome(activity: Activity[..., Any], handle: Handle[Any], timeout: float, *, as_json: bool) -> None:
    try:
        result = handle.result(timeout)
    except LimenError as error:
        if not as_json:
            raise
        show({"id": handle.id, "error": type(error).__name__, "message": str(error)})
        raise typer.Exit(WRONG) from error
    except TimeoutError as error:
        handle.cancel()
        raise complaint(f"{activity.name} has no result after {timeout:g} s; it was cancelled", WRONG) from error
    if as_json:
        show({"id": handle.id, "result": result})
    else:
        made = plain(result)
        typer.echo(made if isinstance(made, str) else json.dumps(made))


def _show_accepted(handle: Handle[Any], *, as_json: bool) -> None:
    if as_json:
        show({"id": handle.id})
    else:
        typer.echo(handle.id)
