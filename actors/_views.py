"""What a pool shows of its workers. For many at once: each is looked at, and made anew only where it has changed."""

from __future__ import annotations

from collections.abc import Iterable

from ..messages.pool import MAX_IN_FLIGHT, DispatchWorker, Figures, PoolRow, row_of, worker_of
from .entry import NO_ATTEMPTS, WorkerEntry


def workers_of(entries: Iterable[WorkerEntry]) -> list[DispatchWorker]:
    """Show the live ones as workers to dispatch to: copies."""
    shown: list[DispatchWorker] = []
    figures: Figures = (0, 0, 0, ())
    for entry in entries:
        if not entry.active:
            continue
        capacity, held, opened = entry.capacity, len(entry.attempts), entry.opened
        limit, types = capacity.max_concurrent, capacity.activity_types
        queued = held - limit if held > limit else 0
        in_flight = entry.manual + held - queued
        depth = queued + opened.depth if opened is not None else queued
        slots = min(MAX_IN_FLIGHT, limit)
        if figures[0] != in_flight or figures[1] != slots or figures[2] != depth or figures[3] is not types:
            figures = (in_flight, slots, depth, types)
        worker = entry.shown_worker
        if worker is None or worker._figures != figures:  # noqa: SLF001 - by which its view is made
            worker = entry.shown_worker = worker_of(entry.worker_id, entry.participant, figures)
        shown.append(worker)
    return shown


def rows_of(entries: Iterable[WorkerEntry]) -> list[PoolRow]:
    """Show the live ones as rows for an operator: copies."""
    shown: list[PoolRow] = []
    for entry in entries:
        if not entry.active:
            continue
        capacity, attempts = entry.capacity, entry.attempts
        limit, held = capacity.max_concurrent, len(attempts)
        queued = held - limit if held > limit else 0
        in_flight = entry.manual + held - queued
        draining, since_s = entry.draining, entry.since_s
        abandoned = 0 if attempts is NO_ATTEMPTS else getattr(entry.executor, "abandoned", 0)
        row = entry.shown_row
        if (
            row is None
            or row.in_flight != in_flight
            or row.queued != queued
            or row.draining is not draining
            or row.abandoned != abandoned
            or row.since_s != since_s
        ):
            row = entry.shown_row = row_of(
                entry.worker_id,
                entry.incarnation,
                entry.executor_name,
                limit,
                in_flight,
                capacity.activity_types,
                since_s,
                queued,
                draining,
                abandoned,
            )
        shown.append(row)
    return shown
