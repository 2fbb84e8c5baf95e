"""What is used of the client that it does not offer: it is still there, and does what it is used for."""

import select
import socket
import ssl
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from pika import ConnectionParameters, SelectConnection
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter
from pika.exceptions import ConnectionWrongStateError

from limen.rabbitmq._frames import publication
from limen.rabbitmq._loop import Loop
from limen.rabbitmq._session import CUT_OFF, Session
from limen.rabbitmq.dialling import _tls
from limen.rabbitmq.io import BrokerIO
from limen.rabbitmq.parcels import Parcel
from limen.rabbitmq.topology import Queue
from limen.rabbitmq.url import parse


@pytest.fixture
def ends():
    """Both ends of a connection."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.settimeout(5)
        yield near, far


@pytest.fixture
def writing(ends):
    """A session that writes to one of the ends, and the client's transport that it uses."""
    loop = IOLoop()
    transport = _AsyncPlaintextTransport(ends[0], SimpleNamespace(), SelectorIOServicesAdapter(loop))  # type: ignore[arg-type]
    write = SimpleNamespace(_transport=transport, bytes_sent=0)

    def output(frames: list[bytes]) -> None:
        for each in frames:
            transport.write(each)

    write._output_marshaled_frames = output
    session = Session(1, write, lambda _: None, lambda _: None)
    session._out, session._most = SimpleNamespace(channel_number=1), 1 << 17
    yield session, transport
    loop.close()


def parcel(body: bytes) -> Parcel:
    """Make one that says so much."""
    return Parcel(exchange="", key="k", body=body, content_type="", message_id="m")


def test_what_is_published_is_written_out_at_once(ends, writing):
    """In one piece, without a turn of the client's loop in between; once more is of no effect."""
    session, transport = writing
    one, two = parcel(b"one"), parcel(b"two")

    session.publish(one)
    session.publish(two)
    session.flush()
    session.flush()

    assert ends[1].recv(1000) == publication(1, one, 1 << 17) + publication(1, two, 1 << 17)
    assert transport.get_write_buffer_size() == 0


def test_what_the_system_does_not_take_is_left_to_the_client(ends, writing):
    """It comes after what has been sent, and before what is published later."""
    session, transport = writing
    large, small = parcel(b"x" * (1 << 22)), parcel(b"small")

    session.publish(large)
    session.flush()
    assert transport.get_write_buffer_size() > 0
    session.publish(small)
    session.flush()
    came = b""
    wanted = publication(1, large, 1 << 17) + publication(1, small, 1 << 17)
    while len(came) < len(wanted):
        came += ends[1].recv(1 << 20)
        if transport.get_write_buffer_size():
            transport._on_socket_writable()

    assert came == wanted


def test_nothing_is_written_to_a_connection_that_is_gone(ends, writing):
    """What was meant for it is dropped: the broker has forgotten what it would have been of."""
    session, _ = writing
    session.publish(parcel(b"late"))
    session.ended()
    session.flush()
    ends[0].shutdown(socket.SHUT_WR)

    assert ends[1].recv(100) == b""


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="elsewhere nobody gets the turn")
def test_the_turn_is_free_while_the_loop_waits_and_nothing_runs_while_another_has_it():
    """Whoever takes it may do what the loop's thread does otherwise; that goes on when it is given back."""
    turn = threading.Lock()
    loop = Loop(turn)
    ran = threading.Event()

    def run() -> None:
        with turn:
            loop.start()

    thread = threading.Thread(target=run)
    thread.start()
    assert turn.acquire(timeout=5)
    loop.add_callback_threadsafe(ran.set)
    assert not ran.wait(0.1)
    turn.release()
    assert ran.wait(5)
    loop.add_callback_threadsafe(loop.stop)
    thread.join(5)
    loop.close()

    assert not turn.locked()


def test_a_connection_says_how_large_its_frames_may_be_and_takes_what_is_written():
    """Both are the client's own, and not for others."""
    connection: Any = SelectConnection.__new__(SelectConnection)
    connection.params = ConnectionParameters(frame_max=5000)
    sent: list[bytes] = []
    connection._transport = SimpleNamespace(write=sent.append)
    connection.bytes_sent = connection.frames_sent = 0

    assert connection._get_body_frame_max_length() == 5000 - 8
    connection._output_marshaled_frames([b"a frame"])

    assert sent == [b"a frame"]
    assert connection.bytes_sent == len(b"a frame")


def test_authority_and_name_are_checked_unless_that_is_refused():
    """What is handed to the client for `amqps` verifies; with `verify=false` it does not; `amqp` has none."""
    made = _tls(parse("amqps://broker.example"))
    assert made is not None
    assert made.context.verify_mode is ssl.CERT_REQUIRED
    assert made.context.check_hostname
    assert made.server_hostname == "broker.example"

    refused = _tls(parse("amqps://broker.example?verify=false"))
    assert refused is not None
    assert refused.context.verify_mode is ssl.CERT_NONE
    assert _tls(parse("amqp://broker.example")) is None


def test_what_has_been_acknowledged_leaves_before_the_connection_is_closed():
    """An acknowledgement waits for others to leave with it; the close does not overtake it."""
    sent: list[str] = []
    io: Any = BrokerIO(parse("amqp://broker.example"), "p", lambda _: None, lambda: None)
    io._loop = SimpleNamespace(call_later=lambda *_: None)
    io._session = SimpleNamespace(flush=lambda: sent.append("acknowledgements"))
    io._connection = SimpleNamespace(
        is_open=True, is_closing=False, is_closed=False, close=lambda: sent.append("close")
    )
    io._begin_close(0.0)

    assert sent == ["acknowledgements", "close"]


class Gone:
    """A connection of the client's that has just been lost, and says so by raising."""

    is_open = False
    is_closed = True

    def channel(self, *_: Any, **__: Any) -> Any:
        raise ConnectionWrongStateError


def test_what_is_asked_of_a_connection_that_is_gone_is_answered():
    """Whoever asks is told, and nothing is raised into the client, which has others to tell."""
    session = Session(1, Gone(), lambda _: None, lambda _: None)
    looked: list[Any] = []
    session.look("a queue", lambda *found: looked.append(found))
    session.peek("a queue", looked.append)
    session.declare([], [], looked.append)
    session.browse(Queue("a queue", "", ""), looked.append)

    assert looked == [(None, 0), None, CUT_OFF, CUT_OFF]


def test_a_client_that_is_interrupted_as_it_loses_its_connection_has_lost_it():
    """It tells nobody of it then; another connection is made all the same."""
    lost: list[str] = []
    io: Any = BrokerIO(parse("amqp://broker.example"), "p", lambda _: None, lambda: lost.append("down"))

    def start() -> None:
        io._ended.set()
        io._connection = Gone()
        io._session = SimpleNamespace(ended=lambda: lost.append("ended"))
        raise ConnectionWrongStateError

    nothing = lambda *_: None  # noqa: E731 - a part of a fake
    later: list[float] = []
    io._loop = SimpleNamespace(
        start=start, cut=nothing, call_later=lambda delay_s, _: later.append(delay_s), wind_up=nothing, close=nothing
    )
    io._run()

    assert lost == ["ended", "down"]
    assert io._connection is None
    assert len(later) == 1  # until the next try to connect
