"""A host's consuming: opens and closes consumers so that the broker sends what `Credit` allows.

Runs on the I/O thread.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import topology
from ._credit import TICK_S, Credit, Worker
from ._session import CUT_OFF, Session, Then
from ._tap import Close, Open, Tap
from .io import BrokerIO
from .parcels import Delivery
from .topology import Route

logger = logging.getLogger("limen")

_PACE_S = 1.0
"""How often a host that takes nothing more acknowledges what has ended meanwhile."""

_AT_A_TIME = 16
"""How many acknowledgements it makes of that at most. Source: see `_receipts`."""

_MOST_AT_LAST = 1 << 20
"""At the very end there is no later."""

OnRequest = Callable[[Route, Delivery], object]


class Intake:
    """The consumers of one process, on one connection after another."""

    def __init__(
        self, io: BrokerIO, process: str, on_request: OnRequest, look: Callable[[], Mapping[Route, int]]
    ) -> None:
        self._io = io
        self._process = process
        self._on_request = on_request
        self._look = look
        """Called with each tick; gives how much is held that uses no slot."""
        self._credit = Credit()
        self._session: Session | None = None
        self._taps: dict[Route, Tap] = {}
        self._ready: set[Route] = set()
        """Routes whose queues are known to be there on this connection."""
        self._preparing: Session | None = None
        """The connection on which something is being declared."""
        self._waiting: list[Then] = []
        self._tags = 0
        self._ended: Counter[Route] = Counter()
        self._ticking = False
        self._stopped: Callable[[], object] | None = None
        self._shut: Callable[[], object] | None = None
        """While nothing is taken: who is to be told when nothing can come any more."""
        self._is_over = False
        """Whether nothing will be taken any more, and what was is acknowledged at leisure."""
        self._is_acknowledging = False

    @property
    def session(self) -> Session | None:
        """The connection, if there is one."""
        return self._session

    # --- what is wanted -----------------------------------------------------------------------------------------

    def serve(self, channel: str, workers: Iterable[Worker]) -> None:
        """Take what these workers, and no others, can do on a channel."""
        self._credit.serve(channel, workers)
        self._prepare()

    def when_ready(self, then: Then) -> None:
        """Call `then` when all that is to be declared and consumed is, or with what went wrong."""
        self._waiting.append(then)
        self._prepare()

    def add_lane(self, route: Route) -> bool:
        """Take from this queue too if its type is served here, and make it if nobody has; say whether it is new."""
        if route in self._credit.routes():
            return False
        self._credit.add_lane(route)
        self._prepare()
        return True

    def pause(self, channel: str, *, on: bool) -> None:
        """Take nothing of a channel, or take it again."""
        self._credit.pause(channel, on=on)
        self._apply()

    def queues(self) -> list[topology.Queue]:
        """List the queues that are to be there. They will be, when `up` is called."""
        routes = self._credit.routes()
        self._ready = set(routes)
        channels = dict.fromkeys(route.channel for route in routes)
        return [*(topology.dead_queue(each) for each in channels), *(route.queue for route in routes)]

    # --- the connection -----------------------------------------------------------------------------------------

    def up(self, session: Session, then: Then) -> None:
        """Begin afresh on a new connection, on which all of `queues` are declared."""
        self._session = session
        self._taps.clear()
        self._look_for_lanes(self._credit.kinds(), then)
        self._prepare()

    def down(self) -> None:
        """The connection is gone, and the consumers with it."""
        self._session = None
        self._taps.clear()
        self._ready.clear()
        self._prepared(CUT_OFF)

    def _prepare(self) -> None:
        """Declare what is not known to be there, and consume it. One thing at a time.

        A queue that is declared twice at once may be told to be there before it can be consumed.
        """
        session = self._session
        if session is None:  # the next connection begins with all that there is
            self._prepared(CUT_OFF)
            return
        if self._preparing is session:
            return
        new = [route for route in self._credit.routes() if route not in self._ready]
        if not new:
            self._apply()
            self._prepared(None)
            return
        self._preparing = session
        queues = [*(topology.dead_queue(each.channel) for each in new), *(each.queue for each in new)]

        def go_on(problem: str | None) -> None:
            self._preparing = None
            if problem is None:
                self._prepare()
            else:
                self._prepared(problem)

        def declared(problem: str | None) -> None:
            if problem is None:
                self._ready.update(new)
                self._look_for_lanes([route for route in new if route.normal == route], go_on)
            else:
                go_on(problem)

        session.declare([], list(dict.fromkeys(queues)), declared)

    def _prepared(self, problem: str | None) -> None:
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(problem)

    def _look_for_lanes(self, kinds: list[Route], then: Then) -> None:
        """Find the queues that others have made for these types before we listened."""
        session, wanted = self._session, [lane for kind in kinds for lane in kind.others]
        left = len(wanted)

        def looked(lane: Route, consumers: int | None, _: int) -> None:
            nonlocal left
            left -= 1
            if consumers is not None:
                self._credit.add_lane(lane)
                self._ready.add(lane)
            if left == 0:
                self._apply()
                then(None)

        if session is None or not wanted:
            self._apply()
            then(None)
            return
        for lane in wanted:
            session.look(lane.key, functools.partial(looked, lane))

    # --- consumers ----------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        """Have as many consumers, with as much credit, as there should be."""
        session = self._session
        if session is None:
            return
        closing = self._stopped or self._shut
        limits = {} if closing is not None else self._credit.limits()
        for route in [*limits, *(each for each in self._taps if each not in limits)]:
            if route in limits and route not in self._ready:
                continue
            tap = self._taps.setdefault(route, Tap())
            for step in tap.steps(limits.get(route, 0)):
                self._carry_out(session, route, tap, step)
        if closing is not None and not any(tap.is_busy for tap in self._taps.values()):
            closing()

    def _carry_out(self, session: Session, route: Route, tap: Tap, step: Open | Close) -> None:
        match step:
            case Open(prefetch):
                self._tags += 1
                tag = topology.short(f"{self._process}:{self._tags}:{route.key}")
                tap.opened(tag, prefetch)
                session.consume(
                    route.key,
                    tag,
                    prefetch,
                    functools.partial(self._came, route, tap),
                    on_lost=functools.partial(self._lost, route, tag),
                    then=_ignore,
                )
            case Close(tag):
                tap.closing(tag)
                session.cancel(tag, functools.partial(self._closed, tap, tag))

    def _closed(self, tap: Tap, tag: str, problem: str | None) -> None:
        tap.closed(tag)
        if problem is None:
            self._apply()

    def _lost(self, route: Route, tag: str) -> None:
        """The broker has ended a consumer: its queue was deleted, or moved."""
        logger.warning("queue %s was taken away; it is made again", route.key)
        tap = self._taps.get(route)
        if tap is not None:
            tap.closed(tag)
        self._ready.discard(route)
        session = self._session

        def again(problem: str | None) -> None:
            if problem is not None and session is not None:
                self._io.broken(session, problem)

        self.when_ready(again)

    def _came(self, route: Route, tap: Tap, delivery: Delivery) -> None:
        tap.delivered(delivery.consumer)
        if not self._ticking:
            self._ticking = True
            self._io.later(TICK_S, self._tick)
        self._on_request(route, delivery)

    def acknowledge(self, route: Route, delivery: Delivery) -> None:
        """Let the broker forget a request, and send another; of no effect on another connection than its own."""
        session = self._session
        if session is None or session.number != delivery.session:
            return
        if self._is_over:
            session.acknowledge_later(delivery.tag)
            self._acknowledge_soon(session)
        else:
            session.acknowledge(delivery.tag)
        self._ended[route] += 1
        tap = self._taps.get(route)
        if tap is not None:
            tap.acknowledged(delivery.consumer)

    def _tick(self) -> None:
        """Move credit to where the work is, for as long as anything is held."""
        held = {route: tap.held for route, tap in self._taps.items()}
        self._ticking = any(held.values())
        if self._ticking:
            self._io.later(TICK_S, self._tick)
        self._credit.tick(held, self._ended, self._look())
        self._ended.clear()
        self._apply()

    def shut(self, then: Callable[[], object]) -> None:
        """Take nothing until `reopen`; `then` is called when nothing can come any more."""
        self._shut = then
        self._apply()

    def reopen(self) -> None:
        """Take again."""
        self._shut = None
        self._apply()

    def _acknowledge_soon(self, session: Session) -> None:
        if not self._is_acknowledging:
            self._is_acknowledging = True
            self._io.later(_PACE_S, functools.partial(self._acknowledge_some, session))

    def _acknowledge_some(self, session: Session) -> None:
        self._is_acknowledging = False

        def read(is_all: bool) -> None:  # noqa: FBT001 - told by value
            if not is_all:
                self._acknowledge_soon(session)

        if session is self._session:
            session.acknowledge_all(_AT_A_TIME, read)

    def finish(self, then: Callable[[], object]) -> None:
        """Acknowledge what was put off; `then` is called when the broker has read that. Nothing more is taken."""
        session = self._session
        self._is_over, self._stopped = False, _nothing
        if session is None:
            then()
        else:
            session.acknowledge_all(_MOST_AT_LAST, lambda _: then())

    def stop(self, then: Callable[[], object]) -> None:
        """Take nothing more; `then` is called when nothing can come any more.

        What ends from then on is acknowledged now and then, and with `finish`: it makes no room for anything.
        """

        def stopped() -> None:
            self._is_over = self._session is not None
            then()

        self._stopped = stopped
        if self._session is None:
            then()
        self._apply()


def _nothing() -> None:
    """Be told nothing more."""


def _ignore(_: Any) -> None:
    """Be a callback."""
