"""The one event stream of a channel: the same events that move the work, for whoever wants to watch."""

from __future__ import annotations

from enum import StrEnum

import attrs


class EventKind(StrEnum):
    """What happened."""

    REGISTERED = "registered"
    UNREGISTERED = "unregistered"
    CRASHED = "crashed"
    """A worker, or a process of its, died other than by request."""
    DISPATCHED = "dispatched"
    REDISPATCHED = "redispatched"
    FINISHED = "finished"
    FAILED = "failed"
    RETRIED = "retried"
    """An attempt failed, and there will be another after a pause."""
    TIMED_OUT = "timed_out"
    """A limit ran out."""
    CANCELLED = "cancelled"
    """Its caller gave it up."""


@attrs.frozen(kw_only=True)
class Event:
    """One thing that happened on a channel."""

    kind: EventKind
    channel_name: str
    at_s: float
    """On the runtime's monotonic clock."""
    worker_id: str | None = None
    incarnation: int | None = None
    conversation_id: str | None = None
    activity_type: str | None = None
    detail: str = ""
    """Why, for a crash, a failure or another try."""
