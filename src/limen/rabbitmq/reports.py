"""What hosts say of their workers, as values: to plain data and back, and put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs

from .._structure import structure
from ..actors.runtime import runtime
from ..messages.pool import HostedRow, PoolRow, QueueRow, TypeRow

UNBOUND = 2**63 - 1

Report = tuple[list[PoolRow], QueueRow]
"""The workers of one host on one channel, and the channel as a queue."""


def rows_of(reports: dict[str, tuple[Report, bool]]) -> list[PoolRow]:
    """Give the workers of all hosts in the order in which they came."""
    rows = [
        HostedRow(**attrs.asdict(row, recurse=False), host=name, is_stale=not is_now)
        for name, ((rows, _), is_now) in reports.items()
        for row in rows
    ]
    return sorted(rows, key=lambda row: row.since_s)


def merged(channel: str, rows: Iterable[QueueRow], lying: dict[str, int]) -> QueueRow:
    """Show the queues of all hosts, and what lies in the broker, as one. The broker bounds nothing by itself."""
    waiting: Counter[str] = Counter(lying)
    running: Counter[str] = Counter()
    limits: dict[str, Any] = {}
    paused = False
    for row in rows:
        paused = paused or row.paused
        for each in row.types:
            waiting[each.activity_type] += each.waiting
            running[each.activity_type] += each.running
            limits.setdefault(each.activity_type, each.limit)
    kinds = sorted({*+waiting, *+running, *(kind for kind, limit in limits.items() if limit is not None)})
    return QueueRow(
        channel_name=channel,
        paused=paused,
        waiting=waiting.total(),
        running=running.total(),
        bound=UNBOUND,
        types=tuple(
            TypeRow(activity_type=kind, waiting=waiting[kind], running=running[kind], limit=limits.get(kind))
            for kind in kinds
        ),
    )


def report_to_plain(report: Report) -> dict[str, Any]:
    """Write it. Instants become ages: no two machines' clocks agree."""
    rows, queue = report
    now_s = runtime().now()
    plain = [attrs.asdict(row, recurse=False) for row in rows]
    for each in plain:
        each["since_s"] = now_s - each["since_s"]
    return {"rows": plain, "queue": attrs.asdict(queue)}


def report_from_plain(said: dict[str, Any]) -> Report:
    """Ages become instants of this machine's clock. Raises what comes of reading something else."""
    now_s = runtime().now()
    rows = [structure(_known(PoolRow, each), PoolRow) for each in said["rows"]]
    queue = structure(_known(QueueRow, said["queue"]), QueueRow)
    return [attrs.evolve(row, since_s=now_s - row.since_s) for row in rows], queue


def _known(kind: Any, value: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a later version says."""
    return {field.name: value[field.name] for field in attrs.fields(kind) if field.name in value}
