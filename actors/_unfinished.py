"""Names the requests that a drain leaves undone."""

from __future__ import annotations

from ..messages.drain import Fate, Unfinished
from ..messages.lifecycle_errors import ShutDown
from .attempt import Attempt
from .conversation import CLOSED, Conversation, Phase


def unfinished(conversation: Conversation, stage: Phase, fate: Fate, attempt: Attempt | None = None) -> Unfinished:
    """Name a request by what it was doing, in this attempt or else in its last, and by what became of it."""
    attempt = attempt or next(reversed(conversation.work.attempts), None)
    return Unfinished(
        conversation_id=conversation.id,
        activity_type=conversation.activity_type,
        queue=conversation.channel_name.rpartition(".")[2],
        stage=stage.value,
        attempts=attempt.number if attempt else 0,
        worker_id=attempt.worker_id if attempt else None,
        fate=fate,
    )


def callers_of(conversation: Conversation) -> list[Conversation]:
    """Give those who wait for it and have no outcome: its caller, or those of the key that it goes under."""
    if conversation.claim is None:
        return [conversation]
    return [each for each in conversation.claim.callers if each.phase is not CLOSED]


def shut_down(conversation: Conversation, stage: Phase, channel_name: str) -> ShutDown:
    """Make the error of a request that the end of its dispatcher left undone."""
    work = conversation.work
    attempts = work.attempts
    error = ShutDown(
        channel_name,
        conversation.workflow_id,
        conversation.activity_type,
        stage.value,
        len(attempts),
        attempts[-1].worker_id if attempts else None,
    )
    error.__cause__ = work.errors[-1] if work.errors else work.last_crash
    return error
