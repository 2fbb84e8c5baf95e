"""`limen dead`: what ended in a queue's dead letters, and what to do with it."""

from __future__ import annotations

from typing import Annotated

import typer

from ._common import AsJson, Namespace, Queue, Url, application, plain_errors, show, table

dead = typer.Typer(no_args_is_help=True, help="See, give back or discard what ended in a queue's dead letters.")

Ids = Annotated[list[str], typer.Argument(help="The ids, as `limen dead list` shows them.")]


@dead.command("list")
def listed(queue: Queue, *, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False) -> None:
    """List a queue's dead letters, the oldest first."""
    with plain_errors(), application(url, namespace) as app:
        letters = app.dead_letters(queue)
    if as_json:
        show(letters)
        return
    columns = ("id", "activity", "crashes", "attempts", "why")
    rows = ((each.id, each.activity_type, each.crashes, len(each.attempts), each.reason) for each in letters)
    table(f"{queue}: {len(letters)} dead letters", columns, rows)


@dead.command()
def requeue(
    queue: Queue, ids: Ids, *, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False
) -> None:
    """Give dead letters to the queue's workers again, as new requests."""
    with plain_errors(), application(url, namespace) as app:
        made = {each: app.requeue(queue, each).id for each in ids}
    if as_json:
        show(made)
    else:
        table(f"{queue}: {len(made)} given back", ("dead letter", "new id"), made.items())


@dead.command()
def discard(
    queue: Queue, ids: Ids, *, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False
) -> None:
    """Forget dead letters."""
    with plain_errors(), application(url, namespace) as app:
        for each in ids:
            app.discard(queue, each)
    if as_json:
        show(ids)
    else:
        typer.echo(f"{len(ids)} discarded")
