"""What a pool looks like from outside: detached rows, safe to keep.

A row is a copy; the pool moves on without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .limits import Limit

MAX_IN_FLIGHT = 2**32 - 1
"""The largest capacity a view shows; a larger one is clamped to it."""


class ConsumerId(str):
    """Who may be chosen by a routing function: a worker's id."""

    __slots__ = ()


@attrs.frozen
class ConsumerStateView:
    """What a routing function may know of one worker. Source: behaviour RT-01."""

    consumer: ConsumerId
    current_in_flight: int = 0
    max_in_flight: int = 1
    buffer_depth: int = 0
    affinity_tags: tuple[str, ...] = ()

    @property
    def available_capacity(self) -> int:
        """Free slots, never negative."""
        return max(0, self.max_in_flight - self.current_in_flight)

    @property
    def has_capacity(self) -> bool:
        """Whether one more activity fits."""
        return self.current_in_flight < self.max_in_flight

    def has_affinity(self, tag: str) -> bool:
        """Whether the worker carries exactly this tag."""
        return tag in self.affinity_tags


Figures = tuple[int, int, int, tuple[str, ...]]
"""All of a view but whose it is, in the order of its fields. Many workers have the same."""


class _Figured:
    """Holds what the view of a worker is made of, until it is."""

    __slots__ = ("_figures",)

    _figures: Figures


@attrs.frozen
class DispatchWorker(_Figured):
    """One worker of a snapshot: its id, the participant behind it and what a router sees of it."""

    worker_id: str
    participant: Any = None
    consumer_state: ConsumerStateView = attrs.field(
        default=attrs.Factory(lambda self: ConsumerStateView(ConsumerId(self.worker_id)), takes_self=True)
    )

    if not TYPE_CHECKING:  # to which it would mean that there is nothing it has not

        def __getattr__(self, name: str) -> Any:
            """Make the view when it is first looked at, if the worker came without one."""
            if name != "consumer_state":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            view = view_of(self.worker_id, *self._figures)
            object.__setattr__(self, name, view)
            return view


@attrs.frozen(kw_only=True)
class ChannelFigures:
    """What a channel holds at one instant, in figures that agree with each other."""

    workers: tuple[PoolRow, ...]
    waiting: int
    """Requests that wait for a slot."""
    open: int
    """Requests without an outcome: those that wait, run, or are between two tries."""
    subscribers: int
    unread: int
    """Published messages that subscribers have not read yet."""
    dead_letters: int


@attrs.frozen
class PoolRow:
    """One worker as an operator wants to see it."""

    worker_id: str
    incarnation: int
    executor: str
    """`thread`, `asyncio`, `process`, or `inbox` for a worker that fetches its own work."""
    max_concurrent: int
    in_flight: int
    activity_types: tuple[str, ...]
    since_s: float
    """When this incarnation joined, on the runtime's monotonic clock."""
    queued: int = 0
    """Short activities that a process worker holds in advance, so that its children need not wait for the next."""
    draining: bool = False
    """Whether it ends what it has, gets nothing new, and then leaves."""
    abandoned: int = 0
    """Threads or coroutines that go on with what was called off, and have no slot any more."""

    @property
    def free(self) -> int:
        """Slots that would take work now."""
        return 0 if self.draining else max(0, self.max_concurrent - self.in_flight)

    @property
    def host(self) -> str:
        """Which process the worker is in, where a broker lies between; empty for this process."""
        return ""

    @property
    def is_stale(self) -> bool:
        """Whether this is what its host said last, and did not say again when it was asked now."""
        return False


@attrs.frozen
class HostedRow(PoolRow):
    """A worker of a process behind a broker, perhaps of this one. Its id is unique on its host."""

    host: str = ""  # pyright: ignore[reportIncompatibleMethodOverride]
    is_stale: bool = False  # pyright: ignore[reportIncompatibleMethodOverride]


@attrs.frozen(kw_only=True)
class TypeRow:
    """One activity type of a queue."""

    activity_type: str
    waiting: int
    running: int
    limit: Limit | None = None


@attrs.frozen(kw_only=True)
class QueueRow:
    """One queue as an operator wants to see it."""

    channel_name: str
    paused: bool
    waiting: int
    """Requests that have not been given to a worker, those between two tries apart."""
    running: int
    """Attempts that workers hold; what is cancelled counts until it has ended."""
    bound: int
    """How many may wait."""
    outside: int = 0
    """Of those that wait, how many are beyond that: their callers wait for room."""
    types: tuple[TypeRow, ...] = ()
    """The activity types of which something waits, runs or is limited, by name."""

    @property
    def queue(self) -> str:
        """Its name, as it is given to `Limen`."""
        return self.channel_name.rpartition(".")[2]


# --- many at once -------------------------------------------------------------------------------------------------
# A frozen value is filled in by a function call for each field, which takes longer than all else about a snapshot of
# ten thousand workers. So these begin as a kind of their own that is open. Whoever makes one fills in all its fields,
# which are known to be right, and then closes it for good, by giving it the class of which it is to be.

if TYPE_CHECKING:
    OpenView: type[Any]
    OpenWorker: type[Any]
    OpenRow: type[Any]
else:

    class OpenView(ConsumerStateView):
        """What is to be a view."""

        __slots__ = ()
        __init__, __setattr__, __delattr__ = object.__init__, object.__setattr__, object.__delattr__

    class OpenWorker(DispatchWorker):
        """What is to be the worker of a snapshot: with `_figures` in place of the view, which is made at first look."""

        __slots__ = ()
        __init__, __setattr__, __delattr__ = object.__init__, object.__setattr__, object.__delattr__

    class OpenRow(PoolRow):
        """What is to be a row."""

        __slots__ = ()
        __init__, __setattr__, __delattr__ = object.__init__, object.__setattr__, object.__delattr__


def view_of(
    consumer: str, current_in_flight: int, max_in_flight: int, buffer_depth: int, affinity_tags: tuple[str, ...]
) -> ConsumerStateView:
    """Make a view."""
    view: ConsumerStateView
    view = made = OpenView()
    made.consumer = ConsumerId(consumer)
    made.current_in_flight = current_in_flight
    made.max_in_flight = max_in_flight
    made.buffer_depth = buffer_depth
    made.affinity_tags = affinity_tags
    made.__class__ = ConsumerStateView
    return view
