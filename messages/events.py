"""The one event stream of a channel: the same events that move the work, for whoever wants to watch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

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
    PROGRESS = "progress"
    """An activity said how far it has got; told at most ten times a second for each request, the latest word."""
    TIMED_OUT = "timed_out"
    """A limit ran out."""
    PRESSURE = "pressure"
    """A policy took effect, or no longer does, as the workers are fuller or emptier than they were."""
    CANCELLED = "cancelled"
    """Its caller gave it up."""
    JOINED = "joined"
    """A request shares the work of an earlier one with its key, or has its result."""
    DEAD_LETTERED = "dead_lettered"
    """A request was given up, and is among the dead letters."""
    REQUEUED = "requeued"
    """A dead letter is being tried again."""
    DISCARDED = "discarded"
    """A dead letter was thrown away, by request or because there was no more room."""
    DEFERRED = "deferred"
    """A request was taken, but has to wait for a slot."""
    REJECTED = "rejected"
    """A request was refused on its arrival: there was no room to wait in."""
    CONCLUDED = "concluded"
    """A request has its one outcome, whatever it went through. Told once for each."""
    PUBLISHED = "published"
    """A message was put into the inboxes of those who subscribed."""
    PAUSED = "paused"
    """The channel: nothing starts any more."""
    RESUMED = "resumed"
    DRAINING = "draining"
    """A worker, or with no worker named the whole queue, ends what it has and takes nothing new."""


class Outcome(StrEnum):
    """How a request ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    """The activity raised for the last time, or a router or recorder failed."""
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    """There was no room to wait in."""
    UNSERVED = "unserved"
    """No worker could ever serve it."""
    POISON = "poison"
    """It was there too often when a worker died."""
    CLOSED = "closed"
    """The channel was closed first, or is down for good."""


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
    """Why, for a crash, a failure or another try; the error's text for a request that ended without a result."""
    outcome: Outcome | None = None
    """For a request that is concluded."""
    attempts: int = 0
    """For a request that is concluded: how many attempts it had; none for one that joined the work of another."""
    took_s: float | None = None
    """For a request that is concluded, from being accepted to its outcome, `None` if it was accepted before anybody
    listened. For a worker that crashed, from its death to its removal from the pool. For a message that was published,
    from the call to the last inbox."""
    progress: Any = None
    """What was reported, for progress: plain data."""
