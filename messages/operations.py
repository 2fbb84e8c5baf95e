"""What a conversation reports to its recorder: the operations of a dispatch, in the order in which they happen.

The record alone can answer the same request again.
"""

from enum import StrEnum

import attrs

from .activities import ActivityResult

__all__ = ["ActivityState", "Operation", "OperationKind"]


class OperationKind(StrEnum):
    """What happened."""

    CONVERSATION_OPENED = "conversation_opened"
    CONVERSATION_JOINED = "conversation_joined"
    """It shares the work of an earlier one with its key, whose id is the message."""
    WORKER_SELECTED = "worker_selected"
    MESSAGE_SENT = "message_sent"
    MESSAGE_RECEIVED = "message_received"
    WORKER_EXITED = "worker_exited"
    ACTIVITY_RETRIED = "activity_retried"
    REJECTED = "rejected"
    """There was no room for it, or the channel sheds load."""
    DEAD_LETTERED = "dead_lettered"
    """It is given up, and kept among the dead letters."""
    REQUEUED = "requeued"
    """After the close: its dead letter was taken out, and the conversation is opened once more."""
    DISCARDED = "discarded"
    """After the close: its dead letter was thrown away."""
    CONVERSATION_CLOSED = "conversation_closed"


class ActivityState(StrEnum):
    """How far the activity is."""

    SCHEDULED = "scheduled"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    """Its dispatcher ended first. That is no outcome: the request may be made again under the same id."""


@attrs.frozen(kw_only=True)
class Operation:
    """One thing that happened in a conversation."""

    kind: OperationKind
    conversation_id: str
    channel_name: str
    worker_id: str | None = None
    incarnation: int | None = None
    """Of that worker."""
    attempt: int | None = None
    """Which try it was, 1 for the first."""
    state: ActivityState | None = None
    result: ActivityResult | None = None
    message: str | None = None
    """The text of a failure."""
    retryable: bool | None = None
    """Whether a failure may go away when the activity is tried again; None where nothing failed."""

    def of(self, conversation_id: str) -> "Operation":
        """Give the same operation as one of another conversation."""
        return attrs.evolve(self, conversation_id=conversation_id)

    def __attrs_post_init__(self) -> None:
        # One check for all fields: five of these are made for each dispatch.
        if not isinstance(self.kind, OperationKind):
            raise TypeError(f"kind must be an OperationKind, not {type(self.kind).__name__}")
        if not self.conversation_id or not self.channel_name:
            raise ValueError("an operation belongs to a conversation and a channel; neither may be empty")
