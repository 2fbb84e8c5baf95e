"""Whatever anybody puts into the queues: it goes to the dead letters with its reason, and stops nobody."""

import logging
from typing import Any

import pika
import pytest
import rabbit_activities as acts
from drillkit import wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limen import BrokerUnavailable, Limen
from limen.messages._json import dumps
from limen.messages.errors import DecodeError
from limen.rabbitmq import codec, topology
from limen.rabbitmq.dead import LETTER

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 60
CHANNEL = "aion.dispatch.default.work"
KINDS = [
    "",
    codec.REQUEST,
    codec.OUTCOMES,
    codec.NEWS,
    codec.CONTROL,
    LETTER,
    "text/plain",
    "application/x-python-pickle",
]

short_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | short_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(short_texts, inner, max_size=4),
    max_leaves=12,
)
headers = st.dictionaries(
    st.sampled_from([codec.OPTIONS, "x-delivery-count", "x-death", "x-first-death-queue", "CC", "other"]),
    st.integers(-(2**31), 2**31 - 1) | short_texts | st.lists(short_texts, max_size=3) | st.booleans() | st.none(),
    max_size=4,
).filter(lambda made: all(isinstance(made.get(name, []), list) for name in ("CC",)))


@st.composite
def documents(draw):
    """Something that looks like one of ours, with a field or two that do not."""
    document = {
        "content_type": draw(st.sampled_from(KINDS)),
        "conversation_id": "hostile",
        "kind": draw(st.sampled_from(["cancel", "lane", "pause", "census", "none"])),
        "ids": [1, None],
        "request": {
            "activity_type": draw(st.sampled_from(["double", "no_such", ""])),
            "input": {"content_type": "application/json", "encoding": "base64", "data": "!"},
        },
    }
    document |= draw(
        st.dictionaries(st.sampled_from([*document, "outcomes", "host", "begun"]), json_values, max_size=3)
    )
    return dumps(document)


@st.composite
def messages(draw):
    """A body and properties of any kind."""
    properties = pika.BasicProperties(
        content_type=draw(st.sampled_from(KINDS)),
        headers=draw(headers),
        delivery_mode=draw(st.sampled_from([1, 2])),
        message_id=draw(st.none() | short_texts),
        correlation_id=draw(st.none() | short_texts),
        reply_to=draw(st.none() | short_texts | st.just("limen.dispatch")),
        type=draw(st.none() | short_texts),
        app_id=draw(st.none() | short_texts),
    )
    body = draw(st.binary(max_size=300) | documents() | json_values.map(dumps) | st.just(b"[" * 5000))
    return body, properties


def is_request(body, properties):
    """Whether a host is to take it for one."""
    try:
        message, _ = codec.read_request(body, properties.headers)
    except DecodeError:
        return False
    return properties.content_type != LETTER and message.request.activity_type == "double"


@pytest.fixture
def publisher(url):
    """A way to put anything anywhere."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        yield connection.channel()


def test_whatever_lies_in_a_queue_of_requests_goes_to_the_dead_letters(broker, vhost, url, publisher):
    """And the host goes on with the next; a reason stands beside each, and none of it can be requeued as a request."""
    buried = 0
    with Limen(url) as host, Limen(url) as asker:
        host.worker("work", [acts.double], max_concurrent=2)

        @settings(
            max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
        )
        @given(st.lists(messages(), min_size=1, max_size=10))
        def attack(given):
            nonlocal buried
            for body, properties in given:
                publisher.basic_publish(topology.DISPATCH, f"{CHANNEL}.double", body, properties)
            buried += sum(not is_request(*each) for each in given)
            assert asker.dispatch(acts.double, 21).result(timeout=TIMEOUT_S) == 42
            wait_until(lambda: broker.ready(vhost, f"limen.dead.{CHANNEL}") >= buried)

        attack()
        assert broker.ready(vhost, f"limen.dead.{CHANNEL}") == buried
        letters = asker.dead_letters("work")
        assert letters
        assert all(str(letter.error) for letter in letters)
        assert [row.max_concurrent for row in asker.pool("work")] == [2]


def test_what_has_no_id_is_given_one(broker, vhost, url, publisher):
    """Two that nobody named are two letters, and each can be discarded by itself."""
    with Limen(url) as host, Limen(url) as asker:
        host.worker("work", [acts.double])
        for _ in range(2):
            publisher.basic_publish(topology.DISPATCH, f"{CHANNEL}.double", b"?", pika.BasicProperties())
        wait_until(lambda: broker.ready(vhost, f"limen.dead.{CHANNEL}") == 2)
        first, second = asker.dead_letters("work")
        asker.discard("work", first.id)
        assert [letter.id for letter in asker.dead_letters("work")] == [second.id]


def test_what_is_too_large_goes_there_too(broker, vhost, url, publisher):
    """With its size as the reason."""
    small = broker.url(vhost, options="?max_size=1000")
    with Limen(small) as host, Limen(url) as asker:
        host.worker("work", [acts.double])
        publisher.basic_publish(topology.DISPATCH, f"{CHANNEL}.double", b"x" * 5000, pika.BasicProperties())
        wait_until(lambda: broker.ready(vhost, f"limen.dead.{CHANNEL}") == 1)
        (letter,) = asker.dead_letters("work")
        assert "5000" in str(letter.error)
        assert asker.dispatch(acts.double, 4).result(timeout=TIMEOUT_S) == 8


def test_whatever_is_said_anywhere_else_stops_nobody(broker, vhost, url, publisher):
    """In reply queues, results, dead letters, settings, and to all: it is passed over, and everything goes on."""
    with Limen(url) as host, Limen(url) as asker:
        host.worker("work", [acts.double], max_concurrent=2)
        asker.pause("work")
        asker.resume("work")
        names = [queue["name"] for queue in broker.api("GET", f"queues/{vhost}")]
        places = [("", name) for name in names if name.startswith("limen.")]
        places += [(topology.CONTROL, "default"), (topology.RESULTS, "default"), (topology.DEAD, CHANNEL)]
        assert {name.split(".")[1] for _, name in places if name.startswith("limen.")} >= {"replies", "control", "dead"}

        @settings(
            max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
        )
        @given(st.lists(st.tuples(st.sampled_from(places), messages()), min_size=1, max_size=10))
        def attack(given):
            for (exchange, key), (body, properties) in given:
                publisher.basic_publish(exchange, key, body, properties)
            assert asker.dispatch(acts.double, 21).result(timeout=TIMEOUT_S) == 42

        attack()
        assert [row.max_concurrent for row in asker.pool("work")] == [2]
        assert all(str(letter.error) for letter in asker.dead_letters("work"))
        asker.pause("work")
        asker.resume("work")
        assert asker.dispatch(acts.double, 21).result(timeout=TIMEOUT_S) == 42


def test_credentials_are_in_no_log_and_no_error(broker, vhost, caplog):
    """Neither when they are wrong, nor when the broker is not there, nor in what any of it shows of itself."""
    caplog.set_level(logging.DEBUG)
    secret = "w0rd"  # noqa: S105 - nobody's
    seen = []
    for port in (broker.port, 1):
        url = f"amqp://somebody:{secret}@127.0.0.1:{port}/{vhost}?publish_timeout=0.5&connect_timeout=1"
        with Limen(url) as app:
            engine: Any = app._engine
            error = app.dispatch(acts.double, 1).exception(timeout=TIMEOUT_S)
            assert isinstance(error, BrokerUnavailable)
            seen += [repr(error), str(error), repr(error.__cause__), str(error.__cause__)]
            seen += [repr(app), repr(engine), repr(engine._io), repr(engine._io.address)]

    told = "\n".join((*seen, caplog.text, *(repr(record.args) for record in caplog.records)))
    assert "no connection" in told
    assert secret not in told
