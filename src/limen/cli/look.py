"""`limen pool` and `limen queues`: what is there, on all machines."""

from __future__ import annotations

from ._common import AsJson, Namespace, Queue, Url, application, plain_errors, show, table


def pool(queue: Queue, *, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False) -> None:
    """Show a queue's live workers: what each can do and is doing now."""
    with plain_errors(), application(url, namespace) as app:
        rows = app.pool(queue)
    if as_json:
        show(rows)
        return
    columns = ("worker", "executor", "in flight", "slots", "queued", "activities")
    table(
        f"{queue}: {len(rows)} workers",
        columns,
        (
            (row.worker_id, row.executor, row.in_flight, row.max_concurrent, row.queued, ", ".join(row.activity_types))
            for row in rows
        ),
    )


def queues(*, url: Url = None, namespace: Namespace = "default", as_json: AsJson = False) -> None:
    """Show every queue of the namespace: what waits, what runs, who serves it."""
    with plain_errors(), application(url, namespace) as app:
        rows = app.queues()
    if as_json:
        show(rows)
        return
    columns = ("queue", "waiting", "running", "workers", "dead letters", "state")
    shown = (
        (row.queue, row.waiting, row.running, row.workers, row.dead_letters, "paused" if row.paused else "open")
        for row in rows
    )
    table(f"{len(rows)} queues", columns, shown)
