"""The pool over all machines: every host's workers, what they do now, and that a dead one is gone at once."""

import contextlib
import signal
import statistics
import threading
import time

import pytest
import rabbit_activities as acts
from brokerkit import Broker
from drillkit import wait_until
from rabbithosts import Host

from limen import ConfigError, Limen

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 20

BOUND_MS = 1000
"""What holds on a machine that has much else to do; on a quiet one it is some twenty times less."""


def test_any_process_sees_the_workers_of_all_hosts(url, asker):
    """What each can do and does now, and for how long it has been there; those of other queues are not among them."""
    with Limen(url) as one, Limen(url) as other:
        one.worker("work", [acts.double, acts.nap], max_concurrent=2)
        other.worker("work", [acts.whoami], executor="process", max_concurrent=1)
        handle = asker.dispatch(acts.nap, 3.0)
        wait_until(lambda: handle.state == "running")
        rows = asker.pool("work")

        assert [(row.worker_id, row.activity_types, row.in_flight, row.free, row.executor) for row in rows] == [
            ("worker-1", ("double", "nap"), 1, 1, "thread"),
            ("worker-1", ("whoami",), 0, 1, "process"),
        ]
        assert len({row.host for row in rows}) == 2
        assert all(row.host and not row.is_stale for row in rows)
        assert 0 < time.monotonic() - rows[0].since_s < TIMEOUT_S
        assert [row.host for row in other.pool("work")] == [row.host for row in rows]
        assert asker.pool("another") == []
        handle.cancel()


def test_whoever_looks_for_the_first_time_sees_all(url):
    """The broker counts the hosts, so no time that has passed decides who is there."""
    with contextlib.ExitStack() as hosts:
        for number in range(1, 6):
            host = hosts.enter_context(Limen(url))
            host.worker("work", [acts.double])
            with Limen(url) as newcomer:
                assert len(newcomer.pool("work")) == number


def test_the_pool_follows_who_comes_and_goes(url, asker):
    """A worker, a host: without anybody asking again from the start."""
    assert asker.pool("work") == []
    with Limen(url) as host:
        first = host.worker("work", [acts.double])
        assert len(asker.pool("work")) == 1
        host.worker("work", [acts.double], max_concurrent=3)
        assert [row.max_concurrent for row in asker.pool("work")] == [1, 3]
        first.unregister()
        assert [row.max_concurrent for row in asker.pool("work")] == [3]
    assert asker.pool("work") == []


@pytest.fixture(params=["rabbitmq_management,rabbitmq_event_exchange", "rabbitmq_management"], ids=["events", "bare"])
def any_broker(request, tmp_path_factory, broker):
    """A broker with the plugin that tells of consumers that come and go, and one without."""
    if "event_exchange" in request.param:
        yield broker
        return
    made = Broker(tmp_path_factory.mktemp("bare"), plugins=request.param)
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_a_killed_host_is_gone_from_the_pool_at_once(any_broker, request):
    """SIGKILL: a look at the pool does not show it some milliseconds later. The broker needs no plugin for that."""
    any_broker.make_vhost("killed")
    url = any_broker.url("killed")
    took_ms = []
    with Limen(url) as asker, Limen(url) as other:
        other.worker("work", [acts.double])
        for _ in range(7):
            with Host(url, "double") as host:
                assert len(asker.pool("work")) == 2
                killed_s = host.kill()
                took_ms.append((wait_until(lambda: len(asker.pool("work")) < 2) - killed_s) * 1000)

    name, median_ms = request.node.callspec.id, statistics.median(took_ms)
    print(f"kill -9 to a pool without it ({name}), ms: median {median_ms:.1f}, most {max(took_ms):.1f}")  # noqa: T201
    assert median_ms <= BOUND_MS


def test_a_host_that_hangs_is_shown_as_it_was(broker, vhost):
    """With a mark, until the broker gives it up; a look at the pool takes no longer for it than a second or so."""
    url = broker.url(vhost, options="?heartbeat=2")
    with Limen(url) as asker, Host(url, "double") as host:
        (row,) = asker.pool("work")
        host.signal(signal.SIGSTOP)
        began_s = time.monotonic()
        (stale,) = asker.pool("work")

        assert time.monotonic() - began_s < 3
        assert (stale.host, stale.is_stale, row.is_stale) == (row.host, True, False)
        wait_until(lambda: not asker.pool("work"), TIMEOUT_S)


def test_whoever_comes_to_a_host_that_hangs_is_told_that_one_is_missing(broker, vhost, caplog):
    """The broker counts it, and it does not say what it serves: a look ends in time, and a warning says why."""
    with Host(broker.url(vhost, options="?heartbeat=10"), "double") as host:
        host.signal(signal.SIGSTOP)
        began_s = time.monotonic()
        with Limen(broker.url(vhost)) as newcomer:
            assert newcomer.pool("work") == []
            assert time.monotonic() - began_s < 5
            assert "cut off: 1" in caplog.text
            host.signal(signal.SIGCONT)
            wait_until(lambda: newcomer.pool("work"), TIMEOUT_S)


def test_many_may_ask_at_the_same_time(url, asker):
    """Each gets an answer of its own."""
    with Limen(url) as host:
        host.worker("work", [acts.double])
        counts = []
        threads = [threading.Thread(target=lambda: counts.append(len(asker.pool("work")))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert counts == [1] * 8


def test_a_pause_is_for_all_hosts_also_for_those_to_come(url, asker):
    """Said by any process: nothing starts when that has returned, and what waits goes on when it is over."""
    with Limen(url) as one:
        one.worker("work", [acts.double])
        asker.pause("work")
        with Limen(url) as other:
            other.worker("work", [acts.double])
            handles = [asker.dispatch(acts.double, number) for number in range(20)]
            assert not handles[0].wait(0.3)
            row = asker.queue("work")
            assert (row.paused, row.waiting, row.running) == (True, 20, 0)
            assert [(each.activity_type, each.waiting) for each in row.types] == [("double", 20)]
            other.resume("work")
            assert [handle.result(timeout=TIMEOUT_S) for handle in handles] == [2 * number for number in range(20)]
            assert not asker.queue("work").paused
            assert {attempt.host for handle in handles for attempt in handle.attempts} == {
                row.host for row in asker.pool("work")
            }


def test_what_a_host_has_in_hand_does_not_start_either(url, asker, at):
    """A request that its host got before the pause keeps its place there."""
    with Limen(url) as host:
        host.worker("work", [at.work, acts.double])
        running = asker.dispatch(at.work, 1)
        at.wait_begun()
        waiting = asker.dispatch(acts.double, 1)
        asker.pause("work")
        at.gate.set()
        assert running.result(timeout=TIMEOUT_S) == 1
        assert not waiting.wait(0.3)
        asker.resume("work")
        assert waiting.result(timeout=TIMEOUT_S) == 2


def test_a_queue_shows_what_waits_in_the_broker_and_what_runs_anywhere(url, asker):
    """By activity type, whoever asks, also where nobody serves it any more."""
    with Limen(url) as host:
        host.worker("work", [acts.nap], max_concurrent=2)
        handles = [asker.dispatch(acts.nap, 1.0) for _ in range(10)]
        wait_until(lambda: [handle.state for handle in handles].count("running") == 2)
        row = asker.queue("work")

        assert (row.channel_name, row.running, row.waiting, row.paused) == ("aion.dispatch.default.work", 2, 8, False)
    with Limen(url) as latecomer:
        row = latecomer.queue("work")
        assert [(each.activity_type, each.waiting) for each in row.types] == [("nap", row.waiting)]
        assert row.waiting >= 8
    for handle in handles:
        handle.cancel()
    with pytest.raises(ConfigError, match="policy"):
        asker.bound("work", waiting=10)
