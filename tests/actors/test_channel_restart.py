"""Promises of a channel whose actor crashes: it comes back as it was, within a budget, and nothing runs twice."""

import functools
import threading

import pytest
from channelkit import (
    WAIT_S,
    collect,
    crash,
    gate,
    later,
    let_channels_be_told_functions,
    make_config,
    make_envelope,
    numbers,
    order,
    wait_until,
)

from limen.actors import _orders as orders
from limen.actors._channel_state import ChannelState
from limen.actors.channel_handle import NEVER, ChannelHandle
from limen.actors.channel_session import RestartBudget
from limen.actors.context import WorkerContext
from limen.actors.conversation import Conversation
from limen.actors.linking import kill
from limen.actors.links import LinkedActor
from limen.actors.runtime import runtime
from limen.messages.activities import ActivityRequest, Completed, WorkerCapacity
from limen.messages.bus_errors import ChannelClosed, DeliveryFailed
from limen.messages.channel import Delivery
from limen.messages.errors import ChannelLifecycleError
from limen.messages.payloads import Payload
from limen.messages.supervision import RestartIntensity


@pytest.fixture
def channel():
    """Give a channel that is closed after the test."""
    handle = ChannelHandle(make_config())
    yield handle
    handle.close()


@pytest.fixture
def told_functions(monkeypatch):
    """Let channels be told functions, which they call on their turn."""
    let_channels_be_told_functions(monkeypatch)


def exit_at_once():
    """Be an order that crashes the channel."""
    raise SystemExit


# --- coming back ----------------------------------------------------------------------------------------------------


def test_the_next_use_after_a_crash_finds_everything_as_it_was(channel):
    """Another actor, with the same subscribers, their unread messages, and the evolved schema (CH-14)."""
    plain, filtered = channel.subscribe(), channel.subscribe_filtered(lambda _: True)
    evolved = channel.evolve("note", {"type": "string"}, "none")
    channel.publish(order(1))
    before = channel.ref()

    crash(channel)

    assert channel.publish_with_delivery(order(2)) == Delivery(accepted=2)
    assert channel.ref().actor_urn != before.actor_urn
    assert channel.schema == evolved
    envelopes = list(iter(plain.try_next, None))
    assert [envelope.schema_id for envelope in envelopes] == [evolved.id] * 2
    assert numbers(filtered) == [1, 2]


@pytest.mark.parametrize("when", ["before", "while", "after"])
def test_a_subscriber_from_before_the_crash_may_leave(channel, when):
    """Whether it is dropped before the restart or after it, the count falls and the inbox is forgotten (CH-14)."""
    dropped, left, staying = channel.subscribe(), channel.subscribe(), channel.subscribe()

    def leave():
        nonlocal dropped
        left.unsubscribe()
        del dropped
        collect()

    if when == "before":
        leave()
    crash(channel)
    if when == "while":
        leave()
    channel.publish(order(1))
    if when == "after":
        leave()

    assert channel.subscriber_count == 1
    assert int(channel.publish_with_delivery(order(2))) == 1
    assert numbers(staying) == [1, 2]
    assert len(channel.session.fanout._inboxes) == 1


def test_an_order_that_crashes_the_channel_is_answered(channel, told_functions):
    """Whoever gave it gets a library error; the next use works (CH-14, GR-05)."""
    subscription = channel.subscribe()

    with pytest.raises(DeliveryFailed):
        channel.session.ask(exit_at_once)

    channel.publish(order(1))
    assert numbers(subscription) == [1]
    assert channel.session.incarnation == 2


def test_racing_restarts_give_one_actor(channel):
    """Sixteen threads that use a crashed channel at once find the same new actor (CH-16)."""
    subscription = channel.subscribe()
    for round_number in range(5):
        crash(channel)
        start = threading.Barrier(16)

        def use(start=start):
            start.wait(WAIT_S)
            channel.publish(order(1))
            return channel.ref().actor_urn

        urns = {reply.get(timeout=WAIT_S) for reply in [later(use) for _ in range(16)]}

        assert len(urns) == 1
        assert channel.session.incarnation == round_number + 2
    assert subscription.depth == 5 * 16


def test_a_crash_of_one_channel_is_nothing_to_another(channel):
    """The other keeps its actor, its subscribers and its traffic (CH-16)."""
    other = ChannelHandle(make_config("other"))
    subscription = other.subscribe()
    before = other.ref()

    crash(channel)
    other.publish(order(1))

    assert other.ref() is before
    assert numbers(subscription) == [1]
    other.close()


class User(LinkedActor):
    """Does what it is told, on its own turn."""

    def on_receive(self, message):
        return message()


class QuietUser(User):
    """The same, inside a drain of the pool."""

    never_blocks = True


@pytest.mark.parametrize("kind", [User, QuietUser])
def test_an_actor_may_restart_a_channel(channel, kind):
    """A restart that is needed on an actor's thread, in the middle of a drain, works like any other (CH-14, GR-07)."""
    subscription = channel.subscribe_filtered(lambda _: True)
    user = kind.start()
    crash(channel)

    assert int(user.ask(lambda: channel.publish_with_delivery(order(1)), timeout=WAIT_S)) == 1
    assert numbers(subscription) == [1]
    assert channel.session.incarnation == 2
    user.stop()


# --- the budget -----------------------------------------------------------------------------------------------------


def test_a_budget_of_one_survives_one_crash():
    """The second crash within the window is the end: errors, and no actor (CH-15)."""
    channel = ChannelHandle(make_config(), restarts=RestartIntensity(max_restarts=1, within_s=60.0))
    subscription = channel.subscribe()
    crash(channel)
    channel.publish(order(1))
    crash(channel)

    for use in (lambda: channel.publish(order(2)), channel.subscribe, channel.ref):
        with pytest.raises(DeliveryFailed, match="more than 1 times within 60 s"):
            use()

    assert channel.session.incarnation == 2
    assert channel.subscriber_count == 0
    assert numbers(subscription) == [1]
    channel.close()
    assert not subscription.is_active


def test_a_channel_that_never_restarts_fails_promptly():
    """An operation on it fails far below the limit of a command, as a library error (CH-15, CH-17)."""
    channel = ChannelHandle(make_config(), restarts=NEVER)
    channel.subscribe()
    crash(channel)
    began_s = runtime().now()

    with pytest.raises(DeliveryFailed, match="not to be started again"):
        channel.publish(order(1))

    assert runtime().now() - began_s < 1.0
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.publish(order(1))


def test_old_crashes_are_forgiven():
    """The budget counts restarts within its window, and a refused one does not prolong it (CH-15)."""
    budget = RestartBudget(RestartIntensity(max_restarts=2, within_s=10.0))

    assert [budget.take(at_s) for at_s in (0.0, 4.0, 5.0, 9.0)] == [True, True, False, False]
    assert budget.is_spent(10.0)
    assert budget.take(10.5)
    assert not budget.take(13.0)
    assert [budget.take(at_s) for at_s in (15.0, 15.0)] == [True, False]


# --- what was under way ---------------------------------------------------------------------------------------------


def test_what_waits_for_a_channel_that_dies_fails_and_never_runs(channel, told_functions):
    """Each publisher is told, nothing of theirs arrives later, and the next publish is prompt (CH-19)."""
    subscription = channel.subscribe()
    with gate() as busy:
        later(lambda: channel.ref().tell(lambda: busy() and exit_at_once()))
        busy.wait_entered()
        doomed = [later(functools.partial(channel.publish, order(each))) for each in range(8)]
        inbox = channel.ref().actor_inbox
        wait_until(lambda: inbox.qsize() >= 8)
        busy.opened.set()
        for reply in doomed:
            with pytest.raises(DeliveryFailed):
                reply.get(timeout=WAIT_S)

    channel.publish(order(100))

    assert numbers(subscription) == [100]


def test_what_was_delivered_is_what_publishers_were_told():
    """Eight publishers against a channel that crashes again and again: each message once, or an error (CH-19)."""
    channel = ChannelHandle(make_config(), restarts=RestartIntensity(max_restarts=10_000, within_s=60.0))
    plain, filtered = channel.subscribe(), channel.subscribe_filtered(lambda _: True)

    def publish(first):
        told = []
        for each in range(first, first + 40):
            try:
                told.append((each, int(channel.publish_with_delivery(order(each)))))
            except DeliveryFailed:
                continue
        return told

    def be_a_nuisance():
        for _ in range(40):
            kill(channel.ref())

    publishers = [later(functools.partial(publish, 100 * each)) for each in range(8)]
    later(be_a_nuisance).get(timeout=WAIT_S)
    told = sorted(each for publisher in publishers for each in publisher.get(timeout=WAIT_S))

    assert {count for _, count in told} <= {2}
    assert sorted(numbers(plain)) == sorted(numbers(filtered)) == [each for each, _ in told]
    channel.close()


def test_an_order_that_was_given_up_is_not_carried_out(channel, told_functions):
    """A publish that got no answer in time is told so, and is not delivered when the channel gets to it (CH-19)."""
    subscription = channel.subscribe()
    inbox = subscription._inbox
    with gate() as busy:
        later(lambda: channel.ref().tell(busy))
        busy.wait_entered()
        session, envelope = channel.session, make_envelope()

        with pytest.raises(DeliveryFailed, match=r"no answer to a Publish within 0\.01 s"):
            session.ask(orders.Publish(envelope, channel.schema, 0.0), timeout=0.01)
        with pytest.raises(DeliveryFailed):
            session.ask(orders.Subscribe(inbox), timeout=0.01)

    channel.publish(order(1))
    assert numbers(subscription) == [1]


def test_a_publish_that_waits_for_its_filters_outlives_the_crash(channel):
    """Its result is what was delivered, once: the crash comes too late for it (CH-19, CH-08)."""
    with gate() as slow:
        plain, filtered = channel.subscribe(), channel.subscribe_filtered(slow)
        publishing = later(lambda: channel.publish_with_delivery(order(1)))
        slow.wait_entered()
        crash(channel)
        slow.opened.set()

        assert publishing.get(timeout=WAIT_S) == Delivery(accepted=2)

    channel.publish(order(2))
    assert numbers(plain) == numbers(filtered) == [1, 2]


def test_a_notice_outlives_the_crash(channel, told_functions):
    """What the house has said is handled by the next actor, once and in order; nobody needs to use it (CH-14)."""
    heard: list[int] = []
    all_heard = runtime().create_future()
    channel.subscribe()
    with gate() as busy:
        later(lambda: channel.ref().tell(lambda: busy() and exit_at_once()))
        busy.wait_entered()
        for each in range(3):
            channel.session.notice(functools.partial(heard.append, each))
        channel.session.notice(functools.partial(all_heard.set, True))
        busy.opened.set()

        assert all_heard.get(timeout=WAIT_S)

    assert heard == [0, 1, 2]


# --- open requests --------------------------------------------------------------------------------------------------


def _request(**limits):
    payload = Payload(data=b"{}", content_type="application/json")
    return ActivityRequest(activity_type="resize", input=payload, **limits)


def _waiting(context, conversation_id="c-1"):
    """Hand in a request that waits for a worker to come."""
    request = _request(schedule_to_start_timeout=60.0)
    conversation = Conversation(conversation_id, request, runtime().create_future())
    context.submit("shop", "media", conversation)
    return conversation


def _spend_budget(channel):
    """Crash it until it does not come back."""
    while channel.session.is_reachable:
        crash(channel)


def test_an_open_request_waits_for_nobody_to_use_the_crashed_channel():
    """The channel comes back by itself where somebody waits for an answer, and the request is served (CH-14)."""
    with WorkerContext() as context:
        conversation = _waiting(context)
        channel = context.channel("shop", "media")
        crash(channel)

        worker = context.register_worker("shop", "media", WorkerCapacity(1, ("resize",)))
        envelope = worker.next(WAIT_S)
        assert envelope is not None
        assert worker.respond(envelope, Completed(Payload(data=b"1", content_type="application/json")))

        assert conversation.reply.get(timeout=WAIT_S) == Completed(Payload(data=b"1", content_type="application/json"))


def test_a_request_that_crashes_the_channel_is_answered(monkeypatch):
    """It fails, whatever it was that broke, and the next one is served (CH-19, GR-06)."""
    take = ChannelState.submit

    def fail(state, conversation):
        monkeypatch.setattr(ChannelState, "submit", take)
        raise MemoryError

    with WorkerContext() as context:
        worker = context.register_worker("shop", "media", WorkerCapacity(1, ("resize",)))
        monkeypatch.setattr(ChannelState, "submit", fail)

        with pytest.raises(ChannelLifecycleError):
            _waiting(context).reply.get(timeout=WAIT_S)

        _waiting(context, "c-2")
        assert worker.next(WAIT_S) is not None


def test_a_restarted_worker_that_fetches_its_work_gets_some():
    """The inbox of the incarnation that crashed is closed; the next one has its own (CH-13, CH-14)."""
    with WorkerContext() as context:
        worker = context.register_worker("shop", "media", WorkerCapacity(1, ("resize",)), restart=True)
        first = worker.participant
        waiting = later(lambda: worker.next(WAIT_S))
        kill(first)
        assert waiting.get(timeout=WAIT_S) is None
        wait_until(lambda: [row.incarnation for row in context.pool(worker.channel_name)] == [2])

        _waiting(context)

        assert worker.next(WAIT_S) is not None
        assert worker.participant is not first


def test_open_requests_are_answered_when_the_budget_is_spent():
    """Nobody waits for ever: each is failed, and one that is handed in then, even from there, fails at once (CH-15)."""
    with WorkerContext() as context:
        first = _waiting(context)
        channel = context.channel("shop", "media")
        again = runtime().create_future()
        first.reply.add_done_callback(lambda: again.set(_waiting(context, "c-2")))
        _spend_budget(channel)

        with pytest.raises(ChannelLifecycleError, match="crashed more than 8 times"):
            first.reply.get(timeout=WAIT_S)
        with pytest.raises(DeliveryFailed, match="crashed more than 8 times"):
            again.get(timeout=WAIT_S).reply.get(timeout=WAIT_S)


def test_open_requests_are_answered_when_a_crashed_channel_is_closed(told_functions):
    """The close finds no actor to do it, and does it all the same (CH-18)."""
    channel = ChannelHandle(make_config(), restarts=NEVER)
    subscription = channel.subscribe()
    conversation = Conversation("c-1", _request(schedule_to_start_timeout=60.0), runtime().create_future())
    with gate() as busy:
        later(lambda: channel.ref().tell(lambda: busy() and exit_at_once()))
        busy.wait_entered()
        channel.session.submit(conversation)
        closing = later(channel.close)
        busy.opened.set()
        closing.get(timeout=WAIT_S)

    with pytest.raises((ChannelLifecycleError, DeliveryFailed)):
        conversation.reply.get(timeout=WAIT_S)
    assert not subscription.is_active
