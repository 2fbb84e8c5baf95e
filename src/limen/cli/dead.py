"""`limen dead`: what ended in a queue's dead letters, and what to do with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from .. import DeadLetter, Limen
from ..messages.errors import ConfigError
from ._common import AppTarget, AsJson, Namespace, Queue, Url, application, plain_errors, show, table
from ._leaving import leave_to_broker

dead = typer.Typer(no_args_is_help=True, help="List, try again or throw away what ended in a queue's dead letters.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `limen dead list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that are there now.")]


@dead.command("list")
def listed(
    queue: Queue,
    *,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """List a queue's dead letters, the oldest first."""
    with plain_errors(), application(url, namespace, target) as app:
        letters = app.dead_letters(queue)
    if as_json:
        show([_plain(each) for each in letters])
        return
    columns = ("id", "activity", "at", "attempts", "crashes", "requeues", "why")
    table(f"{queue}: {len(letters)} dead", columns, (_cells(each) for each in letters))


@dead.command()
def requeue(
    queue: Queue,
    ids: Ids = None,
    *,
    everything: All = False,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Try dead letters again: the same requests, under the same ids.

    Nobody waits for them here. What fails again comes back with a longer history.
    """
    with plain_errors(), application(url, namespace, target) as app:

        def again(letter_id: str) -> None:
            leave_to_broker(app, app.requeue(queue, letter_id))

        _each(app, queue, ids, again, everything=everything, what="requeued", as_json=as_json)


@dead.command()
def discard(
    queue: Queue,
    ids: Ids = None,
    *,
    everything: All = False,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Throw dead letters away."""
    with plain_errors(), application(url, namespace, target) as app:

        def away(letter_id: str) -> None:
            app.discard(queue, letter_id)

        _each(app, queue, ids, away, everything=everything, what="discarded", as_json=as_json)


def _each(
    app: Limen,
    queue: str,
    ids: Sequence[str] | None,
    act: Callable[[str], None],
    *,
    everything: bool,
    what: str,
    as_json: bool,
) -> None:
    """Do something to these letters one by one, and say of each that it was done: a failure half-way hides nothing."""
    if bool(ids) == everything:
        raise ConfigError("ID", "name dead letters, or say --all")
    done: list[str] = []
    try:
        for each in ids or [letter.id for letter in app.dead_letters(queue)]:
            act(each)
            done.append(each)
            if not as_json:
                typer.echo(f"{what} {each}")
    finally:
        if as_json:
            show({"queue": queue, what: done})


def _cells(letter: DeadLetter) -> tuple[object, ...]:
    when = letter.at.strftime("%Y-%m-%d %H:%M:%S")
    counts = (letter.attempts_made, letter.crashes, letter.requeues)
    return (letter.id, letter.activity_type, when, *counts, f"{type(letter.error).__name__}: {letter.error}")


def _plain(letter: DeadLetter) -> dict[str, Any]:
    """Give what is known of it, but for its arguments, which are nobody's business here."""
    return {
        "id": letter.id,
        "activity": letter.activity_type,
        "priority": letter.priority,
        "at": letter.at.isoformat(),
        "attempts": [
            {"number": each.number, "host": each.host, "worker": each.worker_id, "error": _text(each.error)}
            for each in letter.attempts
        ],
        "attempts_made": letter.attempts_made,
        "crashes": letter.crashes,
        "requeues": letter.requeues,
        "error": type(letter.error).__name__,
        "message": str(letter.error),
    }


def _text(error: BaseException | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"
