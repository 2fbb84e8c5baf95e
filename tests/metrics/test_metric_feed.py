"""What limen counts by itself: channels, requests, pressure, workers; from an application, a channel, or everywhere."""

import gc
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from channelkit import crash as crash_channel
from channelkit import make_config, order, wait_until
from dispatchkit import CHANNEL, add_worker, channel_of, context_with, crash, error_of, fetch, session_of, stuck, submit
from statekit import make_conversation, make_request

from limen import Limen, Retry, activity
from limen.actors import _orders as orders
from limen.actors import channel_session
from limen.actors.channel_handle import ChannelHandle
from limen.actors.context import WorkerContext
from limen.messages import Completed
from limen.messages.events import Event, EventKind
from limen.metrics import (
    MEASURES,
    AlreadyInstalled,
    Distribution,
    Kind,
    Registry,
    _process,
    feed,
    follow,
    install,
    installed,
)
from limen.testing import simulated

TIMEOUT_S = 10
QUEUE = "aion.dispatch.default.q"


@activity(queue="q")
def double(number: int) -> int:
    """Give twice as much."""
    return 2 * number


@activity(queue="q")
def fail() -> None:
    """Raise."""
    raise ValueError("no")


@activity(queue="q")
def die() -> None:
    """Take the worker along."""
    sys.exit("down")


def _count(snapshot, name, **labels):
    """Give how often something was observed."""
    value = snapshot.value(name, **labels)
    return value.count if isinstance(value, Distribution) else value


@pytest.fixture
def registry():
    """A registry of the test's own."""
    return Registry()


@pytest.fixture
def everywhere(monkeypatch):
    """A registry that is installed, for the length of a test."""
    monkeypatch.setattr(_process, "_installed", [])
    monkeypatch.setattr(channel_session, "FOLLOWERS", [])
    return install(Registry())


# --- conversations --------------------------------------------------------------------------------------------------


def test_three_outcomes_are_counted(registry):
    """MX-02: completed is a completion, failed and timed out are errors; all have a duration, and none is active."""
    with Limen(metrics=registry) as app:
        app.worker("q", [double, fail])
        app.dispatch(double, 1).result(TIMEOUT_S)
        app.dispatch(fail).exception(TIMEOUT_S)
        app.dispatch(activity(queue="q")(len).options(schedule_to_start=0.001), []).exception(TIMEOUT_S)
        app.pool("q")
        snapshot = registry.snapshot()

    assert snapshot.value("conversation_active_count") == 0
    assert snapshot.value("conversation_completion_count") == 1
    assert snapshot.value("conversation_error_count") == 2
    assert _count(snapshot, "conversation_duration") == 3
    outcomes = {each: snapshot.value("dispatch_count", channel=QUEUE, outcome=each) for each in ("completed", "failed")}
    assert outcomes == {"completed": 1, "failed": 1}


def test_the_duration_is_in_seconds_and_the_active_are_counted(registry):
    """MX-02: a request that is held is active, and then took at least as long as it was held."""
    with context_with() as context, stuck() as held:
        worker = add_worker(context, held)
        follow(channel_of(context), registry)
        conversation = submit(context, make_conversation("c-1", plain=True))
        held.wait_begun()
        during = registry.snapshot()
        held.go_on.set()
        conversation.result(TIMEOUT_S)
        context.pool(CHANNEL)
        took = registry.snapshot().value("conversation_duration")

        assert during.value("conversation_active_count") == 1
        assert isinstance(took, Distribution)
        assert 0 < took.sum < TIMEOUT_S
        assert worker.worker_id == "worker-1"


def test_a_cancelled_request_is_neither_a_completion_nor_an_error(registry):
    """MX-02: it ended, it took its time, and that was what its caller wanted."""
    with context_with() as context:
        worker = add_worker(context, None)
        follow(channel_of(context), registry)
        running = submit(context, name="c-1")
        fetch(worker)
        session_of(context).notice(orders.Cancel(running))
        error_of(running)
        snapshot = registry.snapshot()

    assert snapshot.value("dispatch_count", channel=CHANNEL, outcome="cancelled") == 1
    assert (snapshot.value("conversation_completion_count"), snapshot.value("conversation_error_count")) == (0, 0)
    assert _count(snapshot, "conversation_duration") == 1


def test_attempts_and_retries_are_counted(registry):
    """MX-07: what a request went through, next to how it ended."""
    with Limen(metrics=registry) as app:
        app.worker("q", [fail])
        app.dispatch(fail.options(retry=Retry(max_attempts=3, initial=0))).exception(TIMEOUT_S)
        snapshot = registry.snapshot()

    assert snapshot.value("dispatch_attempt_count", channel=QUEUE) == 3
    assert snapshot.value("dispatch_retry_count", channel=QUEUE) == 2
    assert snapshot.value("dispatch_count", channel=QUEUE, outcome="failed") == 1


def test_work_that_is_shared_is_counted_once_and_its_callers_each(registry):
    """MX-02, DU-17: two requests of one key: two ends, both active until then, and the attempts of one."""
    with Limen(metrics=registry) as app, stuck() as held:

        @activity(queue="q")
        def wait() -> None:
            held(make_request())

        app.worker("q", [wait])
        handles = [app.dispatch(wait.options(key="same")) for _ in range(2)]
        held.wait_begun()
        during = registry.snapshot()
        held.go_on.set()
        for each in handles:
            each.result(TIMEOUT_S)
        app.pool("q")
        snapshot = registry.snapshot()

    assert during.value("conversation_active_count") == 2
    assert snapshot.value("conversation_completion_count") == 2
    assert snapshot.value("dispatch_attempt_count", channel=QUEUE) == 1


# --- pressure -------------------------------------------------------------------------------------------------------


def test_accept_counts_nothing_defer_and_reject_count(registry):
    """MX-03: three outcomes, by filling a worker of one slot and a queue of one place."""
    with context_with() as context:
        worker = add_worker(context, None)
        follow(channel_of(context), registry)
        session_of(context).state.queue_limit = 1

        def counts():
            return [
                registry.snapshot().value(f"pressure_{each}_count", channel=CHANNEL) for each in ("defer", "reject")
            ]

        for number, expected in enumerate([[0, 0], [1, 0], [1, 1]]):
            submit(context, name=f"c-{number}")
            assert counts() == expected
        snapshot = registry.snapshot()
        assert snapshot.value("dispatch_count", channel=CHANNEL, outcome="rejected") == 1
        assert snapshot.value("channel_queue_depth", channel=CHANNEL) == 1 + session_of(context).fanout.unread
        assert snapshot.value("pressure_capacity_utilization", consumer=worker.worker_id) == 1


def test_what_is_held_in_advance_shows_in_the_utilization():
    """MX-03: the share is not clamped; a worker without slots uses none of them."""
    with context_with() as context:
        worker = add_worker(context, None, slots=2)
        row = context.pool(CHANNEL)[0]
        over = feed._utilization(type(row)(*_row(row, in_flight=2, queued=1)))
        none = feed._utilization(type(row)(*_row(row, max_concurrent=0)))

        assert (over, none) == (1.5, 0)
        assert worker.worker_id == row.worker_id


def _row(row, **changes):
    return [changes.get(name, getattr(row, name)) for name in row.__match_args__]


# --- channels -------------------------------------------------------------------------------------------------------


def test_publishing_and_subscribing_change_a_channels_figures(registry):
    """MX-01: the rate, the subscribers, what lies unread, and the latency in milliseconds."""
    channel = ChannelHandle(make_config())
    follow(channel, registry)
    first, second = channel.subscribe(), channel.subscribe()
    for number in range(3):
        channel.publish(order(number))
    first.try_next()
    before = registry.snapshot()
    second.unsubscribe()
    wait_until(lambda: registry.snapshot().value("channel_subscriber_count", channel="orders") == 1)
    after = registry.snapshot()
    channel.close()

    def figures(snapshot):
        return [
            snapshot.value(f"channel_{each}", channel="orders")
            for each in ("message_rate", "subscriber_count", "queue_depth")
        ]

    latency = before.value("channel_delivery_latency", channel="orders")
    assert figures(before) == [3, 2, 5]
    assert figures(after) == [3, 1, 2]
    assert isinstance(latency, Distribution)
    assert latency.count == 3
    assert 0 < latency.sum < TIMEOUT_S * 1000


def test_a_channel_that_is_gone_has_no_gauges(registry):
    """MX-07: what was counted stays, what was a state of it is gone; and the channel is not kept alive."""
    channel = ChannelHandle(make_config())
    follow(channel, registry)
    session = weakref.ref(channel.session)
    channel.publish(order(1))
    channel.close()
    closed = registry.snapshot()
    del channel
    gc.collect()

    assert closed.value("channel_message_rate", channel="orders") == 1
    assert closed.value("channel_subscriber_count", channel="orders") is None
    assert session() is None
    assert registry.snapshot() == closed


def test_a_channel_outlives_its_actor_in_the_figures(registry):
    """CH-14, MX-05: the next actor of a channel that crashed is listened to, and a snapshot never fails."""
    channel = ChannelHandle(make_config())
    follow(channel, registry)
    subscription = channel.subscribe()
    crash_channel(channel)
    channel.publish(order(1))
    snapshot = registry.snapshot()
    channel.close()

    assert snapshot.value("channel_message_rate", channel="orders") == 1
    assert snapshot.value("channel_subscriber_count", channel="orders") == 1
    assert not subscription.is_active


def test_following_twice_counts_once(registry):
    """MX-05: one registry, one feed, one listener on each channel."""
    channel = ChannelHandle(make_config())
    for _ in range(2):
        follow(channel, registry)
    subscription = channel.subscribe()
    channel.publish(order(1))
    snapshot = registry.snapshot()

    assert len(channel.session.listeners) == len(registry.sources) == 1
    assert snapshot.value("channel_message_rate", channel="orders") == 1
    assert snapshot.value("channel_subscriber_count", channel="orders") == 1
    assert subscription.depth == 1
    channel.close()


def test_what_stands_for_a_channel_is_that_channel(registry):
    """MX-05: an application over a broker counts what is done in this process; nothing is there twice."""

    class Stand:
        """What a broker's engine gives for a queue."""

        closed = False

        def __init__(self, session: Any) -> None:
            self.local = session.local
            self.session: Any = self

    with context_with() as context:
        worker = add_worker(context, None)
        for each in (channel_of(context), Stand(session_of(context)), Stand(Stand(session_of(context)))):
            follow(each, registry)
        snapshot = registry.snapshot()

        assert snapshot.value("worker_registered_count", channel=CHANNEL) == 1
        assert len(session_of(context).listeners) == 1
        assert worker.worker_id == "worker-1"


def test_looking_starts_nothing(registry, monkeypatch):
    """CH-01, MX-05: a channel that nobody has used has no figures, and none is started for them."""
    monkeypatch.setattr(channel_session, "FOLLOWERS", [feed.feed_of(registry).adopt])
    channel = ChannelHandle(make_config())
    snapshot = registry.snapshot()

    assert snapshot.value("channel_subscriber_count", channel="orders") is None
    assert channel.session.incarnation == 0


# --- workers --------------------------------------------------------------------------------------------------------


def test_a_crash_is_counted_and_the_worker_is_gone(registry):
    """MX-07: crash one worker: the counter is 1, the gauge is one less, its own series are gone, and it was quick."""
    with context_with() as context:
        first, second = add_worker(context, None, slots=2), add_worker(context, None)
        follow(channel_of(context), registry)
        submit(context, name="c-1")
        before = registry.snapshot()
        crash(first.participant)
        wait_until(lambda: len(context.pool(CHANNEL)) == 1)
        after = registry.snapshot()
        removal = after.value("worker_removal_latency", channel=CHANNEL)

        assert [before.value("worker_registered_count", channel=CHANNEL)] == [2]
        assert [after.value("worker_registered_count", channel=CHANNEL)] == [1]
        assert (before.value("worker_crash_count", channel=CHANNEL) or 0) == 0
        assert after.value("worker_crash_count", channel=CHANNEL) == 1
        assert isinstance(removal, Distribution)
        assert removal.count == 1
        assert 0 <= removal.sum < TIMEOUT_S * 1000
        for name in ("worker_in_flight", "worker_slots", "worker_abandoned_count"):
            assert before.value(name, channel=CHANNEL, worker="worker-1") is not None
            assert after.value(name, channel=CHANNEL, worker="worker-1") is None
        assert after.value("pressure_capacity_utilization", consumer="worker-1") is None
        assert after.value("worker_in_flight", channel=CHANNEL, worker="worker-2") == 1
        assert second.worker_id == "worker-2"


def test_a_worker_is_registered_active_and_in_flight(registry):
    """MX-07: how many there are, how many have something to do, and how much each has."""
    with context_with() as context:
        first, second = add_worker(context, None, slots=3), add_worker(context, None, slots=3)
        follow(channel_of(context), registry)
        for name in ("c-1", "c-2", "c-3"):
            submit(context, name=name)
        fetch(first)
        snapshot = registry.snapshot()
        second.unregister()
        after = registry.snapshot()

    def of(snapshot, name, **labels):
        return snapshot.value(name, channel=CHANNEL, **labels)

    assert of(snapshot, "worker_registered_count") == of(snapshot, "worker_active_count") == 2
    assert (
        of(snapshot, "worker_in_flight", worker="worker-1") + of(snapshot, "worker_in_flight", worker="worker-2") == 3
    )
    assert of(snapshot, "worker_slots", worker="worker-1") == 3
    assert of(after, "worker_registered_count") == 1
    assert of(after, "worker_in_flight", worker="worker-2") is None
    assert of(after, "worker_crash_count") == 0


def test_a_process_that_dies_under_an_activity_is_not_a_worker_that_dies(registry):
    """MX-07: its worker lives; what is counted is the process."""
    counter = feed.feed_of(registry)
    told: dict[str, Any] = {"channel_name": CHANNEL, "at_s": 0.0, "worker_id": "worker-1"}
    counter.take(Event(kind=EventKind.CRASHED, conversation_id="c-1", **told))
    counter.take(Event(kind=EventKind.CRASHED, took_s=0.002, **told))
    snapshot = registry.snapshot()

    assert snapshot.value("worker_process_crash_count", channel=CHANNEL) == 1
    assert snapshot.value("worker_crash_count", channel=CHANNEL) == 1
    assert _count(snapshot, "worker_removal_latency", channel=CHANNEL) == 1


@simulated(10)
def test_a_crash_is_counted_in_virtual_time(sim):
    """MX-07, MX-02: poison takes three workers along; each is counted, and the request has one outcome."""
    registry = Registry()
    with Limen(metrics=registry) as app:
        app.worker("q", [die, double])
        app.dispatch(die).exception(TIMEOUT_S)
        app.dispatch(double, 4).result(TIMEOUT_S)
        sim.settle()
        snapshot = registry.snapshot()

        assert snapshot.value("dispatch_dead_letter_count", channel=QUEUE) == 1
        assert snapshot.value("worker_crash_count", channel=QUEUE) == 3
        assert snapshot.value("worker_registered_count", channel=QUEUE) == 1
        assert snapshot.value("dispatch_count", channel=QUEUE, outcome="poison") == 1
        assert snapshot.value("dispatch_count", channel=QUEUE, outcome="completed") == 1
        assert _count(snapshot, "conversation_duration") == 2


# --- who is counted -------------------------------------------------------------------------------------------------


def test_without_a_registry_nobody_listens():
    """MX-05: an absent registry costs nothing: no channel has a listener."""
    with Limen() as app:
        app.worker("q", [double])
        app.dispatch(double, 1).result(TIMEOUT_S)
        session = app._ports["q"].session

        assert session.listeners == ()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_without_a_registry_nothing_of_it_is_imported(run_python, tmp_path):
    """MX-05: not even the modules."""
    script = tmp_path / "plain.py"
    script.write_text(
        "import sys, limen\n"
        "@limen.activity\n"
        "def one(): return 1\n"
        "with limen.Limen() as app:\n"
        "    app.worker('default', [one])\n"
        "    assert app.dispatch(one).result(5) == 1\n"
        "assert not [name for name in sys.modules if name.startswith('limen.metrics')]\n"
    )

    done = run_python(script)

    assert done.returncode == 0, done.stdout


def test_a_registry_is_installed_once(everywhere):
    """MX-05: the second attempt is refused, also with the same registry."""
    assert (installed(),) == (everywhere,)
    registries: list[Registry] = [Registry(), everywhere]
    for registry in registries:
        with pytest.raises(AlreadyInstalled):
            install(registry)
    assert installed() is everywhere


def test_an_installed_registry_hears_of_every_channel(everywhere):
    """MX-05, MX-01: of applications, of contexts and of bare channels that are made after it."""
    channel = ChannelHandle(make_config())
    subscription = channel.subscribe()
    channel.publish(order(1))
    with Limen(metrics=everywhere) as app, WorkerContext() as context:
        app.worker("q", [double])
        app.dispatch(double, 1).result(TIMEOUT_S)
        app.pool("q")
        worker = add_worker(context, None)
        submit(context, name="c-1")
        worker.respond(fetch(worker), Completed())
        context.pool(CHANNEL)
        snapshot = everywhere.snapshot()

    assert snapshot.value("channel_message_rate", channel="orders") == 1
    assert snapshot.value("dispatch_count", channel=QUEUE, outcome="completed") == 1
    assert snapshot.value("dispatch_count", channel=CHANNEL, outcome="completed") == 1
    assert snapshot.value("conversation_completion_count") == 2
    assert subscription.depth == 1
    channel.close()


def test_two_applications_in_one_registry_add_up(registry):
    """MX-05: counters and gauges of channels of the same name."""
    with Limen(metrics=registry) as first, Limen(metrics=registry) as second:
        for app in (first, second):
            app.worker("q", [double])
            app.dispatch(double, 1).result(TIMEOUT_S)
            app.pool("q")
        snapshot = registry.snapshot()

    assert snapshot.value("worker_registered_count", channel=QUEUE) == 2
    assert snapshot.value("dispatch_count", channel=QUEUE, outcome="completed") == 2


def test_a_name_that_is_taken_costs_its_metric_and_nothing_else(registry):
    """MX-04: somebody has a gauge where limen would count; the dispatcher goes on, and so do the other metrics."""
    registry.gauge("dispatch_attempt_count").set(-1)
    with Limen(metrics=registry) as app:
        app.worker("q", [double])
        assert app.dispatch(double, 1).result(TIMEOUT_S) == 2
        app.pool("q")
        snapshot = registry.snapshot()

    assert snapshot.value("dispatch_attempt_count") == -1
    assert snapshot.value("dispatch_count", channel=QUEUE, outcome="completed") == 1


def test_an_event_of_a_kind_that_is_not_counted_changes_nothing(registry):
    """MX-07: kinds may be added without a thought for metrics."""
    counter = feed.feed_of(registry)
    for kind in EventKind:
        counter.take(Event(kind=kind, channel_name=CHANNEL, at_s=0.0))

    assert registry.snapshot().value("channel_message_rate", channel=CHANNEL) == 1


def test_snapshots_do_not_disturb_the_work(registry):
    """MX-05: taken all the time while requests come and go, on another thread; at the end all is counted."""
    done = threading.Event()

    def look():
        while not done.is_set():
            registry.snapshot()

    with Limen(metrics=registry) as app:
        app.worker("q", [double], max_concurrent=2)
        looker = threading.Thread(target=look)
        looker.start()
        try:
            assert sorted(app.map(double, range(200))) == list(range(0, 400, 2))
        finally:
            done.set()
            looker.join()
        app.pool("q")
        snapshot = registry.snapshot()

    assert snapshot.value("dispatch_count", channel=QUEUE, outcome="completed") == 200
    assert _count(snapshot, "conversation_duration") == 200


def test_every_metric_of_ours_is_described():
    """MX-01 to MX-03, MX-07: a name, a unit and a text each; gauges are read, and only histograms have buckets."""
    names = [each.name for each in MEASURES]

    assert len(names) == len(set(names))
    for each in MEASURES:
        assert each.unit
        assert each.help.endswith(".")
        assert bool(each.buckets) is (each.kind is Kind.HISTOGRAM)


def test_the_documents_list_every_metric():
    """MX-01 to MX-03, MX-07: the table of docs/metrics.md is the list that the code goes by."""
    lines = [
        f"| `{each.name}` | {each.kind} | {labels or 'none'} | {each.unit} | {each.help} |"
        for each in MEASURES
        for labels in [", ".join(f"`{label}`" for label in each.labels)]
    ]
    text = (Path(__file__).parents[2] / "docs/metrics.md").read_text()

    assert [line for line in text.splitlines() if line.startswith("| `")] == lines
