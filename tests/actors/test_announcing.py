"""What a channel tells of requests and messages: that they wait, how they ended, how long it took; and its figures."""

import threading

import pytest
from channelkit import crash as crash_channel
from channelkit import gate, make_config, order, wait_until
from contextkit import events_of
from dispatchkit import (
    CHANNEL,
    add_worker,
    channel_of,
    context_with,
    crash,
    dispatch,
    error_of,
    fetch,
    session_of,
    stuck,
    submit,
)
from linkkit import PATIENCE_S
from statekit import make_conversation

from limen.actors import _orders as orders
from limen.actors._announcing import outcome_of
from limen.actors.channel_handle import NEVER, ChannelHandle
from limen.actors.runtime import runtime
from limen.messages import (
    ActivityCancelled,
    ChannelClosed,
    ChannelLifecycleError,
    Completed,
    DeliveryFailed,
    Failed,
    NoWorkersAvailable,
)
from limen.messages.dispatch_errors import (
    ActivityFailed,
    ActivityTimedOut,
    DispatchFailed,
    PoisonActivity,
    QueueFull,
    UnknownWorkerSelected,
)
from limen.messages.events import Event, EventKind, Outcome
from limen.messages.retry import Retry

ENDS = [
    (Completed(), Outcome.COMPLETED),
    (ActivityFailed("c", "w", "a", "worker-1", "ValueError", "no"), Outcome.FAILED),
    (UnknownWorkerSelected("c", "w", "ghost"), Outcome.FAILED),
    (DispatchFailed("c", "w", "m"), Outcome.FAILED),
    (ValueError("no"), Outcome.FAILED),
    (ActivityTimedOut("c", "w", "start_to_close", "a", None, 1.0, 1.0), Outcome.TIMED_OUT),
    (ActivityCancelled("a"), Outcome.CANCELLED),
    (QueueFull("c", "w", "a", 3), Outcome.REJECTED),
    (NoWorkersAvailable("c", "w", "a"), Outcome.UNSERVED),
    (PoisonActivity("c", "w", "a", 3, "worker-1"), Outcome.POISON),
    (ChannelLifecycleError("c", "closed"), Outcome.CLOSED),
    (ChannelClosed("closed"), Outcome.CLOSED),
    (DeliveryFailed("down"), Outcome.CLOSED),
]


def _of(events: list[Event], kind: EventKind) -> list[Event]:
    return [each for each in events if each.kind is kind]


def _ends(events: list[Event]) -> list[tuple[str | None, Outcome | None]]:
    return [(each.conversation_id, each.outcome) for each in _of(events, EventKind.CONCLUDED)]


@pytest.mark.parametrize(("end", "outcome"), ENDS, ids=lambda each: type(each).__name__)
def test_an_end_has_a_word(end, outcome):
    """MX-02, MX-07: each way for a request to end counts as one of a few."""
    assert outcome_of(end) is outcome


def test_every_way_to_end_is_told_once():
    """MX-02, invariant 3: result, failure after a retry, cancelled before and while it runs, and the end of all."""
    with context_with() as context:
        worker = add_worker(context, None)
        events = events_of(context, CHANNEL)
        submit(context, name="good")
        worker.respond(fetch(worker), Completed())
        bad = submit(context, name="bad", retry=Retry(max_attempts=2, initial=0))
        for _ in range(2):
            worker.respond(fetch(worker), Failed(ValueError("no"), retryable=True))
        error_of(bad)
        running, waiting = submit(context, name="running"), submit(context, name="waiting")
        for each in (running, waiting):
            session_of(context).notice(orders.Cancel(each))
            error_of(each)
        submit(context, name="last")

    assert _ends(events) == [
        ("good", Outcome.COMPLETED),
        ("bad", Outcome.FAILED),
        ("running", Outcome.CANCELLED),
        ("waiting", Outcome.CANCELLED),
        ("last", Outcome.CLOSED),
    ]
    assert "no" in _of(events, EventKind.CONCLUDED)[1].detail


def test_an_end_says_who_had_it_and_how_long_it_took():
    """MX-02: the duration is from being accepted to the outcome, in seconds; also for what nobody records or limits."""
    with stuck() as activity, context_with({"handler": activity}) as context:
        events = events_of(context, CHANNEL)
        began_s = runtime().now()
        plain = submit(context, make_conversation("c-1", plain=True))
        activity.wait_begun()
        handed_s = runtime().now()
        activity.go_on.set()
        plain.result(PATIENCE_S)
        context.pool(CHANNEL)
        (end,) = _of(events, EventKind.CONCLUDED)

        assert (end.worker_id, end.incarnation, end.conversation_id) == ("worker-1", 1, "c-1")
        assert (end.activity_type, end.outcome) == ("encode", Outcome.COMPLETED)
        assert end.took_s is not None
        assert 0 <= end.took_s <= runtime().now() - began_s
        assert end.at_s >= handed_s


def test_a_request_from_before_anybody_listened_has_no_duration():
    """MX-02: it was not noted when it came; its end is told all the same."""
    with context_with() as context:
        worker = add_worker(context, None)
        submit(context, make_conversation("c-1", plain=True))
        events = events_of(context, CHANNEL)
        worker.respond(fetch(worker), Completed())

        assert [(each.outcome, each.took_s) for each in _of(events, EventKind.CONCLUDED)] == [(Outcome.COMPLETED, None)]


def test_a_request_that_has_to_wait_is_told_of_at_once():
    """MX-03: also where it would otherwise lie in the tray until a slot is free."""
    with stuck() as activity, context_with({"handler": activity}) as context:
        events = events_of(context, CHANNEL)
        several = [submit(context, make_conversation(f"c-{number}", plain=True)) for number in range(4)]
        activity.wait_begun()
        context.pool(CHANNEL)

        assert [each.conversation_id for each in _of(events, EventKind.DEFERRED)] == ["c-1", "c-2", "c-3"]
        activity.go_on.set()
        for each in several:
            each.result(PATIENCE_S)


def test_a_request_that_is_not_taken_ends_at_once():
    """MX-03, MX-07: nobody serves it; the queue is full; its id is taken."""
    with context_with() as context:
        worker = add_worker(context, None)
        events = events_of(context, CHANNEL)
        session_of(context).state.queue_limit = 1
        for name, kind in [("a", "encode"), ("b", "encode"), ("c", "encode"), ("d", "other"), ("a", "encode")]:
            submit(context, make_conversation(name, kind))
        context.pool(CHANNEL)

        assert _ends(events) == [("c", Outcome.REJECTED), ("d", Outcome.UNSERVED), ("a", Outcome.FAILED)]
        assert worker.worker_id == "worker-1"


def test_a_result_that_came_before_the_workers_end_is_an_end_once():
    """MX-02, invariant 3: the answer and the death race; the request has one outcome."""
    with context_with() as context:
        worker = add_worker(context, None)
        events = events_of(context, CHANNEL)
        for number in range(20):
            submit(context, name=f"c-{number}")
            envelope = fetch(worker)
            worker.respond(envelope, Completed())
        crash(worker.participant)
        context.pool(CHANNEL)

        assert _ends(events) == [(f"c-{number}", Outcome.COMPLETED) for number in range(20)]


def test_a_crash_says_how_long_the_dead_worker_was_still_listed():
    """MX-07, LM-11: from its death to its removal; leaving by request says nothing of the kind."""
    with context_with() as context:
        first, second = add_worker(context, None), add_worker(context, None)
        events = events_of(context, CHANNEL)
        crash(first.participant)
        wait_until(lambda: len(context.pool(CHANNEL)) == 1)
        second.unregister()

        (crashed,), (left,) = _of(events, EventKind.CRASHED), _of(events, EventKind.UNREGISTERED)
        assert crashed.took_s is not None
        assert 0 <= crashed.took_s < PATIENCE_S
        assert left.took_s is None


def test_those_who_wait_on_a_channel_that_is_down_for_good_are_told_of_too():
    """MX-02, MX-07: the channel's actor is not to be restarted; whoever answers in its place says so."""
    with context_with() as context:
        worker = add_worker(context, None)
        events = events_of(context, CHANNEL)
        session = session_of(context)
        session._budget._limit = NEVER
        open_one = submit(context, name="open")
        fetch(worker)
        crash_channel(channel_of(context))
        assert isinstance(error_of(open_one), ChannelLifecycleError)
        late = submit(context, name="late")
        error_of(late)

        assert _ends(events) == [("open", Outcome.CLOSED), ("late", Outcome.CLOSED)]


# --- messages -------------------------------------------------------------------------------------------------------


def _listened(channel: ChannelHandle) -> list[Event]:
    events: list[Event] = []
    channel.session.ask(orders.Listen(events.append))
    return events


def test_a_publish_is_told_of_when_it_is_in_every_inbox():
    """MX-01: how many took it, and how long it took from the call on."""
    channel = ChannelHandle(make_config())
    first, second = channel.subscribe(), channel.subscribe()
    events = _listened(channel)
    channel.publish(order(1))

    (told,) = events
    assert (told.kind, told.channel_name, told.detail) == (EventKind.PUBLISHED, "orders", "to 2")
    assert told.took_s is not None
    assert 0 <= told.took_s < PATIENCE_S
    assert (first.depth, second.depth) == (1, 1)
    channel.close()


def test_a_publish_that_waits_for_filters_is_told_of_after_them():
    """MX-01: the latency is that of the last inbox."""
    channel = ChannelHandle(make_config())
    with gate() as held:
        filtered = channel.subscribe_filtered(held)
        events = _listened(channel)
        publisher = threading.Thread(target=channel.publish, args=(order(1),))
        publisher.start()
        held.wait_entered()
        during = list(events)
        held.opened.set()
        publisher.join(PATIENCE_S)
        wait_until(lambda: bool(events))

    assert (during, [each.detail for each in events], filtered.depth) == ([], ["to 1"], 1)
    channel.close()


def test_a_publish_that_is_refused_is_not_told_of():
    """MX-01, CD-13: nobody received it, so nothing happened."""
    channel = ChannelHandle(make_config())
    events = _listened(channel)
    with pytest.raises(Exception, match="id"):
        channel.publish(b"{}")
    channel.close()

    assert events == []


# --- figures --------------------------------------------------------------------------------------------------------


def test_a_channels_figures_agree():
    """MX-01, MX-02, MX-07: workers, who waits, what is open, subscribers, and what they have not read."""
    with context_with() as context:
        worker = add_worker(context, None, slots=2)
        subscription = channel_of(context).subscribe()
        empty = session_of(context).ask(orders.Measure())
        for number in range(5):
            submit(context, name=f"c-{number}")
        figures = session_of(context).ask(orders.Measure())

        assert (empty.waiting, empty.open, empty.subscribers, empty.unread) == (0, 0, 2, 0)
        assert (figures.waiting, figures.open, figures.subscribers) == (3, 5, 2)
        assert [(row.worker_id, row.in_flight) for row in figures.workers] == [("worker-1", 2)]
        fetch(worker)
        before = session_of(context).ask(orders.Measure()).unread
        fetch(worker)
        assert session_of(context).ask(orders.Measure()).unread == before - 1
        assert subscription.is_active


def test_nothing_is_noted_while_nobody_listens():
    """MX-05: a plain request is not even looked at on the clock."""
    with context_with({}) as context:
        plain = submit(context, make_conversation("c-1", plain=True))
        plain.result(PATIENCE_S)

        assert (plain.accepted_s, plain.is_told) == (None, False)
        dispatch(context)
