"""How a worker is made, and made again: what every incarnation of it has in common.

The supervisor calls `start` for each incarnation. The first is inserted by whoever registers it; later ones arm their
watch and join the pool by themselves, in that order.
"""

from __future__ import annotations

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
from .runtime import runtime
from .subscription import Inbox
from .watching import watch
from .worker import ExecutorName, WorkerActor, WorkerReport, make_executor

UNREAD_LIMIT = 1_000
"""How many published messages a worker with an executor keeps for `next`: usually nobody reads them."""


class Blueprint:
    """One worker over all its incarnations. Knows nothing of the registration, which may be dropped at any time."""

    def __init__(
        self,
        worker_id: str,
        capacity: WorkerCapacity,
        *,
        handlers: Mapping[str, Handler] | None = None,
        executor: ExecutorName = "thread",
        participant: Any = None,
        supervised: bool = False,
        grace: Grace = DEFAULT,
    ) -> None:
        self.worker_id = worker_id
        self.capacity = capacity
        self.participant = participant
        self.owned = participant is None
        self.supervised = supervised
        self.origin = Origin()
        self.incarnation = 0
        self.channel: ChannelHandle | None = None
        self.entry: WorkerEntry | None = None
        self.inbox: Inbox | None = None
        self.gone = runtime().create_event()
        self.exit_reason: ExitReason | None = None
        self.executor: Executor | None = None
        self.supervisor: ActorRef[Any] | None = None
        """Under which our participant lives, as the child `child_id`."""
        self.child_id = ""
        self._supervisor_watch = Watch()
        self._handlers = handlers
        self._kind: ExecutorName = executor
        self._grace = grace
        self._report = WorkerReport()
        # Held while an incarnation is put together, so that no entry is half of one and half of the next.
        self._lock = runtime().create_rlock()
        self._fetched: dict[str, Attempt] = {}

    # --- incarnations -------------------------------------------------------------------------------------------

    def start(self) -> ActorRef[Any]:
        """Start an incarnation; a later one joins the pool by itself. Never blocks."""
        with self._lock:
            self.incarnation += 1
            report = self._report = WorkerReport()
            self.executor = None
            if self._handlers is not None:
                slots = self.capacity.max_concurrent
                self.executor = make_executor(
                    self._kind, self._handlers, slots, report, self.worker_id, grace=self._grace
                )
            participant: ActorRef[Any] = WorkerActor.start(self.worker_id, self.executor)  # which ends the executor
            self.participant = participant
            entry = self._next_entry(self.channel) if self.channel is not None else None
        report.speak_for(participant)
        if entry is not None:
            self._rejoin(entry)
        return participant

    def make_inbox(self) -> Inbox:
        """Make an inbox that fits how the worker is run."""
        return Desk(self._fetched) if self._handlers is None else Inbox(bound=UNREAD_LIMIT)

    def make_first_entry(self, channel: ChannelHandle, inbox: Inbox) -> WorkerEntry:
        """Make the entry of the present incarnation, not yet offered. Later ones follow by themselves."""
        with self._lock:
            self.channel = channel
            return self._make_entry(channel, inbox)

    def _next_entry(self, channel: ChannelHandle) -> WorkerEntry:
        if self.gone.is_set() and not self.origin.retired:  # it was stopped, and started again on request
            self.exit_reason = None
            self.gone.clear()
        return self._make_entry(channel, self.make_inbox())

    def _make_entry(self, channel: ChannelHandle, inbox: Inbox) -> WorkerEntry:
        self.inbox = inbox
        self._report.channel = channel.session
        executor = self.executor
        self.entry = WorkerEntry(
            self.worker_id,
            max(1, self.incarnation),
            self.capacity,
            self.participant,
            executor.submit if executor is not None else self._hand_in,
            call_off=executor.cancel if executor is not None else self._take_back,
            origin=self.origin,
            executor=executor,
            executor_name=self._kind if executor is not None else "inbox",
            inbox=inbox,
            supervised=self.supervised,
            since_s=runtime().now(),
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
        entry.watch = watch(entry.participant, lambda down: self._exited(entry, down))

    def _exited(self, entry: WorkerEntry, down: Down) -> None:
        entry.active = False
        entry.exited = down
        if self.origin.draining:  # it has left, then
            self.origin.retired = True
        if not entry.comes_back:
            self.note_gone(down.reason)
        if self.channel is not None:
            self.channel.session.notice(orders.WorkerDown(entry, down))

    def give_up(self, reason: ExitReason) -> None:
        """There will be no further incarnation."""
        self.origin.retired = True
        self.note_gone(reason)
        if self.channel is not None and self.entry is not None:
            self.channel.session.notice(orders.GiveUp(self.entry))

    def retire(self) -> None:
        """Offer the worker no more, whatever becomes of it. Any thread, also in a finaliser."""
        self.origin.retired = True
        if self.entry is not None:
            self.entry.active = False

    def let_go(self) -> None:
        """Watch nothing any more, and take no more work."""
        self._supervisor_watch.cancel()
        if self.entry is not None and self.entry.watch is not None:
            self.entry.watch.cancel()
        if self.inbox is not None:
            self.inbox.close()

    def note_gone(self, reason: ExitReason) -> None:
        """Remember the first reason for which the worker is gone for good."""
        if self.exit_reason is None:
            self.exit_reason = reason
        self.gone.set()
        self.origin.say_drained()

    # --- a worker that fetches its own work ---------------------------------------------------------------------

    def respond(self, message_id: str, result: Completed | Failed) -> bool:
        """Take the answer to what was fetched; `False` if it is not wanted (any more)."""
        attempt = self._fetched.pop(message_id, None)
        if attempt is None:
            return False
        wanted = not attempt.claimed
        following = self._report.finished(attempt, result)
        if following is not None:
            self._hand_in(following)
        return wanted

    def _hand_in(self, attempt: Attempt) -> None:
        """Deliver to the desk. Runs on the channel's turn."""
        channel, desk, conversation = self.channel, attempt.entry.inbox, attempt.conversation
        assert channel is not None, "a channel delivers"
        request = DispatchRequest(
            conversation_id=conversation.id, request=attempt.request, priority=conversation.priority
        )
        try:
            payload = encode_request(request)
        except Exception as error:  # noqa: BLE001 - what cannot be encoded is the caller's failure
            self._report.finished(attempt, failure(error))
            return
        envelope = Envelope(
            message_id=_message_id(attempt),
            payload=payload,
            schema_id=channel.schema.id,
            publisher_id=conversation.workflow_id,
            timestamp=datetime.fromtimestamp(runtime().wall_time(), UTC),
        )
        desk.hand_in(attempt, envelope)

    def _take_back(self, attempt: Attempt) -> None:
        """Free the slot of an attempt that was decided before it was fetched; else it is kept until the answer."""
        if attempt.entry.inbox.withdraw(_message_id(attempt)):
            self._report.returned(attempt, ExitReason.normal())


def _message_id(attempt: Attempt) -> str:
    return f"{attempt.conversation.id}#{attempt.number}"
