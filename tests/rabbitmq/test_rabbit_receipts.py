"""Receipts that are put off: each is given once, in few words, and none for what is still under way."""

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from pika.frame import decode_frame

from limen.rabbitmq._intake import Intake
from limen.rabbitmq._receipts import Receipts
from limen.rabbitmq._session import Session
from limen.rabbitmq.parcels import Delivery
from limen.rabbitmq.topology import Route

ROUTE = Route("c", "t")


def receipts(delivered: int, put_off: set[int]) -> Receipts:
    """Make those of a channel that has delivered so much."""
    made = Receipts()
    for tag in range(1, delivered + 1):
        made.delivered(tag)
    for tag in put_off:
        made.put_off(tag)
    return made


def test_all_that_has_ended_is_said_in_one_word():
    """And nothing twice."""
    made = receipts(500, set(range(1, 501)))

    assert made.frames(16) == [(500, True)]
    assert made.frames(16) == []


def test_what_is_under_way_stands_between_them():
    """What comes before it is one word, what comes behind it one each; what was acknowledged at once stands nowhere."""
    made = receipts(9, {1, 3, 5, 6, 8})
    made.given(2)
    made.given(7)

    assert made.frames(2) == [(3, True), (5, False), (6, False)]
    assert made.put_off_tags == {8}
    assert made.frames(2) == [(8, False)]


@given(st.integers(0, 40), st.data(), st.integers(0, 9))
def test_each_is_given_once_and_no_other(delivered, data, singles):
    """In whatever order they end: what a broker makes of the words is what was put off."""
    tags = st.sets(st.integers(1, max(1, delivered)))
    at_once, put_off = data.draw(tags), data.draw(tags)
    made = receipts(delivered, set())
    open_ = set(range(1, delivered + 1)) - at_once
    for tag in at_once:
        made.given(tag)
    for tag in put_off:
        made.put_off(tag)
    wanted = put_off & open_

    for _ in range(delivered + 1):
        frames = made.frames(singles)
        assert len(frames) <= singles + 1
        for tag, multiple in frames:
            told = {each for each in open_ if each <= tag} if multiple else {tag}
            assert told
            assert told <= wanted
            open_ -= told
    assert singles == 0 or not open_ & wanted


class Channel:
    """One that answers when it is asked to."""

    is_open = True
    channel_number = 2

    def __init__(self) -> None:
        self.answer: Any = None

    def basic_qos(self, *, prefetch_count: int, callback: Any) -> None:
        """Answer later."""
        assert prefetch_count
        self.answer = callback


class Wire:
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        self.ioloop = self
        self._written = b""
        self._later: list[Any] = []

    def call_later(self, _: float, function: Any) -> None:
        """Do it before anybody looks."""
        self._later.append(function)

    def _output_marshaled_frames(self, frames: list[bytes]) -> None:
        self._written += b"".join(frames)

    def acks(self) -> list[tuple[int, bool]]:
        """List all that has been acknowledged."""
        while self._later:
            self._later.pop()()
        found, rest, read = [], self._written, cast("Any", decode_frame)
        while rest:
            size, frame = read(rest)
            found.append((frame.method.delivery_tag, frame.method.multiple))
            rest = rest[size:]
        return found


def finishing(count: int) -> tuple[Session, Channel, Wire, Intake]:
    """Make an intake that has taken so much and then stopped."""
    wire, channel = Wire(), Channel()
    session = Session(1, wire, lambda _: None, lambda _: None)
    session._work = channel
    io: Any = SimpleNamespace(later=lambda *_: None)
    intake = Intake(io, "p", lambda *_: None, dict)
    intake._session = session
    for tag in range(1, count + 1):
        session._receipts.delivered(tag)
    intake.stop(lambda: None)
    return session, channel, wire, intake


def delivery(tag: int) -> Delivery:
    """Make one."""
    return Delivery(queue="q", consumer="c", tag=tag, session=1, body=b"")


def test_what_ends_after_a_host_has_stopped_is_acknowledged_together_at_its_end():
    """The broker keeps back what is acknowledged one by one, and may forget it when the channel is closed."""
    _, channel, wire, intake = finishing(100)
    for tag in range(100, 0, -1):
        intake.acknowledge(ROUTE, delivery(tag))
    assert wire.acks() == []
    said: list[str] = []
    intake.finish(lambda: said.append("over"))
    assert (wire.acks(), said) == ([(100, True)], [])

    channel.answer(None)
    assert said == ["over"]


def test_what_ends_later_still_is_acknowledged_at_once():
    """Nothing comes after the end that could say it."""
    _, _, wire, intake = finishing(2)
    intake.finish(lambda: None)
    intake._apply()
    intake.acknowledge(ROUTE, delivery(2))

    assert wire.acks() == [(2, False)]


def test_the_end_of_the_connection_is_an_end_too():
    """Nobody waits for an answer that does not come."""
    session, _, _, intake = finishing(1)
    said: list[str] = []
    intake.finish(lambda: said.append("over"))
    session.ended()
    intake.finish(lambda: said.append("again"))

    assert said == ["over", "again"]
