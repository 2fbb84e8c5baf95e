"""Promises of a subscription: its filter harms nobody else, it is read in every way, and leaving is noticed."""

import asyncio
import copy
import os
import threading

import pytest
from channelkit import WAIT_S, collect, gate, later, make_config, number, numbers, order

from limen.actors import _filters
from limen.actors.channel_handle import ChannelHandle
from limen.actors.links import LinkedActor
from limen.actors.runtime import runtime
from limen.messages.channel import Delivery


@pytest.fixture
def channel():
    """Give a channel that is closed after the test."""
    handle = ChannelHandle(make_config())
    yield handle
    handle.close()


@pytest.fixture
def short_limit(monkeypatch):
    """Give filters little time, and let their threads end soon after; gives their runner."""
    runner = _filters.FilterRunner(max_active=4, idle_s=0.01)
    runner.thread_name = "limen-pool-filter-short"
    monkeypatch.setattr(_filters, "filter_runner", lambda: runner)
    monkeypatch.setattr(_filters, "LIMIT_S", 0.05)
    yield runner
    runner.close()


def fail(_envelope):
    """Be a predicate that raises."""
    raise ValueError("no")


def leave(_envelope):
    """Be a predicate that tries to end the process."""
    raise SystemExit


# --- filters --------------------------------------------------------------------------------------------------------


def test_a_filter_lets_through_what_its_predicate_wants(channel):
    """Only where the predicate is true, and it is there when publish returns (CH-08, CH-04)."""
    odd = channel.subscribe_filtered(lambda envelope: bool(number(envelope) % 2))

    counts = []
    for each in range(4):
        counts.append(int(channel.publish_with_delivery(order(each))))
        assert odd.depth == (each + 1) // 2

    assert counts == [0, 1, 0, 1]
    assert numbers(odd) == [1, 3]
    assert (odd.problem, odd.failures) == (None, 0)


@pytest.mark.parametrize(("predicate", "kind"), [(fail, ValueError), (leave, SystemExit)])
def test_a_raising_predicate_hurts_only_its_own_subscriber(channel, caplog, predicate, kind):
    """Others are served, the failure is reported once with its cause, and each miss is counted (CH-08, GR-05)."""
    broken = channel.subscribe_filtered(predicate)
    plain, filtered = channel.subscribe(), channel.subscribe_filtered(lambda _: True)

    told = [channel.publish_with_delivery(order(each)) for each in range(3)]

    assert told == [Delivery(accepted=2)] * 3
    assert numbers(plain) == numbers(filtered) == [0, 1, 2]
    assert numbers(broken) == []
    assert (broken.is_active, broken.failures) == (True, 3)
    assert str(broken.problem) == f"its filter raised {kind.__name__}"
    assert isinstance(broken.problem.__cause__, kind)
    assert caplog.text.count("a subscriber misses messages") == 1
    assert channel.session.incarnation == 1


def test_a_predicate_may_raise_now_and_then(channel):
    """It misses what it failed on and receives the rest (CH-08)."""
    subscription = channel.subscribe_filtered(lambda envelope: 1 // (number(envelope) - 1) < 2)
    for each in range(4):
        channel.publish(order(each))

    assert numbers(subscription) == [0, 2, 3]
    assert subscription.failures == 1


def test_what_is_no_function_is_no_predicate(channel):
    """It is refused where it is given (CH-08)."""
    with pytest.raises(TypeError, match="not a str"):
        channel.subscribe_filtered("id > 1")

    assert channel.subscriber_count == 0


def test_a_predicate_runs_on_nobodys_thread(channel):
    """Neither the publisher's thread nor the channel's turn is lent to it (CH-08)."""
    seen = []

    def look(_envelope):
        seen.append(threading.current_thread())
        return True

    subscription = channel.subscribe_filtered(look)

    channel.publish(order(1))

    assert numbers(subscription) == [1]
    assert seen[0] is not threading.current_thread()
    assert seen[0].name.startswith("limen-pool-filter-")


def test_others_are_served_while_a_predicate_is_slow(channel):
    """The message is in the others' inboxes before the slow filter has answered; then publish returns (CH-08)."""
    with gate() as slow:
        late = channel.subscribe_filtered(slow)
        plain, filtered = channel.subscribe(), channel.subscribe_filtered(lambda _: True)
        publishing = later(lambda: channel.publish_with_delivery(order(1)))
        slow.wait_entered()

        assert number(plain.next(WAIT_S)) == 1
        assert number(filtered.next(WAIT_S)) == 1
        assert not publishing.done()
        slow.opened.set()

        assert publishing.get(timeout=WAIT_S) == Delivery(accepted=3)
        assert numbers(late) == [1]


def test_a_predicate_that_takes_too_long_misses_the_message(channel, short_limit, caplog):
    """The publish counts without it, later ones do not wait for it, and it resumes when it returns (CH-08)."""
    plain = channel.subscribe()
    with gate() as slow:
        late = channel.subscribe_filtered(slow)

        assert channel.publish_with_delivery(order(1)) == Delivery(accepted=1)
        assert str(late.problem) == "its filter gave no answer within 0.05 s of the publish"
        began_s = runtime().now()
        for each in (2, 3, 4):
            assert channel.publish_with_delivery(order(each)) == Delivery(accepted=1)
        assert runtime().now() - began_s < 0.05
        assert (late.failures, late.depth) == (4, 0)

    for thread in threading.enumerate():
        if thread.name.startswith(short_limit.thread_name):
            thread.join(WAIT_S)
    assert (short_limit.counts().stuck, short_limit.counts().late) == (0, 1)
    assert channel.publish_with_delivery(order(5)) == Delivery(accepted=2)
    assert numbers(late) == [5]
    assert numbers(plain) == [1, 2, 3, 4, 5]
    assert caplog.text.count("a subscriber misses messages") == 1


def test_many_stuck_predicates_hold_up_no_healthy_one(channel):
    """More of them than run at a time: a healthy filter answers within its limit all the same (CH-08)."""
    with gate() as slow:
        stuck = [channel.subscribe_filtered(slow) for _ in range(12)]
        healthy = channel.subscribe_filtered(lambda _: True)
        publishing = later(lambda: channel.publish_with_delivery(order(1)))

        assert number(healthy.next(_filters.LIMIT_S)) == 1
        slow.opened.set()
        assert publishing.get(timeout=WAIT_S) == Delivery(accepted=13)
        assert [subscription.failures for subscription in stuck] == [0] * 12


def test_a_filter_costs_no_thread_of_its_own(channel):
    """Three hundred filters share a few threads (GR-09)."""
    threads = threading.active_count()
    subscriptions = [channel.subscribe_filtered(lambda _: True) for _ in range(300)]

    assert int(channel.publish_with_delivery(order(1))) == 300
    assert threading.active_count() <= threads + 12
    assert [numbers(subscription) for subscription in subscriptions] == [[1]] * 300


def test_a_filter_keeps_the_order_of_concurrent_publishes(channel):
    """A filter that hesitates now and then still delivers in publish order, asked about one at a time (CH-08)."""
    asked = []
    inside: list[None] = []

    def hesitate(envelope):
        inside.append(None)
        crowd = len(inside)
        asked.append((envelope.message_id, crowd))
        os.sched_yield()
        inside.pop()
        return True

    plain, filtered = channel.subscribe(), channel.subscribe_filtered(hesitate)

    def publish():
        for each in range(20):
            channel.publish(order(each))

    for reply in [later(publish) for _ in range(4)]:
        reply.get(timeout=WAIT_S)

    ids = [envelope.message_id for envelope in iter(plain.try_next, None)]
    assert asked == [(each, 1) for each in ids]
    assert [envelope.message_id for envelope in iter(filtered.try_next, None)] == ids


def test_a_predicate_may_use_the_channel(channel, short_limit):
    """One that subscribes, or publishes and so waits for itself, costs its limit at most (CH-08, GR-06)."""
    plain = channel.subscribe()

    def reflect(envelope):
        if number(envelope) == 1:
            with channel.subscribe():
                return int(channel.publish_with_delivery(order(2))) == 2
        return False

    reflecting = channel.subscribe_filtered(reflect)
    began_s = runtime().now()

    channel.publish(order(1))

    assert runtime().now() - began_s < 3 * _filters.LIMIT_S
    assert numbers(plain) == [1, 2]
    reflecting.unsubscribe()


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_blocking_read_waits_for_the_next_message(channel):
    """It gets what is published while it waits, and nothing when its time is up (CH-03)."""
    subscription = channel.subscribe()
    assert subscription.next(0) is None
    assert subscription.next(0.01) is None
    waiting = later(lambda: subscription.next(WAIT_S))

    channel.publish(order(1))

    assert number(waiting.get(timeout=WAIT_S)) == 1


@pytest.mark.parametrize("end", ["unsubscribe", "close"])
def test_the_end_wakes_readers(channel, end):
    """A blocked `next` and an awaited `anext` return `None` when the subscription is over (CH-13, CH-18)."""
    subscription = channel.subscribe()
    blocked = [later(subscription.next) for _ in range(2)]
    awaited = later(lambda: asyncio.run(subscription.anext()))

    subscription.unsubscribe() if end == "unsubscribe" else channel.close()

    assert [reply.get(timeout=WAIT_S) for reply in (*blocked, awaited)] == [None] * 3
    assert subscription.next() is None


def test_readers_of_one_subscription_share_its_messages(channel):
    """Every message is read once, by threads and event loops alike, and no wake-up is lost (CH-03)."""
    subscription = channel.subscribe()
    read_one = threading.Semaphore(0)

    def read():
        found = []
        for envelope in iter(subscription.next, None):
            found.append(number(envelope))
            read_one.release()
        return found

    async def read_async():
        found = []
        while (envelope := await subscription.anext()) is not None:
            found.append(number(envelope))
            read_one.release()
        return found

    readers = [later(read) for _ in range(3)] + [later(lambda: asyncio.run(read_async())) for _ in range(2)]
    for each in range(200):
        channel.publish(order(each))
    assert all(read_one.acquire(timeout=WAIT_S) for _ in range(200))
    subscription.unsubscribe()

    assert sorted(each for reader in readers for each in reader.get(timeout=WAIT_S)) == list(range(200))


def test_an_awaited_read_leaves_the_loop_free(channel):
    """Other coroutines run while one waits, and a read that is cancelled loses no message (CH-03)."""
    subscription = channel.subscribe()

    async def scenario():
        given_up = asyncio.create_task(subscription.anext())
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        waiting = asyncio.create_task(subscription.anext())
        await asyncio.to_thread(channel.publish, order(1))
        return await asyncio.wait_for(waiting, WAIT_S)

    assert number(asyncio.run(scenario())) == 1


# --- leaving --------------------------------------------------------------------------------------------------------


def test_whoever_unsubscribes_is_out_at_once(channel):
    """The count falls from 2 to 1, the survivor is served, and a second time does nothing (CH-13)."""
    leaving, staying = channel.subscribe(), channel.subscribe()
    channel.publish(order(1))

    leaving.unsubscribe()
    leaving.unsubscribe()

    assert channel.subscriber_count == 1
    assert int(channel.publish_with_delivery(order(2))) == 1
    assert (leaving.is_active, leaving.try_next()) == (False, None)
    assert numbers(staying) == [1, 2]


def test_a_block_ends_its_subscription(channel):
    """A `with` block is as good as `unsubscribe` (CH-13)."""
    with channel.subscribe() as subscription:
        channel.publish(order(1))
        assert numbers(subscription) == [1]

    assert channel.subscriber_count == 0


def test_dropping_the_last_copy_is_leaving(channel):
    """The channel is told and forgets the inbox; nothing is polled (CH-13, GR-08)."""
    subscription, staying = channel.subscribe(), channel.subscribe()
    twin = copy.copy(subscription)
    del subscription
    collect()
    assert channel.subscriber_count == 2

    del twin
    collect()

    assert channel.subscriber_count == 1
    channel.evolve("note", {"type": "string"}, "")  # an order that comes after the notice
    assert len(channel.session.fanout._inboxes) == 1
    assert int(channel.publish_with_delivery(order(1))) == 1
    assert numbers(staying) == [1]


class Forgetful(LinkedActor):
    """Drops a subscription, in a cycle that only the collector finds, while it handles a message."""

    def on_receive(self, message):
        channel = message
        subscription = channel.subscribe()
        cycle = [subscription]
        cycle.append(cycle)
        del subscription, cycle
        collect()
        return channel.subscriber_count


def test_a_subscription_may_be_collected_on_an_actors_thread(channel):
    """The finaliser only posts: the handler goes on, and the place is given up (GR-07, GR-08)."""
    actor = Forgetful.start()

    assert actor.ask(channel, timeout=WAIT_S) == 0
    actor.stop()


def test_a_subscription_may_be_collected_in_the_middle_of_a_delivery(channel):
    """Even on the channel's own turn, inside the very inbox that it gives up (GR-07)."""
    subscription = channel.subscribe()
    inbox = subscription._inbox

    class Reader:
        """Stands in for a reader, and is woken in the middle of the put."""

        def set(self, _value):
            nonlocal subscription
            del subscription
            collect()

    inbox._readers = [Reader()]

    assert channel.publish_with_delivery(order(1)) == Delivery()
    assert inbox.closed
    assert channel.subscriber_count == 0
