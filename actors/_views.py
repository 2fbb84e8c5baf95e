"""What a pool shows of its workers. For many at once: each is looked at, and made anew only where it has changed."""

from __future__ import annotations

from collections.abc import Iterable

from ..messages.pool import MAX_IN_FLIGHT, DispatchWorker, Figures, OpenRow, OpenWorker, PoolRow
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
            worker = made = OpenWorker()
            made.worker_id = entry.worker_id
            made.participant = entry.participant
            made._figures = figures  # noqa: SLF001 - as above
            made.__class__ = DispatchWorker
            entry.shown_worker = made
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
            row = made = OpenRow()
            made.worker_id = entry.worker_id
            made.incarnation = entry.incarnation
            made.executor = entry.executor_name
            made.max_concurrent = limit
            made.in_flight = in_flight
            made.activity_types = capacity.activity_types
            made.since_s = since_s
            made.queued = queued
            made.draining = draining
            made.abandoned = abandoned
            made.__class__ = PoolRow
            entry.shown_row = made
        shown.append(row)
    return shown
