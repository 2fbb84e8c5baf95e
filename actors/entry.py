"""A worker as its channel knows it: capacity, what it holds, whether it is to be offered.

Only the channel changes an entry, but for the facts `active`, `exited` and `culprit`, which others write before they
say so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ..messages.activities import WorkerCapacity
from ..messages.dispatch import AckStatus
from ..messages.drain import Unfinished
from ..messages.envelope import Envelope
from ..messages.lifecycle import Down
from ..messages.pool import MAX_IN_FLIGHT, ConsumerStateView, DispatchWorker, PoolRow, view_of
from .attempt import Attempt, Executor, Runner
from .conversation import WAITING, Conversation
from .runtime import Reply, offer
from .subscription import Inbox

_NOBODY: deque[Conversation] = deque(maxlen=0)
"""What most entries hold all their lives."""
NO_ATTEMPTS: Any = frozenset()
"""The attempts of an entry that has never had any."""
_making = threading.Lock()
"""Held for an assignment and nothing else, so that neither a signal handler nor the collector can come back here."""

OVERFLOW = 1 << 40
"""Added to the load of a worker whose slots are all taken but which still accepts: it comes after all others."""


class Origin:
    """The worker behind an entry, over all its incarnations: what they have in common for the channel.

    What it begins with are defaults of the class.
    """

    retired = False
    """Whether it was unregistered or given up, so that no later incarnation counts. Any thread may say so."""
    draining = False
    """Whether it is to leave once it has done what it has. Any thread may say so."""
    unfinished: tuple[Unfinished, ...] = ()
    """What it had when it left."""
    _on_drained: list[Reply[Any]] | None = None

    def drain(self, reply: Reply[Any]) -> None:
        """Note that it is to drain; `reply` is answered when it has nothing more to do, or is gone. Any thread."""
        made: list[Reply[Any]] = []
        with _making:
            if self._on_drained is None:
                self._on_drained = made
        self._on_drained.append(reply)
        self.draining = True

    def say_drained(self) -> None:
        """Answer whoever waits for that. Any thread."""
        while self._on_drained:
            try:
                offer(self._on_drained.pop(0), None)
            except IndexError:  # another thread was quicker
                return

    def make_inbox(self) -> Any:
        """Make the inbox of an incarnation. Any thread; two may do it at once, and then one is not used."""
        return Inbox()

    def ended(self, entry: WorkerEntry, down: Down) -> None:
        """Take note that an incarnation has ended. Called once for each, on the thread that notices."""


class WorkerEntry:
    """One incarnation of one worker."""

    __slots__ = (
        "__weakref__",
        "active",
        "alone",
        "attempts",
        "capacity",
        "counted",
        "culprit",
        "draining",
        "executor",
        "executor_name",
        "exited",
        "group",
        "held",
        "incarnation",
        "is_deaf",
        "manual",
        "nudge",
        "opened",
        "order",
        "origin",
        "participant",
        "reserved",
        "runner",
        "settled",
        "shown_row",
        "shown_view",
        "shown_worker",
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
        runner: Runner,
        *,
        origin: Origin | None = None,
        executor: Executor | None = None,
        executor_name: str = "inbox",
        supervised: bool = False,
        since_s: float = 0.0,
    ) -> None:
        self.worker_id = worker_id
        self.incarnation = incarnation
        self.capacity = capacity
        self.participant = participant
        self.runner = runner
        """Takes attempts for the worker, and is told of those that are of no more use."""
        self.origin = origin if origin is not None else Origin()
        self.executor = executor
        """The runner, where it is one."""
        self.nudge: Callable[[], object] | None = None
        """Wakes an idle slot to look into the channel's tray, where the executor can do that and has begun to work."""
        self.executor_name = executor_name
        self.opened: Any = None
        """Its inbox, once anything was put there, or looked for."""
        self.is_deaf = False
        """Whether nothing is put there any more. Any thread may say so."""
        self.supervised = supervised
        """Whether a supervisor starts another incarnation when this one ends."""
        self.since_s = since_s
        self.active = True
        self.attempts: set[Attempt] = NO_ATTEMPTS
        self.manual = 0
        """Slots that the worker's owner says are taken, apart from what the channel gave it."""
        self.held = _NOBODY
        """Requests that wait for exactly this worker; those that have to run alone are among them."""
        self.alone = False
        """Whether a suspect runs here, and so nothing else may."""
        self.draining = False
        """Whether it ends what it has and gets nothing new."""
        self.reserved = False
        """Whether it is not on offer for any of these reasons."""
        self.settled = True
        """Whether none of them holds and nobody waits for it in particular, so that any slot is like any other."""
        self.culprit: Attempt | None = None
        """The attempt that the worker dies of, where its executor knows."""
        self.exited: Down | None = None
        self.watch: Any = None
        self.order = 0
        self.version = 0
        self.group: Any = None
        # What was shown of it last; it is shown again as long as nothing has changed.
        self.shown_row: PoolRow | None = None
        self.shown_view: ConsumerStateView | None = None
        self.shown_worker: DispatchWorker | None = None
        self.counted: int | None = None
        """With how many slots taken it counts in its group, where that is counted."""

    # --- as a subscriber of its channel, whose inbox is made at first use: most are never published anything ----

    filter = None

    @property
    def inbox(self) -> Any:
        """What is published to it, and handed to it where it fetches its own work. Any thread."""
        if self.opened is None:
            made = self.origin.make_inbox()
            with _making:
                if self.opened is None:
                    self.opened = made
            if self.is_deaf:  # see `close`, which looks for an inbox after it has said so
                self.opened.close()
        return self.opened

    @property
    def closed(self) -> bool:
        """Whether it takes no more of what is published."""
        return self.is_deaf

    @property
    def depth(self) -> int:
        """How much of it has not been read."""
        opened = self.opened
        return opened.depth if opened is not None else 0

    def offer(self, envelope: Envelope) -> AckStatus | None:
        """Put an envelope into the inbox: see `Inbox.offer`."""
        return None if self.is_deaf else self.inbox.offer(envelope)

    def close(self) -> None:
        """Put nothing there any more, discard what is unread, and wake all readers. Idempotent, never blocks."""
        self.is_deaf = True
        opened = self.opened
        if opened is not None:
            opened.close()

    # --- what it holds ------------------------------------------------------------------------------------------

    def __call__(self, down: Down) -> None:
        """Hear of its participant's end: an entry is what its own watch calls."""
        self.origin.ended(self, down)

    def begin_with(self, attempt: Attempt) -> None:
        """Take the first attempt, and what is needed for that: many workers wait long for it."""
        self.attempts = {attempt}
        self.nudge = getattr(self.executor, "nudge", None)

    def wake(self) -> None:
        """Tell what still runs there that it is cancelled, where that is not dead with its worker."""
        wake: Callable[[], object] | None = getattr(self.executor, "wake", None)
        if wake is not None:
            wake()

    @property
    def queued(self) -> int:
        """Attempts that it holds in advance of a free slot."""
        return max(0, len(self.attempts) - self.capacity.max_concurrent)

    @property
    def in_flight(self) -> int:
        """Slots taken, by dispatch and by hand."""
        return self.manual + len(self.attempts) - self.queued

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may be handed to it."""
        limit = self.capacity.max_concurrent
        taken = self.manual + len(self.attempts)
        if taken < limit:
            return self.active and not self.reserved
        return not self.reserved and self.has_prefetch(taken - limit)

    @property
    def has_slot(self) -> bool:
        """Whether there is room for one of those that wait for exactly this worker."""
        beyond = self.manual + len(self.attempts) - self.capacity.max_concurrent
        return self.active if beyond < 0 else self.has_prefetch(beyond)

    def has_prefetch(self, beyond: int) -> bool:
        """Whether its executor takes more than `beyond` attempts in advance of a free slot."""
        return self.active and self.executor is not None and beyond < getattr(self.executor, "prefetch", 0)

    @property
    def is_drained(self) -> bool:
        """Whether nothing that it has still lacks an outcome."""
        return not any(each.is_current for each in self.attempts)

    @property
    def comes_back(self) -> bool:
        """Whether its supervisor starts another incarnation now that this one has ended."""
        ended_badly = self.exited is not None and not self.exited.reason.is_normal
        return self.supervised and ended_badly and not self.origin.retired and not self.origin.draining

    @property
    def load(self) -> int:
        """What a router compares: slots taken; a worker that only queues comes after all that have a free slot."""
        taken = self.manual + len(self.attempts)
        return taken if taken < self.capacity.max_concurrent else OVERFLOW + taken

    def hold(self, conversation: Conversation) -> None:
        """Let a request wait for this worker and no other."""
        conversation.phase = WAITING
        conversation.waits_for = self
        if self.held is _NOBODY:
            self.held = deque()
        self.held.append(conversation)

    def next_held(self) -> Conversation | None:
        """Show the first of those that wait for this worker, if it can be handed over now."""
        if not self.held or self.alone or not self.has_slot:
            return None
        first = self.held[0]
        return None if first.suspect and self.attempts else first

    def reserve(self) -> None:
        """Work out anew whether it is on offer."""
        self.reserved = self.draining or self.alone or any(each.suspect for each in self.held)
        self.settled = not self.reserved and not self.held

    def in_order(self) -> list[Attempt]:
        """List what it holds, the first in line first: a set has an order of its own in every run.

        One request may be there twice: with an attempt that was called off and still runs, and with its present one.
        """
        return sorted(self.attempts, key=lambda attempt: (*attempt.conversation.rank(), attempt.number))

    def view(self) -> ConsumerStateView:
        """Show what a routing function may see: a copy."""
        capacity, held, opened = self.capacity, len(self.attempts), self.opened
        limit = capacity.max_concurrent
        queued = held - limit if held > limit else 0
        in_flight = self.manual + held - queued
        depth = queued + opened.depth if opened is not None else queued
        shown = self.shown_view
        if shown is None or shown.current_in_flight != in_flight or shown.buffer_depth != depth:
            slots = min(limit, MAX_IN_FLIGHT)
            shown = view_of(self.worker_id, in_flight, slots, depth, capacity.activity_types)
            self.shown_view = shown
        return shown
