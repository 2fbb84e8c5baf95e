"""What is used of the client that it does not offer: it is still there, and does what it is used for."""

import socket
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from pika import ConnectionParameters, SelectConnection
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.io_services_utils import _AsyncPlaintextTransport
from pika.adapters.utils.selector_ioloop_adapter import SelectorIOServicesAdapter

from limen.rabbitmq._session import Session
from limen.rabbitmq.dialling import _tls
from limen.rabbitmq.url import parse


@pytest.fixture
def ends():
    """Both ends of a connection."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.settimeout(5)
        yield near, far


def test_what_is_published_is_written_out_at_once(ends):
    """Without a turn of the client's loop in between; once more is of no effect."""
    near, far = ends
    loop = IOLoop()
    transport = _AsyncPlaintextTransport(near, SimpleNamespace(), SelectorIOServicesAdapter(loop))  # type: ignore[arg-type]
    connection: Any = SimpleNamespace(_transport=transport)
    session = Session(1, connection, lambda _: None, lambda _: None)
    transport.write(b"a frame")

    session.flush()
    session.flush()

    assert far.recv(100) == b"a frame"
    assert transport.get_write_buffer_size() == 0
    loop.close()


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
