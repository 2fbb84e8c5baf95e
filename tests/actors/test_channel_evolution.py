"""Promises of a channel's schema: defaults are filled in, it grows by a field, and nobody is cut off by that."""

import json
from typing import Any

import pytest
from channelkit import ORDER, WAIT_S, later, make_config, order

from limen.actors.channel_handle import ChannelHandle
from limen.messages.errors import EvolutionRefused, InvalidSchema, PayloadRefused
from limen.messages.schema import Schema

PRIORITY = {"type": "integer", "minimum": 0}


@pytest.fixture
def channel():
    """Give a channel that is closed after the test."""
    handle = ChannelHandle(make_config())
    yield handle
    handle.close()


def read(subscription):
    """Read the next payload."""
    return json.loads(subscription.try_next().payload)


def test_a_schema_has_an_id_of_its_own_or_the_one_it_is_given():
    """A bad definition is refused before there is a channel (CH-09)."""
    assert Schema.compile(ORDER).id == Schema.compile(ORDER).id != Schema.compile({}).id
    assert make_config(definition=ORDER).schema.id == Schema.compile(ORDER).id
    assert Schema.compile(ORDER, "orders-1").id == "orders-1"
    bad: Any
    for bad in ({"type": "no such type"}, "{", 7):
        with pytest.raises(InvalidSchema):
            Schema.compile(bad)


def test_defaults_fill_in_what_is_absent_and_nothing_else(channel):
    """What is present is not overwritten, and the delivered bytes hold the default (CH-10)."""
    subscription = channel.subscribe()
    channel.publish(b'{"id": 1}')
    channel.publish(b'{"id": 2, "currency": "CHF"}')

    assert read(subscription) == {"id": 1, "currency": "EUR"}
    assert read(subscription) == {"id": 2, "currency": "CHF"}


def test_a_channel_evolves_by_a_field_with_a_default(channel):
    """A new id; subscribers stay; old-shape publishes pass and arrive filled; wrong values do not (CH-11)."""
    subscription = channel.subscribe()
    before = channel.schema
    channel.publish(order(1))

    evolved = channel.evolve("priority", PRIORITY, 3)

    assert channel.schema is evolved
    assert evolved.id != before.id
    assert channel.subscriber_count == 1
    channel.publish(order(2))
    channel.publish(b'{"id": 3, "priority": 9}')
    with pytest.raises(PayloadRefused, match="minimum"):
        channel.publish(b'{"id": 4, "priority": -1}')
    schema_ids = [envelope.schema_id for envelope in list(subscription._inbox._envelopes)]
    assert schema_ids == [before.id, evolved.id, evolved.id]
    assert read(subscription) == {"id": 1, "currency": "EUR"}
    assert read(subscription) == {"id": 2, "currency": "EUR", "priority": 3}
    assert read(subscription) == {"id": 3, "currency": "EUR", "priority": 9}


@pytest.mark.parametrize(
    ("definition", "field", "field_schema", "default"),
    [
        ({"type": "array"}, "priority", PRIORITY, 3),
        (True, "priority", PRIORITY, 3),
        (ORDER, "", PRIORITY, 3),
        (ORDER, "priority", "integer", 3),
        (ORDER, "priority", PRIORITY, -3),
        (ORDER, "currency", PRIORITY, 3),
    ],
    ids=["array", "anything", "no name", "no schema", "bad default", "taken"],
)
def test_an_evolution_that_makes_no_sense_changes_nothing(definition, field, field_schema, default):
    """Each is refused, id and subscribers stay, and the channel still serves (CH-12)."""
    channel = ChannelHandle(make_config(definition=definition))
    subscription = channel.subscribe()
    before = channel.schema.id

    with pytest.raises(EvolutionRefused):
        channel.evolve(field, field_schema, default)

    assert channel.schema.id == before
    channel.publish(b"[]" if definition == {"type": "array"} else order(1))
    assert [envelope.schema_id for envelope in iter(subscription.try_next, None)] == [before]
    channel.close()


def test_evolutions_at_the_same_time_all_count(channel):
    """Eight threads that add a field each leave a schema with all eight (CH-11)."""

    def evolve(name):
        return lambda: channel.evolve(name, PRIORITY, 0)

    for reply in [later(evolve(f"field-{each}")) for each in range(8)]:
        reply.get(timeout=WAIT_S)

    assert {f"field-{each}" for each in range(8)} < channel.schema.definition["properties"].keys()
    assert set(channel.schema.definition["required"]) == {"id", "currency", *(f"field-{each}" for each in range(8))}


def test_a_publish_that_races_an_evolution_meets_the_schema_in_force(channel):
    """What was validated by the old schema is not delivered after the new one is in force (CH-11)."""
    subscription = channel.subscribe()
    old = channel.schema
    handle_ask = channel.session.ask

    def evolve_first(message, *args):
        del channel.session.ask
        channel.evolve("priority", PRIORITY, 3)
        return handle_ask(message, *args)

    channel.session.ask = evolve_first
    assert int(channel.publish_with_delivery(order(1))) == 1

    envelope = subscription.try_next()
    assert envelope.schema_id == channel.schema.id != old.id
    assert json.loads(envelope.payload)["priority"] == 3
    assert subscription.try_next() is None
