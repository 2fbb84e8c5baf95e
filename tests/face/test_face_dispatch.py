"""`dispatch` and the handle it gives: results, failures, crashes, limits, cancelling, callbacks."""

import gc
import sys
import threading
import weakref
from typing import Any

import pytest

from limen import (
    ActivityCancelled,
    ActivityFailed,
    ActivityTimedOut,
    ConfigError,
    Limen,
    NoWorkersAvailable,
    PoisonActivity,
    Retry,
    RetryableError,
    activity,
    as_completed,
)

TIMEOUT_S = 10


class Gate:
    """An activity that says when it has begun and waits to be let through."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()

        @activity
        def pass_gate(number: int) -> int:
            self.begun.release()
            assert self.open.wait(TIMEOUT_S)
            return number

        self.activity = pass_gate

    def wait_begun(self):
        """Wait until one more has begun."""
        assert self.begun.acquire(timeout=TIMEOUT_S)


@pytest.fixture
def gate():
    """A gate, opened at the end, so that no thread stays behind."""
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def app():
    """An application, closed at the end."""
    with Limen() as made:
        yield made


def test_a_dispatch_gives_the_result(app):
    """The handle has the result, its one attempt, and nothing to complain of."""

    @activity
    def double(number: int) -> int:
        return 2 * number

    app.worker("default", [double])
    handle = app.dispatch(double, 21)

    assert handle.result(timeout=TIMEOUT_S) == 42
    assert (handle.done(), handle.state, handle.exception(), handle.errors, handle.crashes) == (
        True,
        "done",
        None,
        (),
        0,
    )
    assert [(each.number, each.worker_id, each.incarnation) for each in handle.attempts] == [(1, "worker-1", 1)]


def test_a_failure_is_raised_with_its_cause(app):
    """`ActivityFailed` names worker and cause; `__cause__` is the activity's own exception, traceback and all."""

    @activity
    def fail() -> None:
        raise LookupError("not here")

    app.worker("default", [fail])
    handle = app.dispatch(fail)

    with pytest.raises(ActivityFailed, match="'fail' failed on worker-1: LookupError: not here") as raised:
        handle.result(timeout=TIMEOUT_S)

    cause = raised.value.__cause__
    assert isinstance(cause, LookupError)
    assert cause.__traceback__ is not None
    assert handle.exception() == raised.value
    assert handle.errors == (cause,)
    assert handle.crashes == 0


def test_waiting_is_bounded(app, gate):
    """`result` and `exception` raise `TimeoutError`, `wait` says no; the work goes on."""
    app.worker("default", [gate.activity])
    handle = app.dispatch(gate.activity, 1)
    gate.wait_begun()

    assert (handle.done(), handle.state, handle.wait(0.01)) == (False, "running", False)
    with pytest.raises(TimeoutError, match=r"'pass_gate' has no result after 0\.01 s"):
        handle.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        handle.exception(timeout=0)

    gate.open.set()
    assert handle.wait(TIMEOUT_S)
    assert handle.result() == 1


def test_a_crash_is_survived(app):
    """SystemExit ends the worker; its request is run again by the next incarnation, and only that is seen of it."""
    tries = []

    @activity
    def crash_once() -> int:
        tries.append(1)
        if len(tries) == 1:
            sys.exit("down")
        return len(tries)

    app.worker("default", [crash_once])
    handle = app.dispatch(crash_once)

    assert handle.result(timeout=TIMEOUT_S) == 2
    assert handle.crashes == 1
    assert [each.incarnation for each in handle.attempts] == [1, 2]


def test_what_crashes_every_worker_is_poison(app):
    """After `max_crashes` deaths nobody else is given it."""

    @activity(max_crashes=2)
    def crash() -> None:
        sys.exit("down")

    app.worker("default", [crash])

    with pytest.raises(PoisonActivity) as raised:
        app.dispatch(crash).result(timeout=TIMEOUT_S)

    assert raised.value.crashes == 2


def test_a_failure_is_retried_only_by_policy(app):
    """DP-07: a reported failure goes to the caller, unless the activity has a policy that says otherwise."""
    tries = []

    @activity
    def fail_twice() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise RetryableError("again")
        return len(tries)

    app.worker("default", [fail_twice])

    assert isinstance(app.dispatch(fail_twice).exception(timeout=TIMEOUT_S), ActivityFailed)
    handle = app.dispatch(fail_twice.options(retry=Retry(max_attempts=3, initial=0.001)))
    assert handle.result(timeout=TIMEOUT_S) == 3
    assert handle.errors == (RetryableError("again"),)


def test_nobody_to_serve_it_fails_at_once(app):
    """DP-10: without workers, and with workers for other activities; it does not wait for somebody to come."""

    @activity
    def served() -> None: ...

    @activity
    def not_served() -> None: ...

    assert isinstance(app.dispatch(not_served).exception(timeout=TIMEOUT_S), NoWorkersAvailable)
    app.worker("default", [served])
    with pytest.raises(NoWorkersAvailable, match="the pool serves served"):
        app.dispatch(not_served).result(timeout=TIMEOUT_S)


def test_a_request_waits_for_a_worker_that_is_yet_to_come(app):
    """With `schedule_to_start` it is not refused for want of a worker, as long as that lasts."""

    @activity(schedule_to_start=TIMEOUT_S)
    def late() -> str:
        return "done"

    handle = app.dispatch(late)
    assert handle.state == "waiting"
    app.worker("default", [late])

    assert handle.result(timeout=TIMEOUT_S) == "done"


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"start_to_close": 0.02}, "start_to_close"),
        ({"schedule_to_close": 0.02}, "schedule_to_close"),
        ({"schedule_to_start": 0.02}, "schedule_to_start"),
    ],
)
def test_limits_are_enforced(app, gate, limits, limit):
    """TY-04: a limit that runs out ends the dispatch with an error that names it."""
    app.worker("default", [gate.activity])
    blocker = app.dispatch(gate.activity, 1)
    gate.wait_begun()
    if limit != "schedule_to_start":
        app.worker("default", [gate.activity])

    error = app.dispatch(gate.activity.options(**limits), 2).exception(timeout=TIMEOUT_S)

    assert isinstance(error, ActivityTimedOut)
    assert error.limit == limit
    gate.open.set()
    assert blocker.result(timeout=TIMEOUT_S) == 1


def test_what_waits_and_is_cancelled_never_starts(app, gate):
    """The handle says so at once, and cancelling again changes nothing."""
    app.worker("default", [gate.activity])
    first, second = app.dispatch(gate.activity, 1), app.dispatch(gate.activity, 2)
    gate.wait_begun()
    second.cancel()

    with pytest.raises(ActivityCancelled):
        second.result(timeout=TIMEOUT_S)

    gate.open.set()
    assert first.result(timeout=TIMEOUT_S) == 1
    second.cancel()
    first.cancel()
    assert (first.result(), len(second.attempts)) == (1, 0)
    assert not gate.begun.acquire(blocking=False)


def test_what_runs_on_a_thread_and_is_cancelled_is_no_longer_waited_for(app, gate):
    """The outcome is there at once; the slot is free when the thread has come to its end."""
    app.worker("default", [gate.activity])
    handle = app.dispatch(gate.activity, 1)
    gate.wait_begun()
    handle.cancel()

    assert isinstance(handle.exception(timeout=TIMEOUT_S), ActivityCancelled)
    assert [row.in_flight for row in app.pool("default")] == [1]

    gate.open.set()
    assert app.dispatch(gate.activity, 2).result(timeout=TIMEOUT_S) == 2


def test_callbacks_are_called_once(app, gate):
    """One that is added early is called when the outcome comes, one that is added late is called at once."""
    app.worker("default", [gate.activity])
    called: Any = []
    came = threading.Event()
    handle = app.dispatch(gate.activity, 1)
    handle.add_done_callback(called.append)
    handle.add_done_callback(lambda _: came.set())
    assert called == []
    gate.open.set()
    assert came.wait(TIMEOUT_S)
    handle.add_done_callback(called.append)

    assert called == [handle, handle]


def test_a_callback_that_raises_harms_nobody(app, gate, caplog):
    """It is logged; the result, the worker and other callbacks are what they would have been."""
    app.worker("default", [gate.activity])
    came = threading.Event()
    handle = app.dispatch(gate.activity, 1)
    handle.add_done_callback(lambda _: 1 / 0)
    handle.add_done_callback(lambda _: came.set())
    gate.open.set()

    assert came.wait(TIMEOUT_S)
    assert "ZeroDivisionError" in caplog.text
    assert app.dispatch(gate.activity, 2).result(timeout=TIMEOUT_S) == 2


def test_as_completed_gives_what_is_done_first(app, gate):
    """The order is that of completion, and each handle comes once however often it was given."""

    @activity
    def quick(number: int) -> int:
        return number

    app.worker("default", [gate.activity, quick], max_concurrent=2)
    slow = app.dispatch(gate.activity, 1)
    gate.wait_begun()
    fast = app.dispatch(quick, 2)
    order = as_completed([slow, fast, slow], timeout=TIMEOUT_S)

    assert next(order) is fast
    gate.open.set()
    assert list(order) == [slow]


def test_as_completed_is_bounded(app, gate):
    """The time counts from the first `next` and is for all of them together."""
    app.worker("default", [gate.activity])

    with pytest.raises(TimeoutError, match="1 of 1 dispatches"):
        next(as_completed([app.dispatch(gate.activity, 1)], timeout=0.01))


def test_higher_priority_goes_first(app, gate):
    """Of those that wait, the highest; among equals the first."""
    order = []

    @activity
    def note(name: str) -> None:
        order.append(name)

    app.worker("default", [gate.activity, note])
    app.dispatch(gate.activity, 1)
    gate.wait_begun()
    handles = [app.dispatch(note, "a"), app.dispatch(note.options(priority=1), "b"), app.dispatch(note, "c")]
    gate.open.set()
    for handle in handles:
        handle.result(timeout=TIMEOUT_S)

    assert order == ["b", "a", "c"]


def test_only_activities_can_be_dispatched(app):
    """A plain function is refused with what would be right."""
    untyped: Any = app
    with pytest.raises(ConfigError, match="decorated with @activity"):
        untyped.dispatch(len, "text")


def test_a_handle_says_what_it_is(app):
    """Its `repr` names activity, id and state, and no argument."""

    @activity
    def quick(secret: str) -> str:
        return secret

    app.worker("default", [quick])
    handle = app.dispatch(quick, "hush")
    handle.result(timeout=TIMEOUT_S)

    assert repr(handle) == f"<Handle quick {handle.id} done>"


def test_a_slot_that_is_woken_for_nothing_leaves_what_can_only_wait(app, gate):
    """DP-18: all slots are taken, so it lies where it is until one of them is free, and loses nothing."""
    app.worker("default", [gate.activity])
    handles = [app.dispatch(gate.activity, 0)]
    gate.wait_begun()
    handles += [app.dispatch(gate.activity, number) for number in (1, 2, 3)]
    session = app._port("default").session
    (entry,) = session.state.candidates
    before = list(session.tray)

    assert session.serve(entry) is None
    assert list(session.tray) == before != []

    gate.open.set()
    assert [handle.result(timeout=TIMEOUT_S) for handle in handles] == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"start_to_close": 60}, {"schedule_to_close": 60}], ids=str)
def test_a_result_goes_with_the_last_who_holds_it(app, options):
    """Nothing of a dispatch waits for the garbage collector, whether its time was limited or not."""

    class Thing:
        pass

    @activity
    def make(number: int) -> object:
        return Thing()

    app.worker("default", [make])
    gone = threading.Event()
    gc.collect()
    gc.disable()
    try:
        handle = app.dispatch(make.options(**options), 1)
        thing = handle.result(timeout=TIMEOUT_S)
        weakref.finalize(thing, gone.set)
        del handle, thing
        assert gone.wait(TIMEOUT_S)  # the worker's thread lets go of it a moment after we have it
    finally:
        gc.enable()
