"""How a dispatch ends without a result, and what is noted on the way: the words of a channel's core."""

from __future__ import annotations

from typing import Any

from ..messages.activities import Completed, Failed
from ..messages.dispatch_errors import (
    ActivityFailed,
    ActivityTimedOut,
    DispatchFailed,
    KeyConflict,
    LoadShed,
    NoWorkersAvailable,
    PoisonActivity,
    QueueFull,
    ScheduleToCloseTimedOut,
    ScheduleToStartTimedOut,
    StartToCloseTimedOut,
    UnknownWorkerSelected,
)
from ..messages.errors import WorkerCrashed
from ..messages.lifecycle import ExitReason
from ..messages.operations import ActivityState, OperationKind
from ._decisions import Note
from ._texts import text_of
from .attempt import Attempt
from .conversation import RUNNING, Conversation

_TIMED_OUT = {
    "schedule_to_start": ScheduleToStartTimedOut,
    "start_to_close": StartToCloseTimedOut,
    "schedule_to_close": ScheduleToCloseTimedOut,
}


class Verdicts:
    """Makes the errors and notes of one channel."""

    def __init__(self, name: str) -> None:
        self._name = name

    # --- errors -------------------------------------------------------------------------------------------------

    def taken(self, conversation: Conversation) -> DispatchFailed:
        """A conversation of this id is open already."""
        why = f"a conversation {conversation.id!r} is open on this channel; each request needs an id of its own"
        return DispatchFailed(self._name, conversation.workflow_id, why)

    def nobody(self, conversation: Conversation, served: tuple[str, ...], why: str = "") -> NoWorkersAvailable:
        """No worker may serve it."""
        error = NoWorkersAvailable(
            self._name,
            conversation.workflow_id,
            conversation.activity_type,
            served,
            why or _how_the_last_one_left(conversation),
        )
        error.__cause__ = conversation.last_crash
        return error

    def full(self, conversation: Conversation, waiting: int) -> QueueFull:
        """Too many wait."""
        return QueueFull(self._name, conversation.workflow_id, conversation.activity_type, waiting)

    def shed(self, conversation: Conversation, waiting: int, score: float) -> LoadShed:
        """It is not important enough for now."""
        kind = conversation.activity_type
        return LoadShed(self._name, conversation.workflow_id, kind, waiting, conversation.priority, score)

    def conflict(self, conversation: Conversation, key: str) -> KeyConflict:
        """Its key stands for something else."""
        return KeyConflict(self._name, conversation.workflow_id, conversation.activity_type, key)

    def unknown(self, conversation: Conversation, choice: str, offered: tuple[str, ...]) -> UnknownWorkerSelected:
        """The routing function chose somebody who was not on offer."""
        return UnknownWorkerSelected(self._name, conversation.workflow_id, choice, offered)

    def failed(self, conversation: Conversation, error: BaseException) -> DispatchFailed:
        """The activity raised, or took too long, for the last time."""
        if isinstance(error, ActivityTimedOut):
            return error
        failed = ActivityFailed(
            self._name,
            conversation.workflow_id,
            conversation.activity_type,
            conversation.attempts[-1].worker_id,
            type(error).__name__,
            text_of(error),
            len(conversation.errors),
        )
        failed.__cause__ = error
        return failed

    def crash(self, attempt: Attempt, reason: ExitReason) -> WorkerCrashed:
        """What ran the attempt died."""
        crash = WorkerCrashed(self._name, attempt.conversation.workflow_id, attempt.worker_id, str(reason))
        crash.__cause__ = reason.error
        return crash

    def poison(self, conversation: Conversation, attempt: Attempt) -> PoisonActivity:
        """It was there too often when a worker died."""
        poison = PoisonActivity(
            self._name,
            conversation.workflow_id,
            conversation.activity_type,
            conversation.crashes,
            attempt.worker_id,
        )
        poison.__cause__ = conversation.last_crash
        return poison

    def timed_out(self, conversation: Conversation, limit: str, limit_s: float, now_s: float) -> ActivityTimedOut:
        """A limit ran out."""
        work = conversation.work
        has_it = work.phase is RUNNING and limit != "schedule_to_start"
        attempt = work.attempts[-1] if has_it else None
        began_s = attempt.started_s if attempt is not None and limit == "start_to_close" else conversation.accepted_s
        return _TIMED_OUT[limit](
            self._name,
            conversation.workflow_id,
            limit,
            conversation.activity_type,
            attempt.worker_id if attempt is not None else None,
            now_s - (began_s if began_s is not None else now_s - limit_s),
            limit_s,
        )

    # --- notes: none where nobody records -----------------------------------------------------------------------

    def received(self, attempt: Attempt, result: Completed | Failed) -> list[Note]:
        """Note that a worker answered and the answer counts."""
        if isinstance(result, Completed):
            return _note(attempt, OperationKind.MESSAGE_RECEIVED, state=ActivityState.COMPLETED, result=result)
        return _note(
            attempt,
            OperationKind.MESSAGE_RECEIVED,
            state=ActivityState.FAILED,
            result=result,
            message=text_of(result.error),
            retryable=result.retryable,
        )

    def overdue(self, attempt: Attempt, error: ActivityTimedOut) -> list[Note]:
        """Note that a worker did not answer in time."""
        return _note(
            attempt,
            OperationKind.MESSAGE_RECEIVED,
            state=ActivityState.TIMED_OUT,
            message=str(error),
            retryable=True,
        )

    def exited(self, attempt: Attempt, reason: ExitReason) -> list[Note]:
        """Note that a worker was gone before it had answered."""
        return _note(
            attempt, OperationKind.WORKER_EXITED, state=ActivityState.FAILED, message=str(reason), retryable=True
        )

    def rejected(self, conversation: Conversation, error: QueueFull) -> list[Note]:
        """Note that there was no room for it."""
        if conversation.recorder is None:
            return []
        refused = conversation.operation(
            OperationKind.REJECTED, state=ActivityState.FAILED, message=text_of(error), retryable=True
        )
        return [Note(conversation, refused)]

    def retried(self, conversation: Conversation, error: BaseException) -> list[Note]:
        """Note that it will be tried again."""
        if conversation.recorder is None:
            return []
        retried = conversation.operation(OperationKind.ACTIVITY_RETRIED, message=text_of(error), retryable=True)
        return [Note(conversation, retried)]


def _note(attempt: Attempt, kind: OperationKind, **fields: Any) -> list[Note]:
    conversation: Conversation = attempt.conversation
    if conversation.recorder is None:
        return []
    return [Note(conversation, conversation.operation(kind, attempt, **fields))]


def _how_the_last_one_left(conversation: Conversation) -> str:
    if conversation.last_crash is not None:
        return f"the last one crashed: {conversation.last_crash}"
    return "the last one left before it had answered" if conversation.attempts else ""
