"""Writes into a conversation's record, which is the user's code and may fail in any way."""

from __future__ import annotations

import logging

from ..messages.activities import Completed, Failed
from ..messages.dispatch_errors import ActivityTimedOut
from ..messages.errors import ActivityCancelled
from ..messages.lifecycle_errors import ShutDown
from ..messages.operations import ActivityState, Operation, OperationKind
from ._texts import kind_and_text, text_of
from .conversation import Conversation

logger = logging.getLogger("limen")


def keep(conversation: Conversation, operation: Operation) -> BaseException | None:
    """Have an operation recorded; give what the recorder raises."""
    assert conversation.recorder is not None, "only what is on record gets here"
    try:
        conversation.recorder.record(operation)
    except BaseException as error:  # noqa: BLE001 - not even SystemExit may end the channel
        return error
    return None


def keep_end(conversation: Conversation, outcome: Completed | BaseException) -> None:
    """Have the end recorded, once. If only this fails, a good result stands and an earlier error keeps its place."""
    closed = conversation.operation(
        OperationKind.CONVERSATION_CLOSED,
        state=_end_state(outcome),
        result=_result_of(outcome),
        message=text_of(outcome) if isinstance(outcome, BaseException) else None,
    )
    error = keep(conversation, closed)
    if error is None:
        return
    logger.error("the end of conversation %s could not be recorded", conversation.id, exc_info=error)
    if isinstance(outcome, BaseException):
        outcome.add_note(f"its end could not be recorded: {kind_and_text(error)}")


def _result_of(outcome: Completed | BaseException) -> Completed | Failed | None:
    """Give what a replay shall answer; nothing where the dispatcher ended first, so that it can be asked again."""
    if isinstance(outcome, Completed):
        return outcome
    return None if isinstance(outcome, ShutDown) else Failed(outcome)


def _end_state(outcome: Completed | BaseException) -> ActivityState:
    match outcome:
        case Completed():
            return ActivityState.COMPLETED
        case ActivityTimedOut():
            return ActivityState.TIMED_OUT
        case ActivityCancelled():
            return ActivityState.CANCELLED
        case ShutDown():
            return ActivityState.ABANDONED
        case _:
            return ActivityState.FAILED
