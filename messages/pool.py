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
# ten thousand workers. So these begin as a kind of their own that is open, and are closed for good when they are made.
# Their parts are known to be right.

if TYPE_CHECKING:
    _OpenView, _OpenWorker, _OpenRow = ConsumerStateView, DispatchWorker, PoolRow
else:

    class _OpenView(ConsumerStateView):
        __slots__ = ()
        __init__, __setattr__, __delattr__ = object.__init__, object.__setattr__, object.__delattr__

    class _OpenWorker(DispatchWorker):
        __slots__ = ()
        __init__, __setattr__, __delattr__ = object.__init__, object.__setattr__, object.__delattr__

    class _OpenRow(PoolRow):
        __slots__ = ()
        __init__, __setattr__, __delattr__ = object.__init__, object.__setattr__, object.__delattr__


_new = object.__new__


def view_of(
    consumer: str, current_in_flight: int, max_in_flight: int, buffer_depth: int, affinity_tags: tuple[str, ...]
) -> ConsumerStateView:
    """Make a view."""
    made: Any = _new(_OpenView)
    made.consumer = ConsumerId(consumer)
    made.current_in_flight = current_in_flight
    made.max_in_flight = max_in_flight
    made.buffer_depth = buffer_depth
    made.affinity_tags = affinity_tags
    made.__class__ = ConsumerStateView
    return made  # type: ignore[no-any-return]  # it is one by now


def worker_of(worker_id: str, participant: Any, figures: Figures) -> DispatchWorker:
    """Make the worker of a snapshot; its view, of which the figures are given, is made when it is looked at."""
    made: Any = _new(_OpenWorker)
    made.worker_id = worker_id
    made.participant = participant
    made._figures = figures  # noqa: SLF001 - the other half of `_Figured`
    made.__class__ = DispatchWorker
    return made  # type: ignore[no-any-return]  # as above


def row_of(  # noqa: PLR0917 - in the order of the fields, as a row is made
    worker_id: str,
    incarnation: int,
    executor: str,
    max_concurrent: int,
    in_flight: int,
    activity_types: tuple[str, ...],
    since_s: float,
    queued: int,
    draining: bool,  # noqa: FBT001 - as above
    abandoned: int,
) -> PoolRow:
    """Make a row."""
    made: Any = _new(_OpenRow)
    made.worker_id = worker_id
    made.incarnation = incarnation
    made.executor = executor
    made.max_concurrent = max_concurrent
    made.in_flight = in_flight
    made.activity_types = activity_types
    made.since_s = since_s
    made.queued = queued
    made.draining = draining
    made.abandoned = abandoned
    made.__class__ = PoolRow
    return made  # type: ignore[no-any-return]  # as above
