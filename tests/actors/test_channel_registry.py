"""Promises of the registry: channels by name, each once, with live counts, and an end for all of them."""

import pytest
from channelkit import WAIT_S, crash, later, make_config, order

from limen.actors.channel_handle import NEVER
from limen.actors.channel_registry import ChannelInfo, ChannelRegistry
from limen.messages.bus_errors import ChannelClosed, ChannelNotFound
from limen.messages.channel import ChannelMode
from limen.messages.errors import ChannelLifecycleError


@pytest.fixture
def registry():
    """Give a registry whose channels are closed after the test."""
    with ChannelRegistry() as registry:
        yield registry


def rows(registry):
    """List names and counts."""
    return [(row.name, row.subscriber_count) for row in registry.list()]


def test_a_channel_is_created_once_and_found_by_its_name(registry):
    """A duplicate is refused and changes nothing; a name that nobody has is an error (CH-23)."""
    channel = registry.create(make_config("orders"))
    subscription = channel.subscribe()

    with pytest.raises(ChannelLifecycleError) as caught:
        registry.create(make_config("orders"))

    assert caught.value.channel_name == "orders"
    assert registry.lookup("orders") is channel
    assert ("orders" in registry, "bills" in registry, len(registry)) == (True, False, 1)
    with pytest.raises(ChannelNotFound, match="bills"):
        registry.lookup("bills")
    registry.lookup("orders").publish(order(1))
    assert subscription.depth == 1


def test_channels_are_listed_by_name_with_live_counts(registry):
    """Sorted; a count follows its subscribers, and is 0 for a channel that cannot be reached (CH-23)."""
    for name in ("orders", "bills", "dead"):
        registry.create(make_config(name), restarts=NEVER)
    subscriptions = [registry.lookup(name).subscribe() for name in ("orders", "orders", "dead")]

    assert rows(registry) == [("bills", 0), ("dead", 1), ("orders", 2)]
    crash(registry.lookup("dead"))
    subscriptions[0].unsubscribe()
    assert rows(registry) == [("bills", 0), ("dead", 0), ("orders", 1)]
    assert registry.list()[0] == ChannelInfo(name="bills", mode=ChannelMode.EPHEMERAL, subscriber_count=0)


def test_closing_says_whether_there_was_such_a_channel(registry):
    """The first close ends it, the second finds nothing, and the name is free again (CH-23, CH-18)."""
    channel = registry.create(make_config("orders"))
    channel.publish(order(1))

    assert registry.close("orders") is True
    assert registry.close("orders") is False
    assert registry.close("never") is False
    assert registry.list() == ()
    with pytest.raises(ChannelClosed):
        channel.publish(order(2))
    with pytest.raises(ChannelNotFound):
        registry.lookup("orders")
    assert registry.create(make_config("orders")) is not channel


def test_a_channel_closed_by_its_handle_is_not_there_any_more(registry):
    """The registry does not show it, and its name is free (CH-23)."""
    registry.create(make_config("orders")).close()

    assert registry.list() == ()
    assert registry.close("orders") is False
    registry.create(make_config("orders"))


def test_the_end_of_the_block_closes_every_channel():
    """`close_all` may be called again, and a registry can be used after it (CH-23)."""
    with ChannelRegistry() as registry:
        channels = [registry.create(make_config(f"orders-{each}")) for each in range(3)]
        refs = [channel.ref() for channel in channels]

    assert [channel.closed for channel in channels] == [True] * 3
    assert all(ref.actor_stopped.is_set() for ref in refs)
    registry.close_all()
    assert len(registry) == 0


def test_racing_creates_give_one_channel(registry):
    """Of sixteen threads one creates it, and the others are refused (CH-23)."""

    def create():
        try:
            return registry.create(make_config("orders"))
        except ChannelLifecycleError:
            return None

    made = [reply.get(timeout=WAIT_S) for reply in [later(create) for _ in range(16)]]

    assert [channel for channel in made if channel is not None] == [registry.lookup("orders")]
