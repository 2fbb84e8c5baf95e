"""Promises of a channel as a bus: what is published reaches every subscriber, or the publisher is told."""

import copy
import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from channelkit import WAIT_S, collect, crash, later, make_config, number, numbers, order
from pykka import ActorRegistry

from limen.actors.channel import ChannelActor
from limen.actors.channel_handle import ChannelHandle
from limen.actors.context import WorkerContext
from limen.actors.links import LinkedActor
from limen.messages.activities import ActivityRequest, Completed, WorkerCapacity
from limen.messages.bus_errors import (
    ChannelClosed,
    DeliveryFailed,
    PayloadNotJson,
    PayloadNotObject,
    PayloadRefused,
    SchemaMismatch,
)
from limen.messages.channel import ChannelConfig, ChannelMode, Delivery
from limen.messages.codec import encode_request, encode_response
from limen.messages.dispatch import DispatchRequest, DispatchResponse
from limen.messages.errors import InvalidCapacity
from limen.messages.payloads import Payload
from limen.messages.schema import Schema


@pytest.fixture
def channel():
    """Give a channel that is closed after the test."""
    handle = ChannelHandle(make_config())
    yield handle
    handle.close()


# --- a channel and its handles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["name", "schema", "mode"])
def test_a_configuration_needs_name_schema_and_mode(missing):
    """All three are required (CH-01)."""
    parts: dict[str, Any] = {"name": "orders", "schema": Schema.compile({}), "mode": "ephemeral"}
    del parts[missing]

    with pytest.raises(TypeError):
        ChannelConfig(**parts)


def test_a_mode_is_ephemeral_or_durable():
    """There is no third mode (CH-01)."""
    assert [str(mode) for mode in ChannelMode] == ["ephemeral", "durable"]
    with pytest.raises(ValueError, match="sometimes"):
        ChannelConfig(name="orders", schema=Schema.compile({}), mode="sometimes")


def test_making_a_handle_starts_nothing():
    """No actor and no thread before the first use (CH-02)."""
    before = (len(ActorRegistry.get_all()), threading.active_count())

    handle = ChannelHandle(make_config())

    assert (len(ActorRegistry.get_all()), threading.active_count()) == before
    assert handle.subscriber_count == 0
    assert not handle.closed


def test_a_failed_start_surfaces_where_it_was_needed_and_is_tried_again(channel, monkeypatch):
    """The first use fails with a library error, the second works (CH-02)."""

    def fail(actor):
        monkeypatch.undo()
        raise OSError("no")

    monkeypatch.setattr(ChannelActor, "on_start", fail)

    with pytest.raises(DeliveryFailed):
        channel.subscribe()
    subscription = channel.subscribe()
    channel.publish(order(1))

    assert numbers(subscription) == [1]


def test_an_actor_that_cannot_be_made_is_a_library_error(channel, monkeypatch):
    """Whatever keeps the actor from starting, the caller sees `DeliveryFailed` with the cause (CH-02)."""

    def fail(actor, book):
        raise OSError("no")

    with monkeypatch.context() as patch:
        patch.setattr(ChannelActor, "__init__", fail)
        with pytest.raises(DeliveryFailed) as caught:
            channel.publish(order(1))

    assert isinstance(caught.value.__cause__, OSError)
    channel.publish(order(1))


def test_a_schema_function_that_fails_is_asked_again():
    """A schema is compiled on first use, on the caller's thread, and what that raises is not remembered (CH-02)."""
    made = []

    def make():
        made.append(threading.current_thread())
        if len(made) == 1:
            raise OSError("no")
        return Schema.compile({})

    channel = ChannelHandle(ChannelConfig(name="orders", schema=make, mode="ephemeral"))
    with pytest.raises(OSError, match="no"):
        channel.publish(b"{}")
    channel.publish(b"{}")
    channel.publish(b"{}")
    channel.close()

    assert made == [threading.current_thread()] * 2


def test_copies_of_a_handle_share_the_channel(channel):
    """A copy reaches the same subscribers through the same actor (CH-02)."""
    twin = copy.copy(channel)
    subscription = channel.subscribe()

    twin.publish(order(1))

    assert numbers(subscription) == [1]
    assert twin.ref() is channel.ref()


# --- publishing -----------------------------------------------------------------------------------------------------


def test_a_subscriber_gets_only_what_is_published_afterwards(channel):
    """Each has an inbox of its own, first in first out; a late one sees none of the earlier messages (CH-03)."""
    early = channel.subscribe()
    channel.publish(order(1))
    late = channel.subscribe()
    channel.publish(order(2))
    channel.publish(order(3))

    assert numbers(early) == [1, 2, 3]
    assert numbers(late) == [2, 3]


def test_a_message_is_there_when_publish_returns(channel):
    """`try_next` right after publish succeeds, and the payload holds the schema's defaults (CH-04, CH-10)."""
    subscription = channel.subscribe()

    channel.publish(b'{"id": 1}')

    envelope = subscription.try_next()
    assert envelope is not None
    assert json.loads(envelope.payload) == {"id": 1, "currency": "EUR"}


def test_an_envelope_says_where_its_payload_comes_from(channel):
    """All subscribers get the same message id, the schema in force, publisher, context and UTC time (CH-05)."""
    first, second = channel.subscribe(), channel.subscribe()
    began = datetime.now(UTC)
    channel.publish(order(1), publisher_id="till-3", causal_context=("a", "b"))
    channel.publish(order(2))

    envelope, other = first.try_next(), first.try_next()
    assert second.try_next() == envelope
    assert (envelope.publisher_id, envelope.causal_context) == ("till-3", ("a", "b"))
    assert envelope.schema_id == channel.schema.id
    assert began <= envelope.timestamp <= datetime.now(UTC)
    assert (other.publisher_id, other.causal_context) == ("anonymous", None)
    assert other.message_id != envelope.message_id


def test_a_publisher_is_told_how_many_inboxes_received_it(channel):
    """0, 1, and 2 of 3 where one filters it out (CH-06)."""
    assert channel.publish_with_delivery(order(1)) == Delivery()
    assert not channel.publish_with_delivery(order(1)).is_delivered
    subscriptions = [channel.subscribe()]
    assert int(channel.publish_with_delivery(order(1))) == 1
    subscriptions += [channel.subscribe(), channel.subscribe_filtered(lambda _: False)]
    delivery = channel.publish_with_delivery(order(1))

    assert (delivery.count, delivery.is_delivered) == (2, True)


def test_all_subscribers_see_concurrent_publishes_in_one_order(channel):
    """Whoever publishes when, every inbox has the same sequence (CH-03, CH-04)."""
    first, second = channel.subscribe(), channel.subscribe_filtered(lambda _: True)

    def publish():
        for each in range(25):
            channel.publish(order(each))

    for reply in [later(publish) for _ in range(4)]:
        reply.get(timeout=WAIT_S)

    ids = [envelope.message_id for envelope in iter(first.try_next, None)]
    assert len(ids) == 100
    assert [envelope.message_id for envelope in iter(second.try_next, None)] == ids


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"not json", PayloadNotJson),
        (b"\xff\xfe", PayloadNotJson),
        (b"[1]", PayloadNotObject),
        (b'{"id": "one"}', PayloadRefused),
        (b"{}", PayloadRefused),
    ],
)
def test_an_invalid_payload_reaches_nobody_and_harms_nothing(channel, payload, error):
    """Each kind of mismatch is an error of its own; the next valid payload arrives (CH-07, CH-09)."""
    subscription = channel.subscribe()

    with pytest.raises(error) as caught:
        channel.publish(payload)

    assert isinstance(caught.value, SchemaMismatch)
    assert subscription.depth == 0
    channel.publish(order(7))
    assert numbers(subscription) == [7]


def test_a_refused_publish_names_no_payload(channel):
    """What was wrong is said without quoting the bytes (CH-07)."""
    with pytest.raises(PayloadRefused) as caught:
        channel.publish(b'{"id": "s3cret"}')

    assert "s3cret" not in str(caught.value)


def test_a_publisher_with_a_bad_name_harms_nothing(channel):
    """A wrong argument is the caller's error alone (CH-05)."""
    subscription = channel.subscribe()
    with pytest.raises(TypeError):
        channel.publish(order(1), publisher_id=7)

    assert subscription.depth == 0
    assert channel.session.incarnation == 1


def test_a_dispatch_channel_refuses_what_is_no_request():
    """Not JSON, not an object, another content type: the workers see nothing and stay usable (CD-13)."""
    request = ActivityRequest(activity_type="resize", input=Payload(data=b"{}", content_type="application/json"))
    valid = encode_request(DispatchRequest(conversation_id="c-1", request=request))
    response = DispatchResponse(worker_id="w", result=Completed(Payload(data=b"1", content_type="application/json")))
    with WorkerContext() as context:
        worker = context.register_worker("shop", "media", WorkerCapacity(1, ("resize",)))
        channel = context.channel("shop", "media")
        for wrong in (b"not json", b"[]", b'"text"', encode_response(response)):
            with pytest.raises(SchemaMismatch):
                channel.publish(wrong)
        assert worker.try_next() is None

        assert int(channel.publish_with_delivery(valid)) == 1

        envelope = worker.next(WAIT_S)
        assert envelope is not None
        assert json.loads(envelope.payload) == json.loads(valid)
        assert [row.worker_id for row in context.pool(channel.name)] == [worker.worker_id]


# --- inboxes with a bound -------------------------------------------------------------------------------------------


def test_a_full_inbox_accepts_then_defers_then_rejects(channel):
    """Up to the bound it accepts, up to the buffer it defers, then it rejects; the publisher is told (CH-22, BP-05)."""
    slow, other = channel.subscribe(bound=2, defer=1), channel.subscribe()

    told = [channel.publish_with_delivery(order(each)) for each in range(4)]

    assert told == [
        Delivery(accepted=2),
        Delivery(accepted=2),
        Delivery(accepted=1, deferred=1),
        Delivery(accepted=1, rejected=1),
    ]
    assert [int(each) for each in told] == [2, 2, 2, 1]
    assert numbers(other) == [0, 1, 2, 3]
    assert slow.depth == 3


def test_deferred_messages_keep_their_order_and_rejected_ones_never_come(channel):
    """What an inbox holds is read first in first out, and a read makes room (CH-22, BP-06)."""
    slow = channel.subscribe(bound=1, defer=2)
    for each in range(5):
        channel.publish(order(each))

    assert number(slow.try_next()) == 0
    assert channel.publish_with_delivery(order(5)) == Delivery(deferred=1)
    assert numbers(slow) == [1, 2, 5]
    assert channel.publish_with_delivery(order(6)) == Delivery(accepted=1)


def test_a_bound_without_a_buffer_only_accepts_or_rejects(channel):
    """A rejected message is delivered to nobody where nobody else is (CH-22, CH-06)."""
    slow = channel.subscribe_filtered(lambda _: True, bound=1)
    channel.publish(order(1))

    delivery = channel.publish_with_delivery(order(2))

    assert (delivery, delivery.is_delivered) == (Delivery(rejected=1), False)
    assert numbers(slow) == [1]


@pytest.mark.parametrize(
    ("bounds", "field"),
    [
        ({"bound": 0}, "bound"),
        ({"bound": True}, "bound"),
        ({"bound": 1, "defer": -1}, "defer"),
        ({"defer": 1}, "defer"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(channel, bounds, field):
    """The error names the field, and nobody is subscribed (CH-22)."""
    with pytest.raises(InvalidCapacity) as caught:
        channel.subscribe(**bounds)

    assert caught.value.field == field
    assert channel.subscriber_count == 0


# --- the end --------------------------------------------------------------------------------------------------------


def test_a_closed_channel_stays_closed(channel):
    """After the close every use fails alike and no actor comes back; a second close does nothing (CH-18)."""
    subscription = channel.subscribe()
    channel.publish(order(1))
    ref = channel.ref()

    channel.close()
    channel.close()

    assert ref.actor_stopped.is_set()
    for _ in range(20):
        with pytest.raises(ChannelClosed):
            channel.publish(order(2))
    for use in (channel.subscribe, channel.ref, lambda: channel.evolve("a", {}, 1), lambda: channel.publish(b"x")):
        with pytest.raises(ChannelClosed):
            use()
    assert (channel.subscriber_count, channel.session.incarnation) == (0, 1)
    assert (subscription.is_active, subscription.try_next()) == (False, None)


def test_a_channel_that_was_never_used_can_be_closed():
    """Closing starts no actor, and later uses start none (CH-18)."""
    channel = ChannelHandle(make_config())

    channel.close()

    with pytest.raises(ChannelClosed):
        channel.publish(order(1))
    with pytest.raises(ChannelClosed):
        channel.subscribe()
    assert channel.session.incarnation == 0


def test_a_crashed_channel_can_be_closed(channel):
    """Its subscribers are told, no actor is started for it, and its budget does not matter (CH-18)."""
    subscription = channel.subscribe()
    crash(channel)
    waiting = later(lambda: subscription.next(WAIT_S))

    channel.close()

    assert waiting.get(timeout=WAIT_S) is None
    assert not subscription.is_active
    assert channel.session.incarnation == 1
    with pytest.raises(ChannelClosed):
        channel.publish(order(1))


class User(LinkedActor):
    """Does what it is told, on its own turn."""

    def on_receive(self, message):
        return message()


class QuietUser(User):
    """The same, without a thread."""

    never_blocks = True


@pytest.mark.parametrize("kind", [User, QuietUser])
def test_an_actor_may_use_and_close_a_channel(channel, kind):
    """On an actor's thread publish works, filters included, and close returns at once (GR-07)."""
    user = kind.start()
    subscription = channel.subscribe_filtered(lambda _: True)

    assert int(user.ask(lambda: channel.publish_with_delivery(order(1)), timeout=WAIT_S)) == 1
    assert numbers(subscription) == [1]
    ref = channel.ref()
    user.ask(channel.close, timeout=WAIT_S)
    assert ref.actor_stopped.wait(WAIT_S)
    with pytest.raises(ChannelClosed):
        channel.publish(order(2))
    user.stop()


def test_a_channel_that_nobody_holds_ends_by_itself():
    """The actor stops, and whoever still reads is told (GR-08)."""
    channel = ChannelHandle(make_config())
    subscription = channel.subscribe()
    ref = channel.ref()
    waiting = later(lambda: subscription.next(WAIT_S))

    del channel
    collect()

    assert ref.actor_stopped.wait(WAIT_S)
    assert waiting.get(timeout=WAIT_S) is None
    assert not subscription.is_active


def test_a_crashed_channel_that_nobody_holds_tells_its_subscribers():
    """Without an actor to say so, the readers are woken all the same (GR-08)."""
    channel = ChannelHandle(make_config())
    subscription = channel.subscribe()
    crash(channel)

    del channel
    collect()

    assert not subscription.is_active


@pytest.mark.slow
def test_a_thousand_forgotten_channels_leave_nothing():
    """No actor is left of a thousand handles that were used and dropped, and no thread was needed (GR-08, GR-09)."""
    threads = threading.active_count()
    refs = []

    def use(name):
        channel = ChannelHandle(make_config(name, {}))
        channel.publish(b"{}")
        refs.append(channel.ref())

    for each in range(1000):
        use(f"orders-{each}")
    collect()

    assert all(ref.actor_stopped.wait(WAIT_S) for ref in refs)
    assert threading.active_count() <= threads + 6
