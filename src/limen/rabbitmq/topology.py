"""What there is on the broker, and under which names. Knows no client library.

| name | what | lives |
|---|---|---|
| exchange `limen.dispatch` | direct, durable: requests | for ever |
| queue `{channel}.{activity type}` | quorum: the requests of one type | for ever |
| queues `high:…`, `low:…`, `suspect:…` of the same | quorum: by priority, and those that run alone | from first need |
| exchange `limen.dead`, queue `limen.dead.{channel}` | direct, quorum: what was given up, with its history | for ever |
| queue `limen.types.{channel}` | quorum: which types have queues, each noted when it got one | for ever |
| queue `limen.channels.{namespace}` | quorum: which channels have types with queues | for ever |
| queue `limen.settings.{channel}` | whether it is paused: the latest word | from first need |
| queue `limen.trial.{channel}.{request}` | that it runs alone now, and may kill its host | until it has ended |
| queue `limen.replies.{process}` | one process's results | a while longer than the process |
| exchange `limen.results`, queue `limen.results.{namespace}` | results whose asker has gone | for ever |
| queue `limen.hosts.{namespace}` | always empty; each host consumes from it, and so is counted | for ever |
| exchange `limen.control`, queue `limen.control.{process}` | what is said to all of a namespace | as the process |
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

import attrs

from ..messages.names import ChannelName, dispatch_channel

DISPATCH = "limen.dispatch"
DEAD = "limen.dead"
RESULTS = "limen.results"
CONTROL = "limen.control"

MAX_NAME = 255
"""The most bytes that a queue's name and a routing key may have. Source: AMQP 0-9-1, short strings."""

_KEPT = 200
"""How many of a longer name's bytes are kept; the rest is told by its hash."""

REPLY_EXPIRES_MS = 600_000
"""How long a reply queue outlives its process."""

REPLY_TTL_MS = 10_000
"""After so long without its process, what is in a reply queue moves on to the results, where it can be collected."""

TRIAL_EXPIRES_MS = 86_400_000
"""How long it is remembered that a request had begun to run alone when its host died."""

RESULT_TTL_MS = 7 * 86_400_000
RESULTS_KEPT = 1_000_000

SAFETY_LIMIT = 100
"""Deliveries after which the broker itself gives a request up: far beyond what hosts allow."""


NO_LIMIT = 2**31 - 1
"""Dead letters and notes are looked at, which counts as a delivery, as often as somebody wants to."""


class Lane(StrEnum):
    """The ways on which requests of one type travel. All but the first exist only where they were needed."""

    NORMAL = ""
    HIGH = "high"
    LOW = "low"
    SUSPECT = "suspect"
    """For those that may have killed their hosts: one at a time, and nothing beside it."""


@attrs.frozen
class Queue:
    """A queue, and where it is bound."""

    name: str
    exchange: str
    key: str
    arguments: dict[str, Any] = attrs.field(factory=dict, eq=False)
    passing: bool = False
    """Whether it is for its one connection only, and gone with it."""
    noted: tuple[str, str] | None = attrs.field(default=None, eq=False)
    """On which channel it is noted when it is made, and for which type: nobody can list what a broker has."""


@attrs.frozen(cache_hash=True)
class Route:
    """One way of one activity type on one channel."""

    channel: str
    activity_type: str
    lane: Lane = Lane.NORMAL

    @property
    def normal(self) -> Route:
        """The way that is always there for this type."""
        return Route(self.channel, self.activity_type) if self.lane else self

    @property
    def others(self) -> list[Route]:
        """The ways of this type that may be there besides the normal one."""
        return [Route(self.channel, self.activity_type, lane) for lane in Lane if lane]

    @property
    def key(self) -> str:
        """The routing key, which is the queue's name too."""
        name = f"{self.channel}.{self.activity_type}"
        return short(f"{self.lane}:{name}" if self.lane else name)

    @property
    def queue(self) -> Queue:
        """Its queue."""
        arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": SAFETY_LIMIT,
            "x-dead-letter-exchange": DEAD,
            "x-dead-letter-routing-key": short(self.channel),
            # Without these two, what the broker itself gives up may be lost on its way to the dead letters.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        noted = None if self.lane else (self.channel, self.activity_type)
        return Queue(self.key, DISPATCH, self.key, arguments, noted=noted)


def lane_for(priority: int) -> Lane:
    """Choose the way for a priority; what is finer than that is kept among the requests that a host holds."""
    if priority == 0:
        return Lane.NORMAL
    return Lane.HIGH if priority > 0 else Lane.LOW


def channel_of(namespace: str, queue: str) -> str:
    """Name a queue's channel. Raises `InvalidChannelName`."""
    return str(dispatch_channel(namespace, queue))


def dead_queue(channel: str) -> Queue:
    """Where a channel's dead letters are kept."""
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}
    return Queue(short(f"limen.dead.{channel}"), DEAD, short(channel), arguments)


def types_queue(channel: str) -> Queue:
    """Where the activity types are noted that have queues."""
    name = short(f"limen.types.{channel}")
    return Queue(name, "", name, {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT})


def channels_queue(namespace: str) -> Queue:
    """Where the channels of a namespace are noted of which types have queues."""
    name = short(f"limen.channels.{namespace}")
    return Queue(name, "", name, {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT})


def namespace_of(channel: str) -> str:
    """Give the namespace that a channel is in."""
    return ChannelName.parse(channel).namespace


def settings_queue(channel: str) -> Queue:
    """Where the latest word about a channel is kept."""
    name = short(f"limen.settings.{channel}")
    return Queue(name, "", name, {"x-max-length": 1})


def trial_queue(channel: str, name: str) -> Queue:
    """Where it is noted that a request has begun to run alone."""
    name = short(f"limen.trial.{channel}.{name}")
    return Queue(name, "", name, {"x-queue-type": "quorum", "x-expires": TRIAL_EXPIRES_MS})


def reply_queue(namespace: str, process: str) -> Queue:
    """Where a process gets its results. What is left in it when the process is gone becomes a result to collect."""
    arguments = {
        "x-expires": REPLY_EXPIRES_MS,
        "x-message-ttl": REPLY_TTL_MS,
        "x-dead-letter-exchange": RESULTS,
        "x-dead-letter-routing-key": short(namespace),
    }
    name = f"limen.replies.{process}"
    return Queue(name, "", name, arguments)


def results_queue(namespace: str) -> Queue:
    """Where results are kept that nobody was there to take."""
    arguments = {"x-message-ttl": RESULT_TTL_MS, "x-max-length": RESULTS_KEPT}
    return Queue(short(f"limen.results.{namespace}"), RESULTS, short(namespace), arguments)


def hosts_queue(namespace: str) -> Queue:
    """Where each host has a consumer, and nothing ever lies: how many there are is how many hosts there are."""
    name = short(f"limen.hosts.{namespace}")
    return Queue(name, "", name)


def control_queue(namespace: str, process: str, session: int) -> Queue:
    """Where a process hears what is said to all; a new one for each connection, as the last may not be gone yet."""
    return Queue(f"limen.control.{process}.{session}", CONTROL, short(namespace), passing=True)


def short(name: str) -> str:
    """Give the name, or one of its own that fits where names are limited."""
    whole = name.encode()
    if len(whole) <= MAX_NAME:
        return name
    head = whole[:_KEPT].decode(errors="ignore")
    return f"{head}#{hashlib.sha256(whole).hexdigest()[:40]}"
