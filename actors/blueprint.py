"""How a worker is made, and made again: what every incarnation of it has in common.

The supervisor calls `start` for each incarnation. The first is inserted by whoever registers it; later ones arm their
watch and join the pool by themselves, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pykka import ActorRef

from ..messages.activities import WorkerCapacity
from ..messages.codec import encode_request
from ..messages.dispatch import DispatchRequest
from ..messages.lifecycle import Down, ExitReason
from . import _orders as orders
from .attempt import Attempt, Executor, Handler
from .channel_handle import ChannelHandle
from .entry import WorkerEntry
from .runtime import runtime
from .subscription import Inbox
from .watching import watch
from .worker import ExecutorName, WorkerActor, WorkerReport, make_executor


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
    ) -> None:
        self.worker_id = worker_id
        self.capacity = capacity
        self.participant = participant
        self.owned = participant is None
        self.supervised = supervised
        self.incarnation = 0
        self.channel: ChannelHandle | None = None
        self.entry: WorkerEntry | None = None
        self.inbox: Inbox | None = None
        self.assigned: dict[str, Attempt] = {}
        """What an inbox worker has been given and has not answered, by message id."""
        self.gone = runtime().create_event()
        self.exit_reason: ExitReason | None = None
        self._handlers = handlers
        self._kind: ExecutorName = executor
        self._report = WorkerReport()
        self.executor: Executor | None = None
        self.supervisor: ActorRef[Any] | None = None
        """Under which our participant lives, as the child `child_id`."""
        self.child_id = ""

    def start(self) -> ActorRef[Any]:
        """Start an incarnation; a later one joins the pool by itself. Never blocks."""
        self.incarnation += 1
        if self._handlers is not None:
            self._report = WorkerReport()
            self.executor = make_executor(
                self._kind, self._handlers, self.capacity.max_concurrent, self._report, self.worker_id
            )
        try:
            self.participant = WorkerActor.start(self.worker_id, self.executor)
        except BaseException:
            if self.executor is not None:
                self.executor.close()
            raise
        self._report.worker = self.participant
        if self.incarnation > 1 and self.channel is not None:
            self.inbox = Inbox()  # the last one was closed with its incarnation
            self.channel.session.notice(orders.Subscribe(self.inbox))
            self.make_entry(self.channel)
            self.arm()
            self.channel.session.notice(orders.Join(self._entry))
        return self.participant

    def make_entry(self, channel: ChannelHandle) -> WorkerEntry:
        """Make the entry of the present incarnation, not yet offered."""
        self.channel = channel
        self._report.channel = channel.session
        executor = self.executor
        self.entry = WorkerEntry(
            self.worker_id,
            max(1, self.incarnation),
            self.capacity,
            self.participant,
            executor.submit if executor is not None else self._to_inbox,
            executor=executor,
            executor_name=self._kind if executor is not None else "inbox",
            inbox=self.inbox,
            supervised=self.supervised,
            since_s=runtime().now(),
        )
        return self.entry

    def arm(self) -> None:
        """Watch the participant: from now on its end takes the entry out of the pool."""
        entry = self._entry
        entry.watch = watch(self.participant, lambda down: self._exited(entry, down))

    def give_up(self, reason: ExitReason) -> None:
        """There will be no further incarnation."""
        self.note_gone(reason)
        if self.channel is not None:
            self.channel.session.notice(orders.GiveUp(self.worker_id))

    def note_gone(self, reason: ExitReason) -> None:
        """Remember the first reason for which the worker is gone for good."""
        if self.exit_reason is None:
            self.exit_reason = reason
        self.gone.set()

    @property
    def _entry(self) -> WorkerEntry:
        assert self.entry is not None
        return self.entry

    def _exited(self, entry: WorkerEntry, down: Down) -> None:
        entry.active = False
        entry.exited = down
        if not self.supervised or down.reason.is_normal:
            self.note_gone(down.reason)
        if self.channel is not None:
            self.channel.session.notice(orders.WorkerDown(entry, down))

    def _to_inbox(self, attempt: Attempt) -> None:
        """Deliver to a worker that fetches its own work."""
        from datetime import UTC, datetime

        from ..messages.activities import Failed
        from ..messages.envelope import Envelope

        assert self.channel is not None
        assert self.inbox is not None
        conversation = attempt.conversation
        message_id = f"{conversation.id}#{attempt.number}"
        request = DispatchRequest(
            conversation_id=conversation.id, request=attempt.request, priority=conversation.priority
        )
        try:
            payload = encode_request(request)
        except Exception as error:  # noqa: BLE001 - what cannot be encoded is the caller's failure
            self.channel.session.notice(orders.Finished(attempt, Failed(error), answered=False))
            return
        self.assigned[message_id] = attempt
        envelope = Envelope(
            message_id=message_id,
            payload=payload,
            schema_id=self.channel.schema.id,
            publisher_id=conversation.workflow_id,
            timestamp=datetime.fromtimestamp(runtime().wall_time(), UTC),
        )
        self.inbox.offer(envelope)
