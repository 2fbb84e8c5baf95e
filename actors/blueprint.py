"""How a worker is made, and made again: what every incarnation of it has in common.

The supervisor calls a blueprint for each incarnation. The first is inserted by whoever registers it; later ones arm
their watch and join the pool by themselves, in that order.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pykka import ActorRef

from ..messages.activities import Completed, Failed, WorkerCapacity
from ..messages.codec import encode_request
from ..messages.dispatch import DispatchRequest
from ..messages.envelope import Envelope
from ..messages.grace import DEFAULT, Grace
from ..messages.lifecycle import Down, ExitReason
from . import _orders as orders
from ._desk import Desk
from .attempt import Attempt, Executor, Handler
from .channel_handle import ChannelHandle
from .entry import Origin, WorkerEntry
from .executors._running import failure
from .life import Watch
from .runtime import Lock, runtime
from .subscription import Inbox
from .watching import watch
from .worker import ExecutorName, WorkerActor, WorkerReport, make_executor

UNREAD_LIMIT = 1_000
"""How many published messages a worker with an executor keeps for `next`: usually nobody reads them."""


class Blueprint(Origin):
    """One worker over all its incarnations. Knows nothing of the registration, which may be dropped at any time."""

    incarnation = 0
    channel: ChannelHandle | None = None
    entry: WorkerEntry | None = None
    is_gone = False
    """Whether there is no incarnation any more, and will be none."""
    exit_reason: ExitReason | None = None
    executor: Executor | None = None
    supervisor: ActorRef[Any] | None = None
    """Under which our participant lives, as the child `child_id`."""
    child_id = ""
    _supervisor_watch: Watch | None = None
    _report: WorkerReport | None = None
    _gone_event: threading.Event | None = None

    def __init__(
        self,
        worker_id: str,
        capacity: WorkerCapacity,
        whole: Lock,
        *,
        handlers: Mapping[str, Handler] | None = None,
        executor: ExecutorName = "thread",
        participant: Any = None,
        supervised: bool = False,
        grace: Grace = DEFAULT,
    ) -> None:
        """Keep what is needed to make an incarnation.

        `whole` is held while one is put down, so that no entry is half of it and half of the next; many may share it.
        """
        self.worker_id = worker_id
        self.capacity = capacity
        self.participant = participant
        self.owned = participant is None
        self.supervised = supervised
        self._handlers = handlers
        self._kind: ExecutorName = executor
        self._grace = grace
        self._whole = whole
        self._fetched: dict[str, Attempt] | None = {} if handlers is None else None
        """Where it fetches its own work: what waits for its answer, by message id."""

    # --- incarnations -------------------------------------------------------------------------------------------

    def __call__(self) -> ActorRef[Any]:
        """Start an incarnation, on the supervisor's turn; a later one joins the pool by itself. Never blocks."""
        report = executor = None
        if self._handlers is not None:
            report = WorkerReport()
            slots = self.capacity.max_concurrent
            executor = make_executor(self._kind, self._handlers, slots, report, self.worker_id, grace=self._grace)
        try:
            participant: ActorRef[Any] = WorkerActor.start(self.worker_id, executor)  # which ends the executor
        except BaseException:
            if executor is not None:
                executor.close()
            raise
        with self._whole:
            self.incarnation += 1
            self.participant, self.executor, self._report = participant, executor, report
            entry = self._next_entry(self.channel) if self.channel is not None else None
        if report is not None:
            report.speak_for(participant)
        if entry is not None:
            self._rejoin(entry)
        return participant

    def make_inbox(self) -> Inbox:
        """Make an inbox that fits how the worker is run."""
        return Inbox(bound=UNREAD_LIMIT) if self._fetched is None else Desk(self._fetched)

    def make_first_entry(self, channel: ChannelHandle) -> WorkerEntry:
        """Make the entry of the present incarnation, not yet offered. Later ones follow by themselves."""
        with self._whole:
            self.channel = channel
            return self._make_entry(channel)

    def _next_entry(self, channel: ChannelHandle) -> WorkerEntry:
        if self.is_gone and not self.retired:  # it was stopped, and started again on request
            self.exit_reason = None
            self.is_gone = False
            if self._gone_event is not None:
                self._gone_event.clear()
        return self._make_entry(channel)

    def _make_entry(self, channel: ChannelHandle) -> WorkerEntry:
        if self._report is not None:
            self._report.channel = channel.session
        executor = self.executor
        self.entry = WorkerEntry(
            self.worker_id,
            max(1, self.incarnation),
            self.capacity,
            self.participant,
            executor if executor is not None else self,
            origin=self,
            executor=executor,
            executor_name=self._kind if executor is not None else "inbox",
            supervised=self.supervised,
        )
        return self.entry

    def _rejoin(self, entry: WorkerEntry) -> None:
        assert self.channel is not None, "an entry belongs to a channel"
        self.arm(entry)
        self.channel.session.notice(orders.Rejoin(entry))

    # --- the end of one, and of all -----------------------------------------------------------------------------

    def live_under(self, supervisor: ActorRef[Any], child_id: str) -> None:
        """Note whose child the participant is to be. Where that one ends, no further incarnation comes."""
        self.supervisor, self.child_id = supervisor, child_id
        if self.supervised:
            self._supervisor_watch = watch(supervisor, lambda down: self.give_up(down.reason))

    def arm(self, entry: WorkerEntry) -> None:
        """Watch the participant: from now on its end takes the entry out of the pool."""
        entry.watch = watch(entry.participant, entry)

    def ended(self, entry: WorkerEntry, down: Down) -> None:
        """Take an incarnation out of the pool that has come to its end."""
        entry.active = False
        entry.exited = down
        if self.draining:  # it has left, then
            self.retired = True
        if not entry.comes_back:
            self.note_gone(down.reason)
        if self.channel is not None:
            self.channel.session.notice(orders.WorkerDown(entry, down))

    def give_up(self, reason: ExitReason) -> None:
        """There will be no further incarnation."""
        self.retired = True
        self.note_gone(reason)
        if self.channel is not None and self.entry is not None:
            self.channel.session.notice(orders.GiveUp(self.entry))

    def retire(self) -> None:
        """Offer the worker no more, whatever becomes of it. Any thread, also in a finaliser."""
        self.retired = True
        if self.entry is not None:
            self.entry.active = False

    def let_go(self) -> None:
        """Watch nothing any more, and take no more work."""
        if self._supervisor_watch is not None:
            self._supervisor_watch.cancel()
        if self.entry is None:
            return
        if self.entry.watch is not None:
            self.entry.watch.cancel()
        self.entry.close()

    def note_gone(self, reason: ExitReason) -> None:
        """Remember the first reason for which the worker is gone for good."""
        if self.exit_reason is None:
            self.exit_reason = reason
        self.is_gone = True
        if self._gone_event is not None:
            self._gone_event.set()
        self.say_drained()

    @property
    def gone(self) -> threading.Event:
        """The event that is set while it is gone; made for the first who wants to wait for it."""
        if self._gone_event is None:
            made = runtime().create_event()
            with self._whole:
                if self._gone_event is None:
                    self._gone_event = made
        event = self._gone_event
        if self.is_gone:
            event.set()
            if not self.is_gone:  # it was started again just now
                event.clear()  # type: ignore[unreachable]  # by another thread
        return event

    # --- a worker that fetches its own work ---------------------------------------------------------------------

    def respond(self, message_id: str, result: Completed | Failed) -> bool:
        """Take the answer to what was fetched; `False` if it is not wanted (any more)."""
        attempt = self._fetched.pop(message_id, None) if self._fetched is not None else None
        if attempt is None:
            return False
        wanted = not attempt.claimed
        following = self._reporter.finished(attempt, result)
        if following is not None:
            self.submit(following)
        return wanted

    def submit(self, attempt: Attempt) -> None:
        """Deliver to the desk. Runs on the channel's turn."""
        channel, desk, conversation = self.channel, attempt.entry.inbox, attempt.conversation
        assert channel is not None, "a channel delivers"
        request = DispatchRequest(
            conversation_id=conversation.id, request=attempt.request, priority=conversation.priority
        )
        try:
            payload = encode_request(request)
        except Exception as error:  # noqa: BLE001 - what cannot be encoded is the caller's failure
            self._reporter.finished(attempt, failure(error))
            return
        envelope = Envelope(
            message_id=_message_id(attempt),
            payload=payload,
            schema_id=channel.schema.id,
            publisher_id=conversation.workflow_id,
            timestamp=datetime.fromtimestamp(runtime().wall_time(), UTC),
        )
        desk.hand_in(attempt, envelope)

    def cancel(self, attempt: Attempt) -> None:
        """Free the slot of an attempt that was decided before it was fetched; else it is kept until the answer."""
        if attempt.entry.inbox.withdraw(_message_id(attempt)):
            self._reporter.returned(attempt, ExitReason.normal())

    @property
    def _reporter(self) -> WorkerReport:
        """What tells the channel; made for a worker without an executor when it first has something to say."""
        if self._report is None:
            assert self.channel is not None, "a channel has handed it something"
            report = WorkerReport()
            report.channel = self.channel.session
            self._report = report
        return self._report


def _message_id(attempt: Attempt) -> str:
    return f"{attempt.conversation.id}#{attempt.number}"
