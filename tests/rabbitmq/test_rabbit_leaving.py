"""A host that leaves in good order: what it began it has acknowledged, so that nothing of it begins again elsewhere."""

import functools
import queue
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from drillkit import wait_until
from facekit import LONG_S, Work, in_the_background
from linkkit import Hold

from limen import Limen
from limen.rabbitmq._ledger import Held
from limen.rabbitmq.host import Host
from limen.rabbitmq.parcels import Delivery, Parcel
from limen.rabbitmq.topology import CONTROL, Route

TIMEOUT_S = 30
MANY = 200
ROUTE = Route("aion.dispatch.default.work", "work")


@pytest.fixture
def at():
    """Give gated work."""
    made = Work()
    yield made
    made.gate.set()


@pytest.mark.broker
@pytest.mark.slow
def test_many_that_end_together_as_their_host_leaves_are_all_acknowledged(broker, vhost, url, asker, at):
    """However many: the broker has taken in all it was told when the connection is closed. Three times."""
    for round_ in range(3):
        host = Limen(url)
        host.worker("work", [at.work], max_concurrent=MANY)
        handles = [asker.dispatch(at.work, number) for number in range(MANY)]
        at.wait_begun(MANY)
        thread, _ = in_the_background(lambda: host.close(drain=LONG_S))  # noqa: B023 - joined here
        wait_until(lambda: takes_nothing(host))  # noqa: B023 - called here
        at.gate.set()
        thread.join(TIMEOUT_S)
        at.gate.clear()

        assert [handle.result(TIMEOUT_S) for handle in handles] == list(range(MANY))
        assert broker.ready(vhost, ROUTE.key) == 0, round_


def takes_nothing(host: Any) -> bool:
    """Whether the broker has said that it sends nothing more."""
    intake = host._engine._host._intake
    return intake._stopped is not None and not any(tap.is_busy for tap in list(intake._taps.values()))


def is_quiet(io: Any) -> bool:
    """Whether there is nothing to be sent or confirmed, as the I/O thread sees it."""
    seen: queue.SimpleQueue[bool] = queue.SimpleQueue()
    io.do(lambda: seen.put(not io._inbox and not io._outbox))
    return seen.get(timeout=TIMEOUT_S)


@pytest.mark.broker
@pytest.mark.slow
def test_what_is_said_as_a_connection_is_closed_is_sent(asker: Limen) -> None:
    """It is not in the outbox yet when the end is asked for, and comes of something that is yet to be taken in."""
    engine: Any = asker._engine
    io, busy = engine._io, Hold()
    problems: list[object] = []
    io.wait_up(TIMEOUT_S)
    wait_until(lambda: is_quiet(io))
    parcel = Parcel(
        exchange=CONTROL,
        key="nobody",
        body=b"",
        content_type="",
        message_id="last",
        mandatory=False,
        done=problems.append,
    )
    io.do(busy)
    busy.wait()
    io.do(lambda: io.publish(parcel))
    thread, _ = in_the_background(lambda: io.close(TIMEOUT_S))
    wait_until(lambda: len(io._inbox) >= 2)  # what is to be said, and the end
    busy.let_go()
    thread.join(TIMEOUT_S)

    assert problems == [None]


class Now:
    """An I/O thread that does everything at once, and has no connection."""

    def do(self, function: Callable[[], object]) -> None:
        """Do it."""
        function()

    def later(self, delay_s: float, function: Callable[[], object]) -> None:
        """Never come to that."""


def leaving(*, session: Any) -> tuple[Any, Held, list[str]]:
    """Make a host that is about to go and has begun one request; and a list that says when it may."""
    none: Any = SimpleNamespace()
    io: Any = Now()
    host: Any = Host(io, "default", "p", announce_lane=lambda _: None, census=none, learn=lambda _: None)
    host._intake._session = session
    delivery = Delivery(queue=ROUTE.key, consumer="c", tag=1, session=1, body=b"")
    held = host._ledger.take("one", ROUTE, delivery)
    held.is_local = True
    said: list[str] = []
    host._go(functools.partial(said.append, "over"))
    return host, held, said


def test_a_host_goes_when_what_it_began_is_over() -> None:
    """Also if an outcome comes a moment after the local channel is closed; and at once if nobody could be told."""
    connection = SimpleNamespace(number=2, acknowledge_all=lambda _, then: then(True))
    host, held, said = leaving(session=connection)
    assert said == []
    host._drop(held)
    assert said == ["over"]

    host, _, said = leaving(session=connection)
    host.down()
    assert said == ["over"]
    assert leaving(session=None)[2] == ["over"]
