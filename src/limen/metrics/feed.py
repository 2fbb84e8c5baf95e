"""Fills a registry: counters from what channels tell as it happens, gauges from their books when somebody looks."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..actors import _orders as orders
from ..actors.channel_session import ChannelSession
from ..messages.errors import LimenError
from ..messages.events import Event, EventKind, Outcome
from ..messages.pool import ChannelFigures, PoolRow
from . import names
from .names import Measure
from .registry import Reading, Registry

if TYPE_CHECKING:
    from .._engine import Port

_COUNTED = frozenset(
    {EventKind.CONCLUDED, EventKind.DEFERRED, EventKind.RETRIED, EventKind.PUBLISHED, EventKind.CRASHED}
)
"""Kinds of events that are heard: one for an ordinary request."""

_making = Lock()
"""Held while a registry is given its feed, so that it gets one."""


def follow(channel: Port, registry: Registry) -> None:
    """Fill a registry with what happens on a channel from now on, until the channel is closed. Idempotent.

    `channel`: a `ChannelHandle`, or what stands for a channel of this process.
    """
    feed_of(registry).follow(channel.session.local)


def feed_of(registry: Registry) -> Feed:
    """Give the one feed of a registry."""
    with _making:
        for source in registry.sources:
            if isinstance(source, Feed):
                return source
        feed = Feed(registry)
        registry.add_source(feed)
        return feed


class Feed:
    """What fills a registry. A channel is not kept alive by it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._channels: dict[str, _Counters] = {}
        self._sessions: tuple[weakref.ref[ChannelSession], ...] = ()
        self._lock = Lock()
        self._completed = _counters(registry, names.COMPLETION_COUNT).labels()
        self._errors = _counters(registry, names.ERROR_COUNT).labels()
        self._duration = _histograms(registry, names.DURATION).labels()

    # --- following ----------------------------------------------------------------------------------------------

    def follow(self, session: ChannelSession) -> None:
        """Listen to a channel that may be in use. Blocks until it knows, at most for as long as an order may take."""
        if not self._keep(session):
            return
        order = orders.Listen(self.take, kinds=_COUNTED)
        try:
            session.ask(order)
        except LimenError:  # it has just crashed; whatever comes in its place hears of it
            session.notice(order)

    def adopt(self, session: ChannelSession) -> None:
        """Listen to a channel that was made just now, without starting it."""
        if self._keep(session):
            session.listen(self.take, _COUNTED)

    def _keep(self, session: ChannelSession) -> bool:
        with self._lock:
            known = [each for each in self._sessions if (kept := each()) is not None and not kept.closed]
            if any(each() is session for each in known):
                return False
            self._sessions = (*known, weakref.ref(session))
        self._meet(session.name)  # so that its counters are there, at 0, before there is anything to count
        return True

    # --- what happens -------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Count an event. Called on a channel's turn; never blocks."""
        channel = self._channels.get(event.channel_name) or self._meet(event.channel_name)
        match event.kind:
            case EventKind.CONCLUDED:
                self._concluded(event, channel)
            case EventKind.DEFERRED:
                channel.deferred.add()
            case EventKind.RETRIED:
                channel.retries.add()
            case EventKind.PUBLISHED:
                channel.messages.add()
                _observe_ms(channel.delivery, event.took_s)
            case EventKind.CRASHED if event.conversation_id is not None:
                channel.process_crashes.add()
            case EventKind.CRASHED:
                channel.crashes.add()
                _observe_ms(channel.removal, event.took_s)
            case _:
                return

    def _concluded(self, event: Event, channel: _Counters) -> None:
        outcome = event.outcome or Outcome.FAILED
        channel.outcomes[outcome].add()
        channel.attempts.add(event.attempts)
        if outcome is Outcome.COMPLETED:
            self._completed.add()
        elif outcome is not Outcome.CANCELLED:
            self._errors.add()
        if outcome is Outcome.REJECTED:
            channel.rejected.add()
        if event.took_s is not None:
            self._duration.observe(event.took_s)

    def _meet(self, channel_name: str) -> _Counters:
        return self._channels.setdefault(channel_name, _Counters(self._registry, channel_name))

    # --- how things stand ---------------------------------------------------------------------------------------

    def read(self) -> Iterable[Reading]:
        """Ask every channel that is in use for its figures. One that gives none is left out."""
        active = 0
        for session in [reference() for reference in self._sessions]:
            figures = _figures(session)
            if session is not None and figures is not None:
                active += figures.open
                yield from _readings(session.name, figures)
        yield _reading(names.ACTIVE_COUNT, active)


class _Counters:
    """What is counted of one channel, looked up once."""

    def __init__(self, registry: Registry, channel: str) -> None:
        self.messages = _counters(registry, names.MESSAGE_RATE).labels(channel)
        self.delivery = _histograms(registry, names.DELIVERY_LATENCY).labels(channel)
        self.rejected = _counters(registry, names.REJECT_COUNT).labels(channel)
        self.deferred = _counters(registry, names.DEFER_COUNT).labels(channel)
        outcomes = _counters(registry, names.DISPATCH_COUNT)
        self.outcomes = {each: outcomes.labels(channel, each) for each in Outcome}
        self.attempts = _counters(registry, names.ATTEMPT_COUNT).labels(channel)
        self.retries = _counters(registry, names.RETRY_COUNT).labels(channel)
        self.crashes = _counters(registry, names.CRASH_COUNT).labels(channel)
        self.process_crashes = _counters(registry, names.PROCESS_CRASH_COUNT).labels(channel)
        self.removal = _histograms(registry, names.REMOVAL_LATENCY).labels(channel)


def _counters(registry: Registry, measure: Measure) -> Any:
    return registry.counters(measure.name, measure.labels, help_text=measure.help)


def _histograms(registry: Registry, measure: Measure) -> Any:
    return registry.histograms(measure.name, measure.labels, buckets=measure.buckets, help_text=measure.help)


def _observe_ms(histogram: Any, took_s: float | None) -> None:
    if took_s is not None:
        histogram.observe(took_s * 1000)


def _figures(session: ChannelSession | None) -> ChannelFigures | None:
    """Ask a channel that is still there, unless that would start it."""
    if session is None or session.closed or not session.incarnation:
        return None
    with contextlib.suppress(LimenError):
        figures: ChannelFigures = session.ask(orders.Measure())
        return figures
    return None


def _readings(channel: str, figures: ChannelFigures) -> Iterator[Reading]:
    yield _reading(names.SUBSCRIBER_COUNT, figures.subscribers, channel)
    yield _reading(names.QUEUE_DEPTH, figures.waiting + figures.unread, channel)
    yield _reading(names.DEAD_LETTER_COUNT, figures.dead_letters, channel)
    yield _reading(names.REGISTERED_COUNT, len(figures.workers), channel)
    yield _reading(names.BUSY_COUNT, sum(row.in_flight > 0 for row in figures.workers), channel)
    for row in figures.workers:
        yield _reading(names.IN_FLIGHT, row.in_flight, channel, row.worker_id)
        yield _reading(names.SLOTS, row.max_concurrent, channel, row.worker_id)
        yield _reading(names.ABANDONED, row.abandoned, channel, row.worker_id)
        yield _reading(names.CAPACITY_UTILIZATION, _utilization(row), row.worker_id)


def _utilization(row: PoolRow) -> float:
    return (row.in_flight + row.queued) / row.max_concurrent if row.max_concurrent else 0.0


def _reading(measure: Measure, value: float, *labels: str) -> Reading:
    return Reading(measure.name, value, tuple(zip(measure.labels, labels, strict=True)), measure.help)
