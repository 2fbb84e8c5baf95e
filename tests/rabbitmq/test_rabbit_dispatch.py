"""The same program over a broker: results, failures, retries, limits, cancelling, several workers and processes."""

import threading
from typing import Any

import pytest
import rabbit_activities as acts
from drillkit import wait_until

from limen import (
    ActivityCancelled,
    ActivityFailed,
    ActivityTimedOut,
    ChannelLifecycleError,
    EncodeError,
    InvalidArgument,
    Limen,
    MessageTooLarge,
    NoWorkersAvailable,
    PoisonActivity,
    RetryableError,
    ShutDown,
    activity,
)
from limen.metrics import Registry

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_S = 20


def engine_of(app: Limen) -> Any:
    """Look at what is ours alone."""
    return app._engine


def test_a_dispatch_gives_the_result_from_another_process(host, asker):
    """The handle has the result, its one attempt, and where that was."""
    host.worker("work", [acts.double])
    handle = asker.dispatch(acts.double, 21)

    assert handle.result(timeout=TIMEOUT_S) == 42
    (attempt,) = handle.attempts
    assert (attempt.number, attempt.worker_id, attempt.started, handle.state) == (1, "worker-1", True, "done")
    assert str(attempt.host)


def test_values_of_a_users_own_arrive_as_what_they_are(host, asker):
    """Attrs in, attrs out, tuples and all."""
    host.worker("work", [acts.grow])

    assert asker.dispatch(acts.grow, acts.Job("a", (5,))).result(timeout=TIMEOUT_S) == acts.Job("a", (5, 1))


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_many_are_answered_each_with_its_own(host, asker, executor):
    """Several workers, several hundred requests, all under way at once."""
    for _ in range(2):
        host.worker("work", [acts.double], max_concurrent=2, executor=executor)

    handles = [asker.dispatch(acts.double, number) for number in range(500)]

    assert [handle.result(timeout=TIMEOUT_S) for handle in handles] == [2 * number for number in range(500)]


def test_coroutines_run_on_a_loop(host, asker):
    """An asyncio worker serves them."""
    host.worker("work", [acts.later])

    assert asker.dispatch(acts.later, 5).result(timeout=TIMEOUT_S) == 5


def test_a_failure_is_raised_with_its_cause(host, asker):
    """`ActivityFailed` names worker and cause; `__cause__` is the error, with the other side's traceback as text."""
    host.worker("work", [acts.fail])
    handle = asker.dispatch(acts.fail, "not here")

    with pytest.raises(ActivityFailed, match="'fail' failed on worker-1: LookupError: not here") as raised:
        handle.result(timeout=TIMEOUT_S)

    cause = raised.value.__cause__
    assert isinstance(cause, LookupError)
    assert "in fail" in str(cause.__cause__)
    assert [type(each) for each in handle.errors] == [LookupError]


def test_a_failure_is_retried_where_it_runs(host, asker, tmp_path):
    """The policy travels with the request, and the handle knows all tries."""
    host.worker("work", [acts.fail_twice])
    handle = asker.dispatch(acts.fail_twice, str(tmp_path / "tries"))

    assert handle.result(timeout=TIMEOUT_S) == 2
    assert handle.errors == (RetryableError("again"),) * 2
    assert [each.number for each in handle.attempts] == [1, 2, 3]


def test_a_killed_child_is_the_hosts_affair(host, asker, tmp_path):
    """The request is run again there; the broker sees nothing of it."""
    host.worker("work", [acts.die_once], executor="process", max_concurrent=1)
    handle = asker.dispatch(acts.die_once, str(tmp_path / "marker"))

    handle.result(timeout=TIMEOUT_S)
    assert handle.crashes == 1
    assert len({each.host for each in handle.attempts}) == 1


def test_what_kills_every_child_is_poison(host, asker):
    """After `max_crashes`, and the caller is told so."""
    host.worker("work", [acts.die], executor="process", max_concurrent=1)

    with pytest.raises(PoisonActivity) as raised:
        asker.dispatch(acts.die).result(timeout=TIMEOUT_S)
    assert raised.value.crashes == 2


def test_nobody_ever_served_it(asker):
    """DP-10: there is no such pool, and the caller is told at once."""
    with pytest.raises(NoWorkersAvailable):
        asker.dispatch(acts.double, 1).result(timeout=TIMEOUT_S)
    with pytest.raises(NoWorkersAvailable):
        asker.dispatch(acts.double.options(priority=1), 1).result(timeout=TIMEOUT_S)


def test_nobody_serves_it_but_others(host, asker):
    """The error says what is served there."""
    host.worker("work", [acts.double, acts.nap])
    asker.pool("work")

    with pytest.raises(NoWorkersAvailable, match="the pool serves double, nap"):
        asker.dispatch(acts.whoami).result(timeout=TIMEOUT_S)


def test_a_request_waits_for_a_worker_that_is_yet_to_come(host, asker):
    """With `schedule_to_start`; and it stays in the broker while it does."""
    handle = asker.dispatch(acts.double.options(schedule_to_start=TIMEOUT_S), 1)
    assert not handle.wait(0.2)
    host.worker("work", [acts.double])

    assert handle.result(timeout=TIMEOUT_S) == 2


@pytest.mark.parametrize("limit", ["start_to_close", "schedule_to_close", "schedule_to_start"])
def test_limits_are_enforced(host, asker, at, limit):
    """TY-04: a limit that runs out ends the dispatch with an error that names it."""
    host.worker("work", [at.work])
    blocker = asker.dispatch(at.work, 1)
    at.wait_begun()
    if limit != "schedule_to_start":
        host.worker("work", [at.work])

    error = asker.dispatch(at.work.options(**{limit: 0.1}), 2).exception(timeout=TIMEOUT_S)

    assert isinstance(error, ActivityTimedOut)
    assert error.limit == limit
    at.gate.set()
    assert blocker.result(timeout=TIMEOUT_S) == 1


def test_a_limit_on_the_start_is_met_by_what_has_started(host, asker, at):
    """It does not end what runs."""
    host.worker("work", [at.work])
    handle = asker.dispatch(at.work.options(schedule_to_start=0.2), 1)
    at.wait_begun()
    wait_until(lambda: handle.state == "running")
    assert not handle.wait(0.5)
    at.gate.set()

    assert handle.result(timeout=TIMEOUT_S) == 1


def test_what_is_cancelled_as_it_waits_never_starts(host, asker, at):
    """Neither what its host has already, nor what is still in the broker; its caller is told at once."""
    host.worker("work", [at.work])
    first = asker.dispatch(at.work, 0)
    at.wait_begun()
    rest = [asker.dispatch(at.work, number) for number in range(1, 6)]
    for handle in rest:
        handle.cancel()
        assert isinstance(handle.exception(timeout=TIMEOUT_S), ActivityCancelled)
    last = asker.dispatch(at.work, 6)
    wait_until(lambda: all(f"{each.id}/0" in engine_of(host)._host._ledger.cancelled for each in rest))
    at.gate.set()

    assert (first.result(timeout=TIMEOUT_S), last.result(timeout=TIMEOUT_S)) == (0, 6)
    at.wait_begun()
    assert not at.begun.acquire(blocking=False)


def test_what_runs_in_a_process_is_ended_when_it_is_cancelled(host, asker):
    """In far less time than it would take."""
    host.worker("work", [acts.nap, acts.double], executor="process", max_concurrent=1)
    handle = asker.dispatch(acts.nap, 60.0)
    wait_until(lambda: handle.state == "running")
    handle.cancel()

    assert isinstance(handle.exception(timeout=TIMEOUT_S), ActivityCancelled)
    assert asker.dispatch(acts.double, 4).result(timeout=TIMEOUT_S) == 8


def test_higher_priority_goes_first(host, asker, at):
    """Of what a host has at hand, the highest; among equals the first."""
    order = []

    @activity(queue="work")
    def note(name: str) -> None:
        order.append(name)

    host.worker("work", [at.work, note])
    asker.dispatch(note.options(priority=1), "first").result(timeout=TIMEOUT_S)
    asker.dispatch(note.options(priority=-1), "second").result(timeout=TIMEOUT_S)
    asker.dispatch(at.work, 1)
    at.wait_begun()
    handles = [
        asker.dispatch(note.options(priority=priority), str(priority)) for priority in (0, -1, 1) for _ in range(2)
    ]
    wait_until(lambda: len(engine_of(host)._host._ledger) >= 4)
    at.gate.set()
    for handle in handles:
        handle.result(timeout=TIMEOUT_S)

    assert order[:2] == ["first", "second"]
    assert order.index("1") < order.index("0") < order.index("-1")


def test_two_hosts_share_what_there_is(host, asker, url):
    """Each takes no more than it can do, so that neither stands idle while the other has work in store."""
    with Limen(url) as other:
        host.worker("work", [acts.nap], max_concurrent=2)
        other.worker("work", [acts.nap], max_concurrent=2)
        handles = [asker.dispatch(acts.nap, 0.05) for _ in range(40)]
        for handle in handles:
            handle.result(timeout=TIMEOUT_S)

    shares = [attempt.host for handle in handles for attempt in handle.attempts]
    assert len(shares) == 40
    assert min(shares.count(each) for each in set(shares)) >= 12


def test_what_cannot_travel_is_refused_before_it_is_sent(asker, host, broker, vhost):
    """Types, sizes and annotations are checked where the call is made."""

    @activity(queue="work")
    def take(anything) -> None: ...

    with pytest.raises(InvalidArgument):
        asker.dispatch(acts.double, "text")
    with pytest.raises(EncodeError, match="a value of type object"):
        asker.dispatch(take, object())
    with Limen(broker.url(vhost, options="?max_size=1000")) as small, pytest.raises(MessageTooLarge):
        small.dispatch(take, "x" * 1000)


def test_a_result_that_is_too_large_is_a_failure(broker, vhost, asker):
    """Of the activity, said with sizes."""

    @activity(queue="work")
    def swell(size: int) -> str:
        return "x" * size

    with Limen(broker.url(vhost, options="?max_size=1000")) as small:
        small.worker("work", [swell])
        error = asker.dispatch(swell, 5000).exception(timeout=TIMEOUT_S)

    assert isinstance(error, ActivityFailed)
    assert isinstance(error.__cause__, MessageTooLarge)
    assert (error.__cause__.size, error.__cause__.limit) == (5002, 1000)


def test_closing_ends_what_is_under_way(host, url, at):
    """The asker's open calls end with an error, and what they asked for is called off."""
    host.worker("work", [at.work])
    with Limen(url) as asker:
        running, waiting = asker.dispatch(at.work, 1), asker.dispatch(at.work, 2)
        at.wait_begun()
    for handle in (running, waiting):
        assert isinstance(handle.exception(timeout=0), ChannelLifecycleError)
    with pytest.raises(ChannelLifecycleError):
        asker.dispatch(at.work, 3)
    at.gate.set()


def test_a_worker_that_leaves_takes_nothing_more(host, asker, url):
    """What it has not begun goes to others, and its host sends for no more."""
    first = host.worker("work", [acts.whoami, acts.nap])
    asker.dispatch(acts.whoami).result(timeout=TIMEOUT_S)
    first.drain()
    with Limen(url) as other:
        handles = [asker.dispatch(acts.nap, 0.01) for _ in range(5)]
        other.worker("work", [acts.whoami, acts.nap])
        for handle in handles:
            handle.result(timeout=TIMEOUT_S)
        hosts = {attempt.host for handle in handles for attempt in handle.attempts}
        assert hosts == {engine_of(other)._process}


def test_metrics_are_of_what_is_done_in_this_process(url):
    """MX-07: whoever has the workers counts the work; whoever only asks counts none."""
    here, there = Registry(), Registry()
    with Limen(url, metrics=here) as host, Limen(url, metrics=there) as asker:
        host.worker("work", [acts.double])
        assert [asker.dispatch(acts.double, number).result(timeout=TIMEOUT_S) for number in range(3)] == [0, 2, 4]
        channel = "aion.dispatch.default.work"
        wait_until(lambda: here.snapshot().value("dispatch_count", channel=channel, outcome="completed") == 3)

        assert here.snapshot().value("worker_registered_count", channel=channel) == 1
        assert not there.snapshot().value("dispatch_count", channel=channel, outcome="completed")


def test_a_drain_carries_to_its_end_what_has_begun(url, asker, at):
    """What waits at the host, and has not begun, goes back to the broker and to another host; nothing fails."""
    host = Limen(url)
    host.worker("work", [at.work])
    running, waiting = asker.dispatch(at.work, 1), asker.dispatch(at.work, 2)
    at.wait_begun()
    wait_until(lambda: len(engine_of(host)._host._ledger) == 2)
    closing = threading.Thread(target=lambda: reports.append(host.close(drain=TIMEOUT_S)))
    reports: list[Any] = []
    closing.start()
    wait_until(lambda: len(engine_of(host)._host._ledger) == 1)
    with Limen(url) as other:
        other.worker("work", [at.work])
        at.wait_begun()
        at.gate.set()
        closing.join(TIMEOUT_S)

        assert (running.result(timeout=TIMEOUT_S), waiting.result(timeout=TIMEOUT_S)) == (1, 2)
    assert running.attempts[0].host != waiting.attempts[0].host
    (report,) = reports
    assert [(each.conversation_id, str(each.fate)) for each in report.unfinished] == [(waiting.id, "handed_on")]


def test_an_asker_that_drains_waits_for_what_has_begun(host, url, at):
    """What has begun gives its result; what has not is given up, and named."""
    host.worker("work", [at.work])
    asker = Limen(url)
    running, waiting = asker.dispatch(at.work, 1), asker.dispatch(at.work, 2)
    at.wait_begun()
    wait_until(lambda: running.state == "running")
    threading.Timer(0.2, at.gate.set).start()
    report = asker.close(drain=TIMEOUT_S)

    assert running.result(timeout=0) == 1
    assert isinstance(waiting.exception(timeout=0), ShutDown)
    assert [each.conversation_id for each in report.unfinished] == [waiting.id]
