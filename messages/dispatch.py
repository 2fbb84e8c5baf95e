"""The three messages of a dispatch: request, response, acknowledgement.

Each exposes the content type under which the codec puts it on the wire.
"""

from enum import StrEnum
from typing import Any, ClassVar

import attrs

from ._checks import instance_of, named, whole
from .activities import ActivityRequest, ActivityResult, Completed, Failed

__all__ = ["MAX_PRIORITY", "AckStatus", "DispatchAck", "DispatchRequest", "DispatchResponse"]

MAX_PRIORITY = 2**31 - 1
"""The highest priority; the lowest is its negative."""


class AckStatus(StrEnum):
    """What became of a request on its arrival."""

    ACCEPTED = "accepted"
    """It was taken, and goes to a worker at once."""
    DEFERRED = "deferred"
    """It was taken and waits for its turn; whoever sent it should slow down."""
    REJECTED = "rejected"
    """It was not taken, and will never run."""


def _priority(instance: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    whole(instance, attribute, value)
    if abs(value) > MAX_PRIORITY:
        raise ValueError(f"{attribute.name} must be from {-MAX_PRIORITY} to {MAX_PRIORITY}")


@attrs.frozen(kw_only=True)
class DispatchRequest:
    """Ask a channel to hand one activity to one worker."""

    CONTENT_TYPE: ClassVar[str] = "application/vnd.aion.dispatch.request+json"

    conversation_id: str = attrs.field(validator=named)
    request: ActivityRequest = attrs.field(validator=instance_of(ActivityRequest))
    priority: int = attrs.field(default=0, validator=_priority)
    """Higher goes first; equal priorities keep arrival order."""


@attrs.frozen(kw_only=True)
class DispatchResponse:
    """What a worker made of the activity."""

    CONTENT_TYPE: ClassVar[str] = "application/vnd.aion.dispatch.response+json"

    worker_id: str = attrs.field(validator=named)
    result: ActivityResult = attrs.field(validator=instance_of(Completed, Failed))


@attrs.frozen(kw_only=True)
class DispatchAck:
    """Say what became of a request on its arrival."""

    CONTENT_TYPE: ClassVar[str] = "application/vnd.aion.dispatch.ack+json"

    conversation_id: str = attrs.field(validator=named)
    status: AckStatus = attrs.field(converter=AckStatus)
