"""What is said to a channel from inside the house. Values only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ..messages.activities import Completed, Failed
from ..messages.events import Event
from ..messages.lifecycle import Down, ExitReason
from .attempt import Attempt
from .conversation import Conversation
from .entry import WorkerEntry


@attrs.frozen(eq=False)
class Finished:
    """An attempt has a result; its slot is free. `answered`: the caller has it already."""

    attempt: Attempt
    result: Completed | Failed
    answered: bool


@attrs.frozen(eq=False)
class Crashed:
    """What ran an attempt died; the worker lives."""

    attempt: Attempt
    reason: ExitReason


@attrs.frozen(eq=False)
class Returned:
    """An attempt never began to run."""

    attempt: Attempt
    reason: ExitReason


@attrs.frozen(eq=False)
class WorkerDown:
    """A worker's participant ended."""

    entry: WorkerEntry
    down: Down


@attrs.frozen(eq=False)
class Join:
    """Let a worker be offered; its watch is armed."""

    entry: WorkerEntry


@attrs.frozen(eq=False)
class Leave:
    """Offer a worker no more: it was unregistered."""

    entry: WorkerEntry


@attrs.frozen(eq=False)
class GiveUp:
    """No further incarnation of this worker will come."""

    worker_id: str


@attrs.frozen(eq=False)
class SetManual:
    """The worker's owner uses so many slots himself."""

    entry: WorkerEntry
    slots: int


@attrs.frozen(eq=False)
class TakeSlot:
    """The worker's owner wants one more slot for himself."""

    entry: WorkerEntry


@attrs.frozen(eq=False)
class GiveSlot:
    """The worker's owner gives one slot back."""

    entry: WorkerEntry


@attrs.frozen(eq=False)
class Snapshot:
    """Show the live workers, through a function of the entry, in registration order."""

    show: Callable[[WorkerEntry], Any]
    activity_type: str | None = None


@attrs.frozen(eq=False)
class Deploy:
    """Let another router decide: a built-in one, or a routing function."""

    router: Any


@attrs.frozen(eq=False)
class Cancel:
    """Give up a conversation."""

    conversation: Conversation


@attrs.frozen(eq=False)
class TimedOut:
    """A limit of a conversation ran out; for `start_to_close`, of this attempt."""

    conversation: Conversation
    limit: str
    limit_s: float
    attempt: Attempt | None = None


@attrs.frozen(eq=False)
class Resume:
    """A conversation's pause is over."""

    conversation: Conversation


@attrs.frozen(eq=False)
class Routed:
    """The routing function answered, or failed."""

    conversation: Conversation
    answer: Any
    offered: tuple[str, ...]


@attrs.frozen(eq=False)
class Publish:
    """Fan a payload out to every subscriber."""

    payload: bytes
    publisher_id: str
    causal_context: object | None = None


@attrs.frozen(eq=False)
class Subscribe:
    """Add a subscriber: an inbox made by the asker."""

    inbox: Any


@attrs.frozen(eq=False)
class Unsubscribe:
    """Remove a subscriber."""

    inbox: Any


@attrs.frozen(eq=False)
class Evolve:
    """Put another schema in force."""

    evolve: Callable[[Any], Any]


@attrs.frozen(eq=False)
class Listen:
    """Call this with every event, or, with `on=False`, call it no more. It must not block."""

    listener: Callable[[Event], object]
    on: bool = True


@attrs.frozen(eq=False)
class Close:
    """Close every conversation, forget every subscriber, and stop."""
