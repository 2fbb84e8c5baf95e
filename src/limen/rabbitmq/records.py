"""What a recorder is told of a request that is carried out elsewhere: the asker writes it, from what hosts say.

The same operations in the same order as where all is in one process, but for their times: an attempt is told when the
news of it comes, or with the outcome. Several threads may bring news of one request.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..actors._dead_letters import belongs
from ..actors._recording import keep, keep_end
from ..actors._texts import text_of
from ..actors.conversation import Conversation
from ..actors.recorder import Recorder
from ..messages.activities import Completed, Failed
from ..messages.attempts import AttemptView
from ..messages.dead_letters import DeadLetter
from ..messages.errors import ActivityCancelled, ActivityTimedOut, RecorderFailed, WorkerCrashed
from ..messages.operations import ActivityState, Operation, OperationKind


def record_letter(recorder: Recorder | None, letter: DeadLetter, kind: OperationKind) -> None:
    """Note what is about to be done to a dead letter. Raises `RecorderFailed`, and then it must not be done."""
    if recorder is None:
        return
    try:
        recorder.record(Operation(kind=kind, conversation_id=letter.id, channel_name=letter.channel_name))
    except BaseException as error:
        raise RecorderFailed(letter.channel_name, letter.workflow_id, str(kind), ran=False) from error


def open_record(call: Conversation) -> RecorderFailed | None:
    """Note that it is asked for, if it has a recorder; give what goes wrong, and then it must not be."""
    return _keep(call, OperationKind.CONVERSATION_OPENED, state=ActivityState.SCHEDULED)


def join_record(call: Conversation, first_id: str) -> RecorderFailed | None:
    """Note that it shares the work of an earlier one, if it has a recorder; give what goes wrong."""
    return _keep(call, OperationKind.CONVERSATION_JOINED, message=first_id)


class Record:
    """The record of one request that has a recorder, and is opened."""

    def __init__(self, call: Conversation) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._told = 0
        """Of how many attempts it is noted that they were given to a worker."""
        self._ended = 0
        """Of how many it is noted how they ended."""

    def follow(self, attempts: Sequence[AttemptView]) -> RecorderFailed | None:
        """Note what is new of its attempts; give what goes wrong, and then it must be given up."""
        with self._lock:
            return self._follow(attempts, None)

    def close(self, attempts: Sequence[AttemptView], outcome: Completed | BaseException) -> None:
        """Note its end. A good result stands even if that fails."""
        with self._lock:
            failure = self._follow(attempts, outcome)
            if isinstance(outcome, BaseException):
                if failure is not None:
                    outcome.add_note(str(failure))
                if belongs(self._call, outcome):
                    self._keep(OperationKind.DEAD_LETTERED, message=text_of(outcome))
            keep_end(self._call, outcome)

    def _follow(
        self, attempts: Sequence[AttemptView], outcome: Completed | BaseException | None
    ) -> RecorderFailed | None:
        failure = None
        for index, attempt in enumerate(attempts):
            is_last = index == len(attempts) - 1
            if index >= self._told:
                self._told = index + 1
                failure = failure or self._keep(OperationKind.WORKER_SELECTED, attempt, state=ActivityState.STARTED)
                failure = failure or self._keep(OperationKind.MESSAGE_SENT, attempt)
            if index >= self._ended and (outcome is not None or not is_last):
                self._ended = index + 1
                failure = failure or self._end(attempt, outcome if is_last else None)
        return failure

    def _end(self, attempt: AttemptView, outcome: Completed | BaseException | None) -> RecorderFailed | None:
        """Note how an attempt ended; without an outcome, another one followed."""
        error, received = attempt.error, OperationKind.MESSAGE_RECEIVED
        if error is None and isinstance(outcome, Completed):
            return self._keep(received, attempt, state=ActivityState.COMPLETED, result=outcome)
        if (error is None and outcome is not None) or isinstance(error, ActivityCancelled):
            return None
        if error is None or isinstance(error, WorkerCrashed):
            why = "it is handed on" if error is None else str(error)
            return self._keep(
                OperationKind.WORKER_EXITED, attempt, state=ActivityState.FAILED, message=why, retryable=True
            )
        goes_on = outcome is None
        if isinstance(error, ActivityTimedOut):
            state, result, retryable = ActivityState.TIMED_OUT, None, True
        else:
            state, result, retryable = ActivityState.FAILED, Failed(error, retryable=goes_on), goes_on
        failure = self._keep(received, attempt, state=state, result=result, message=text_of(error), retryable=retryable)
        if goes_on and failure is None:
            failure = self._keep(OperationKind.ACTIVITY_RETRIED, message=text_of(error), retryable=True)
        return failure

    def _keep(self, kind: OperationKind, attempt: AttemptView | None = None, **fields: Any) -> RecorderFailed | None:
        return _keep(self._call, kind, attempt, **fields)


def _keep(
    call: Conversation, kind: OperationKind, attempt: AttemptView | None = None, **fields: Any
) -> RecorderFailed | None:
    if call.recorder is None:
        return None
    attempted: Any = attempt
    error = keep(call, call.operation(kind, attempted, **fields))
    if error is None:
        return None
    failure = RecorderFailed(call.channel_name, call.workflow_id, str(kind), ran=attempt is not None)
    failure.__cause__ = error
    return failure
