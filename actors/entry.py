"""A worker as its channel knows it: capacity, what it holds, whether it is to be offered.

Only the channel changes an entry, but for the two facts `exited` and `manual`, which others write before they say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..messages.activities import WorkerCapacity
from ..messages.lifecycle import Down
from ..messages.pool import MAX_IN_FLIGHT, ConsumerId, ConsumerStateView, DispatchWorker, PoolRow
from .attempt import Attempt, Executor

OVERFLOW = 1 << 40
"""Added to the load of a worker whose slots are all taken but which still accepts: it comes after all others."""


class WorkerEntry:
    """One incarnation of one worker."""

    __slots__ = (
        "__weakref__",
        "active",
        "attempts",
        "capacity",
        "deliver",
        "executor",
        "executor_name",
        "exited",
        "group",
        "inbox",
        "incarnation",
        "manual",
        "nudge",
        "order",
        "participant",
        "since_s",
        "supervised",
        "version",
        "watch",
        "worker_id",
    )

    def __init__(
        self,
        worker_id: str,
        incarnation: int,
        capacity: WorkerCapacity,
        participant: Any,
        deliver: Callable[[Attempt], None],
        *,
        executor: Executor | None = None,
        executor_name: str = "inbox",
        inbox: Any = None,
        supervised: bool = False,
        since_s: float = 0.0,
    ) -> None:
        self.worker_id = worker_id
        self.incarnation = incarnation
        self.capacity = capacity
        self.participant = participant
        self.deliver = deliver
        self.executor = executor
        self.nudge: Callable[[], object] | None = getattr(executor, "nudge", None)
        """Wakes an idle slot to look into the channel's tray, where the executor can do that."""
        self.executor_name = executor_name
        self.inbox = inbox
        self.supervised = supervised
        """Whether a supervisor starts another incarnation when this one ends."""
        self.since_s = since_s
        self.active = True
        self.attempts: set[Attempt] = set()
        self.manual = 0
        """Slots that the worker's owner says are taken, apart from what the channel gave it."""
        self.exited: Down | None = None
        self.watch: Any = None
        self.order = 0
        self.version = 0
        self.group: Any = None

    @property
    def in_flight(self) -> int:
        """Slots taken, by dispatch and by hand."""
        return self.manual + len(self.attempts)

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may be handed to it."""
        limit = self.capacity.max_concurrent
        taken = self.manual + len(self.attempts)
        if taken < limit:
            return self.active
        return self.active and self.executor is not None and taken < limit + getattr(self.executor, "prefetch", 0)

    @property
    def load(self) -> int:
        """What a router compares: slots taken; a worker that only queues comes after all that have a free slot."""
        taken = self.manual + len(self.attempts)
        return taken if taken < self.capacity.max_concurrent else OVERFLOW + taken

    def view(self) -> ConsumerStateView:
        """Show what a routing function may see: a copy."""
        limit = self.capacity.max_concurrent
        depth = self.inbox.depth if self.inbox is not None else 0
        return ConsumerStateView(
            ConsumerId(self.worker_id), self.in_flight, min(limit, MAX_IN_FLIGHT), depth, self.capacity.activity_types
        )

    def snapshot(self) -> DispatchWorker:
        """Show it as a worker to dispatch to: a copy."""
        return DispatchWorker(self.worker_id, self.participant, self.view())

    def row(self) -> PoolRow:
        """Show it as a row for an operator: a copy."""
        return PoolRow(
            self.worker_id,
            self.incarnation,
            self.executor_name,
            self.capacity.max_concurrent,
            self.in_flight,
            self.capacity.activity_types,
            self.since_s,
        )
