"""What is said to a channel from inside the house. Values only."""

from __future__ import annotations

import _thread
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from ..messages.activities import Completed, Failed, WorkerCapacity
from ..messages.channel import Delivery
from ..messages.envelope import Envelope
from ..messages.errors import ConfigError
from ..messages.events import Event, EventKind
from ..messages.lifecycle import Down, ExitReason
from ..messages.limits import Limit
from ..messages.pressure import PressurePolicy
from ._decisions import Ask
from ._gates import Gate
from .attempt import Attempt
from .conversation import Conversation
from .entry import WorkerEntry

if TYPE_CHECKING:
    from ..messages.dead_letters import DeadLetter
    from ..messages.schema import Schema


@attrs.frozen(eq=False, repr=False)
class Finished:
    """An attempt has a result; its slot is free. `answered`: the caller has it already."""

    attempt: Attempt
    result: Completed | Failed
    answered: bool


@attrs.frozen(eq=False, repr=False)
class Progressed:
    """An attempt has reported progress, and those who follow events are to hear of it."""

    attempt: Attempt
    conversation: Conversation


@attrs.frozen(eq=False, repr=False)
class Crashed:
    """What ran an attempt died; the worker lives."""

    attempt: Attempt
    reason: ExitReason


@attrs.frozen(eq=False, repr=False)
class Returned:
    """An attempt never began to run."""

    attempt: Attempt
    reason: ExitReason


@attrs.frozen(eq=False, repr=False)
class WorkerDown:
    """A worker's participant ended."""

    entry: WorkerEntry
    down: Down


@attrs.frozen(eq=False, repr=False)
class Join:
    """Subscribe a worker's inbox and let the worker be offered; its watch is armed."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class Rejoin:
    """The same for the next incarnation of a worker, unless it was unregistered meanwhile."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class Leave:
    """Offer a worker no more, whichever incarnation of it is here: it was unregistered."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class GiveUp:
    """No further incarnation of this worker will come; that was the last."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class Drain:
    """Give a worker nothing new; its origin knows whom to tell when it has done all that it has."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class SetManual:
    """The worker's owner uses so many slots himself."""

    entry: WorkerEntry
    slots: int


@attrs.frozen(eq=False, repr=False)
class TakeSlot:
    """The worker's owner wants one more slot for himself."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class GiveSlot:
    """The worker's owner gives one slot back."""

    entry: WorkerEntry


@attrs.frozen(eq=False, repr=False)
class Snapshot:
    """Show the live workers, in registration order, through a function of all: it leaves out who is not active."""

    show: Callable[[Iterable[WorkerEntry]], list[Any]]
    activity_type: str | None = None
    activity: Any = None
    """What reads the result, where that comes from elsewhere."""


@attrs.frozen(eq=False, repr=False)
class Measure:
    """Give the channel's figures, as `ChannelFigures`."""


@attrs.frozen(eq=False, repr=False)
class ShowQueue:
    """Show the channel as a queue: who waits, what runs, what is limited."""


@attrs.frozen(eq=False, repr=False)
class Declare:
    """See to it that requests of these types are kept; gives the names of what was made for that."""

    activity_types: tuple[str, ...]


@attrs.frozen(eq=False, repr=False)
class Deploy:
    """Let another router decide: a built-in one, or a routing function."""

    router: Any


@attrs.frozen(eq=False, repr=False)
class Cancel:
    """Give up a conversation."""

    conversation: Conversation


@attrs.frozen(eq=False, repr=False)
class CancelAll:
    """Give up many."""

    conversations: tuple[Conversation, ...]


@attrs.frozen(eq=False, repr=False)
class Withdraw:
    """Give up a conversation if no worker has it; else leave it alone."""

    conversation: Conversation


@attrs.frozen(eq=False, repr=False)
class TimedOut:
    """A limit of a conversation ran out; for `start_to_close`, of this attempt."""

    conversation: Conversation
    limit: str
    limit_s: float
    attempt: Attempt | None = None


@attrs.frozen(eq=False, repr=False)
class Resume:
    """A conversation's pause is over."""

    conversation: Conversation


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Setting:
    """How the channel is to treat its requests. May be carried out twice, and so outlives a crash of the actor."""

    keeper: object = None
    """The channel's own handle, if it is to be kept alive while this is in force."""


@attrs.frozen(eq=False, repr=False)
class SetPaused(Setting):
    """Let nothing start any more, or go on."""

    paused: bool


@attrs.frozen(eq=False, repr=False)
class SetLimit(Setting):
    """Limit an activity type from now on; with `None` no longer."""

    activity_type: str
    limit: Limit | None


@attrs.frozen(eq=False, repr=False)
class SetBound(Setting):
    """Let so many requests wait; with `None` as many as by default."""

    waiting: int | None


@attrs.frozen(eq=False, repr=False)
class SetPolicies(Setting):
    """Let these policies act on the channel's pressure, in place of those before; none leave it to itself."""

    policies: tuple[PressurePolicy, ...]


@attrs.frozen(eq=False, repr=False)
class ShowPressure:
    """Show how full the workers are, and which policies hold."""


@attrs.frozen(eq=False, repr=False)
class NoRoom:
    """The caller of this one has waited for room as long as he would."""

    conversation: Conversation


@attrs.frozen(eq=False, repr=False)
class TokenDue:
    """A gate's next token is there."""

    gate: Gate


@attrs.frozen(eq=False, repr=False)
class Routed:
    """The routing function answered, or failed."""

    ask: Ask
    answer: Any


@attrs.frozen(eq=False, repr=False)
class Revocable:
    """An order that whoever gave it may give up before it is carried out: whoever claims it first has it."""

    _unclaimed: _thread.LockType = attrs.field(init=False, factory=_thread.allocate_lock, repr=False)

    def claim(self) -> bool:
        """Take it, to carry it out or to see that nobody does; `True` for the first caller only."""
        return self._unclaimed.acquire(blocking=False)


@attrs.frozen(eq=False, repr=False)
class ListLetters:
    """Show the dead letters."""


@attrs.frozen(eq=False, repr=False)
class Requeue(Revocable):
    """Try a dead letter again, if it is of this type; gives the conversation.

    `channel` is the handle that keeps the channel alive meanwhile.
    """

    letter_id: str
    channel: Any
    activity_type: str | None = None
    activity: Any = None
    """What reads the result, where that comes from elsewhere."""


@attrs.frozen(eq=False, repr=False)
class Discard(Revocable):
    """Throw a dead letter away; gives it."""

    letter_id: str


def _count(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(attribute.name, f"must be an int of 0 or more, not {value!r}")


def _seconds(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, (int, float)) and value >= 0):
        raise ConfigError(attribute.name, f"must be 0 s or more, not {value!r}")


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Remember:
    """Keep so many dead letters, and so many ends of keyed work for so long, from now on. Raises `ConfigError`."""

    dead_letters: int | None = attrs.field(default=None, validator=_count)
    keys: int | None = attrs.field(default=None, validator=_count)
    ttl_s: float | None = attrs.field(default=None, validator=_seconds)


@attrs.frozen(eq=False, repr=False)
class Publish(Revocable):
    """Fan an envelope out to every subscriber, if this schema, which it has passed, is in force."""

    envelope: Envelope
    schema: Schema
    began_s: float
    """When publishing began, on the runtime's clock."""


@attrs.frozen(eq=False, repr=False)
class Published:
    """A message whose filters took their time is in the last inbox that wants it."""

    delivery: Delivery
    took_s: float


@attrs.frozen(eq=False, repr=False)
class Subscribe(Revocable):
    """Add a subscriber: an inbox made by the asker."""

    inbox: Any


@attrs.frozen(eq=False, repr=False)
class Unsubscribe:
    """Remove a subscriber."""

    inbox: Any


@attrs.frozen(eq=False, repr=False)
class Evolve(Revocable):
    """Put a schema in force, if the one that it grew from is."""

    old: Schema
    new: Schema


@attrs.frozen(eq=False, repr=False)
class Noticed:
    """Handle the oldest of the book's notices."""


@attrs.frozen(eq=False, repr=False)
class Listen:
    """Call this with every event of these kinds, or, with `on=False`, call it no more. It must not block."""

    listener: Callable[[Event], object]
    on: bool = True
    kinds: frozenset[EventKind] = frozenset(EventKind)


@attrs.frozen(eq=False, repr=False)
class WindDown:
    """Take nothing new, and say when nothing is left to do: the book's ending knows until when, and to whom."""


@attrs.frozen(eq=False, repr=False)
class Tell:
    """Let those who follow events hear what became of a request in other hands than the channel's."""

    kind: EventKind
    request: Conversation | DeadLetter
    detail: str = ""


@attrs.frozen(eq=False, repr=False)
class Watch:
    """Call this now, and whenever a worker comes, leaves or begins to, with all that take work, by id.

    It is called on the channel's turn, must not block, and costs requests nothing.
    """

    watcher: Callable[[dict[str, WorkerCapacity]], object]
    on: bool = True


@attrs.frozen(eq=False, repr=False)
class Close:
    """Close every conversation, forget every subscriber, and stop."""


@attrs.frozen(eq=False, repr=False)
class Arrived:
    """There is something in the tray."""


ARRIVED = Arrived()
