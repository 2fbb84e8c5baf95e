"""`limen pool` and `limen queues`: what is there, on all machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import attrs
import typer

from .. import PoolRow, QueueRow
from ..actors.runtime import runtime
from ._common import AppTarget, AsJson, Namespace, Queue, Url, application, plain_errors, show, table


def pool(
    queue: Queue,
    *,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Show a queue's live workers: what each can do and is doing now.

    Every host is asked. One that does not answer, and that the broker has not given up, is shown as it was, and marked.
    """
    with plain_errors(), application(url, namespace, target) as app:
        rows = app.pool(queue)
    if as_json:
        show([_plain_worker(each) for each in rows])
    else:
        table(f"{queue}: {_count(len(rows), 'worker')}", _WORKER, (_worker_cells(each) for each in rows))


def queues(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="These; by default all that there are.")
    ] = None,
    *,
    target: AppTarget = None,
    url: Url = None,
    namespace: Namespace = "default",
    as_json: AsJson = False,
) -> None:
    """Show queues: how many requests wait and run, by activity; who serves them; whether they are paused."""
    with plain_errors(), application(url, namespace, target) as app:
        rows = [app.queue(each) for each in names] if names else app.queues()
        workers = {row.queue: len(app.pool(row.queue)) for row in rows}
    if as_json:
        show([{"queue": each.queue, "workers": workers[each.queue], **attrs.asdict(each)} for each in rows])
    else:
        table(_count(len(rows), "queue"), _QUEUE, _queue_cells(rows, workers))


_WORKER = ("host", "worker", "executor", "running", "slots", "state", "activities")
_QUEUE = ("queue", "activity", "waiting", "running", "workers", "state")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _plain_worker(row: PoolRow) -> dict[str, Any]:
    made = attrs.asdict(row) | {"host": row.host, "is_stale": row.is_stale, "free": row.free}
    del made["since_s"]  # of a clock that nobody else has
    return made | {"age_s": round(runtime().now() - row.since_s, 3)}


def _worker_cells(row: PoolRow) -> tuple[object, ...]:
    state = "not answering" if row.is_stale else "draining" if row.draining else "open"
    kinds = ", ".join(row.activity_types)
    return (row.host or "here", row.worker_id, row.executor, row.in_flight, row.max_concurrent, state, kinds)


def _queue_cells(rows: Iterable[QueueRow], workers: dict[str, int]) -> Iterable[tuple[object, ...]]:
    for row in rows:
        state = "paused" if row.paused else "open"
        yield (row.queue, "", row.waiting, row.running, workers[row.queue], state)
        for each in row.types:
            yield ("", each.activity_type, each.waiting, each.running, "", "")
