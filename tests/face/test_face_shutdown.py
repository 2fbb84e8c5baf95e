"""`close(drain=…)`: what has begun ends, nothing new is taken, and whatever did not run is named."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from face_activities import wait_for_line
from facekit import LONG_S, TIMEOUT_S, Work, in_the_background, wait_for

from limen import (
    ActivityFailed,
    ChannelLifecycleError,
    ConfigError,
    DispatcherDraining,
    EventKind,
    Limen,
    MemoryRecorder,
    Retry,
    ShutDown,
    activity,
)
from limen.actors import WorkerContext, close_default_worker_context, default_worker_context
from limen.actors.conversation import Conversation
from limen.actors.runtime import runtime
from limen.messages.activities import ActivityRequest, Completed, WorkerCapacity
from limen.messages.drain import DrainReport, Fate
from limen.messages.operations import ActivityState


@pytest.fixture
def at():
    """Give gated work."""
    made = Work()
    yield made
    made.gate.set()


@pytest.fixture
def app():
    """Give an application that is closed after the test."""
    with Limen() as made:
        yield made


def test_running_work_ends_and_waiting_requests_are_told_at_once(app, at):
    """What has begun has its result; what has not fails with an error that says so, and is named."""
    events = app.events()
    app.worker("work", [at.work])
    running, waiting = app.dispatch(at.work, 1), app.dispatch(at.work, 2)
    at.wait_begun()
    thread, reports = in_the_background(lambda: app.close(drain=LONG_S))
    error = waiting.exception(TIMEOUT_S)

    assert isinstance(error, ShutDown)
    assert (error.activity_type, error.stage, error.attempts) == ("work", "waiting", 0)
    assert not running.done()
    assert wait_for(events, EventKind.DRAINING).detail == "1 to finish; 1 given up"
    at.gate.set()
    thread.join(TIMEOUT_S)

    assert running.result(TIMEOUT_S) == 1
    (left,) = reports[0].unfinished
    assert (left.conversation_id, left.queue, left.stage, left.attempts) == (waiting.id, "work", "waiting", 0)
    assert (left.worker_id, left.fate) == (None, Fate.FAILED)
    assert reports[0].took_s < LONG_S


def test_nothing_new_is_taken_and_everything_else_works(app, at):
    """Whoever dispatches is told that it was too late, by a type of its own; the pool can be looked at."""
    app.worker("work", [at.work])
    running, waiting = app.dispatch(at.work, 1), app.dispatch(at.work, 2)
    at.wait_begun()
    thread, reports = in_the_background(lambda: app.close(drain=LONG_S))
    assert waiting.wait(TIMEOUT_S)

    refused: Any
    for refused in (
        lambda: app.dispatch(at.work, 3),
        lambda: app.dispatch(at.work.options(queue="other"), 3),
        lambda: app.map(at.work, [3]),
        lambda: app.worker("work", [at.work]),
    ):
        with pytest.raises(DispatcherDraining, match="takes nothing new"):
            refused()
    assert [row.in_flight for row in app.pool("work")] == [1]
    with app.events() as stream:
        at.gate.set()
        assert wait_for(stream, EventKind.CONCLUDED).conversation_id == running.id
    thread.join(TIMEOUT_S)
    assert len(reports[0].unfinished) == 1
    with pytest.raises(ChannelLifecycleError, match="closed"):
        app.dispatch(at.work, 4)


def test_a_backlog_is_run_where_that_is_asked_for(app, at):
    """`waiting="run"`: all that was taken has its result, in order."""
    app.worker("work", [at.work])
    handles = [app.dispatch(at.work, number) for number in range(5)]
    at.wait_begun()
    at.gate.set()
    report = app.close(drain=LONG_S, waiting="run")

    assert report.is_complete
    assert [handle.result(0) for handle in handles] == list(range(5))


def test_what_still_runs_when_time_is_up_is_named(app, at, caplog):
    """Its caller is told; a thread cannot be ended, so it is abandoned, and the log says so."""
    app.worker("work", [at.work])
    running = app.dispatch(at.work, 1)
    at.wait_begun()
    report = app.close(timeout=0.05, drain=0.01)

    (left,) = report.interrupted
    assert (left.conversation_id, left.stage, left.attempts, left.worker_id) == (running.id, "running", 1, "worker-1")
    error = running.exception(0)
    assert isinstance(error, ShutDown)
    assert error.worker_id == "worker-1"
    assert "still runs" in caplog.text


@pytest.mark.slow
def test_child_processes_are_given_time_too(app, tmp_path):
    """The activity that runs in a child ends; those that wait for a child fail; no child is left."""
    out, back = (Path(f"{tmp_path / 'pipe'}.{way}") for way in ("out", "in"))
    os.mkfifo(out)
    os.mkfifo(back)
    app.worker("work", [wait_for_line], executor="process", max_concurrent=1)
    running = app.dispatch(wait_for_line, str(tmp_path / "pipe"))
    assert out.read_text()  # comes when the child is there
    waiting = [app.dispatch(wait_for_line, "never begun") for _ in range(3)]
    thread, reports = in_the_background(lambda: app.close(drain=LONG_S))
    ends = [handle.exception(TIMEOUT_S) for handle in waiting]
    back.write_text("go on")
    thread.join(TIMEOUT_S)

    assert running.result(0) == "go on"
    assert all(isinstance(end, ShutDown) for end in ends)
    assert [each.conversation_id for each in reports[0].unfinished] == [handle.id for handle in waiting]


def test_a_retry_is_waited_for_if_there_is_time(app):
    """What has begun is carried to its end: its pause is over before the drain is."""
    failed = threading.Event()

    @activity(queue="work", retry=Retry(max_attempts=2, initial=0.05, jitter=0.0))
    def second_time_lucky() -> str:
        if failed.is_set():
            return "well"
        failed.set()
        raise ValueError("not yet")

    app.worker("work", [second_time_lucky])
    handle = app.dispatch(second_time_lucky)
    assert failed.wait(TIMEOUT_S)

    assert app.close(drain=LONG_S).is_complete
    assert handle.result(0) == "well"


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_retry_that_would_come_too_late_is_given_up_at_once(app, at, when):
    """Nobody waits for a pause that is longer than the drain; the cause of the error is what went wrong."""

    @activity(queue="work", retry=Retry(max_attempts=2, initial=10 * LONG_S, max_interval=10 * LONG_S))
    def unlucky() -> None:
        at.begun.release()
        if when == "during":
            assert at.gate.wait(TIMEOUT_S)
        raise ValueError("no luck")

    app.worker("work", [unlucky])
    events = app.events()
    handle = app.dispatch(unlucky)
    at.wait_begun()
    if when == "before":
        wait_for(events, EventKind.RETRIED)
    thread, reports = in_the_background(lambda: app.close(drain=LONG_S))
    wait_for(events, EventKind.DRAINING)
    at.gate.set()
    thread.join(TIMEOUT_S)

    error = handle.exception(TIMEOUT_S)
    assert isinstance(error, ShutDown)
    assert (error.stage, error.attempts) == ("paused", 1)
    assert isinstance(error.__cause__, ValueError)
    assert [each.stage for each in reports[0].interrupted] == ["paused"]


def test_a_failure_is_the_outcome_where_there_is_no_retry(app, at):
    """An activity that raises while the application drains has failed, and is not unfinished."""

    @activity(queue="work")
    def bad() -> None:
        at.begun.release()
        assert at.gate.wait(TIMEOUT_S)
        raise ValueError("bad")

    app.worker("work", [bad])
    handle = app.dispatch(bad)
    at.wait_begun()
    thread, reports = in_the_background(lambda: app.close(drain=LONG_S))
    at.gate.set()
    thread.join(TIMEOUT_S)

    assert isinstance(handle.exception(0), ActivityFailed)
    assert reports[0].is_complete


def test_a_second_close_hurries_the_first(app, at):
    """Both come back, at once and with the same report."""
    app.worker("work", [at.work])
    running, waiting = app.dispatch(at.work, 1), app.dispatch(at.work, 2)
    at.wait_begun()
    thread, reports = in_the_background(lambda: app.close(timeout=0.05, drain=LONG_S))
    assert waiting.wait(TIMEOUT_S)
    report = app.close(timeout=TIMEOUT_S)
    thread.join(TIMEOUT_S)

    assert reports == [report]
    assert {each.conversation_id for each in report.unfinished} == {running.id, waiting.id}
    assert app.close() == report


def test_ctrl_c_while_it_drains_ends_it(app, at, monkeypatch):
    """The interrupt comes out of the call when everything is down, within about a second."""
    from limen.actors import _closing

    app.worker("work", [at.work])
    running = app.dispatch(at.work, 1)
    at.wait_begun()

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(_closing, "wait_patiently", interrupt)
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        app.close(drain=LONG_S)

    assert time.monotonic() - began_s < TIMEOUT_S
    assert isinstance(running.exception(0), ShutDown)


def test_a_plain_close_names_what_it_leaves_too(at):
    """Nothing is lost silently: without a drain all that is open is in the report."""
    app = Limen()
    app.worker("work", [at.work])
    handles = [app.dispatch(at.work, number) for number in range(3)]
    at.wait_begun()
    report = app.close(timeout=0.05)

    assert {each.conversation_id: each.stage for each in report.unfinished} == {
        handles[0].id: "running",
        handles[1].id: "waiting",
        handles[2].id: "waiting",
    }
    assert all(isinstance(handle.exception(0), ShutDown) for handle in handles)


def test_an_event_loop_goes_on_while_it_drains(at):
    """`aclose`, with the result awaited meanwhile."""

    async def run() -> tuple[int, DrainReport]:
        app = Limen()
        app.worker("work", [at.work])
        handle = app.dispatch(at.work, 7)
        await asyncio.to_thread(at.wait_begun)
        closing = asyncio.create_task(app.aclose(drain=LONG_S))
        await asyncio.sleep(0)
        at.gate.set()
        return await handle, await closing

    result, report = asyncio.run(run())

    assert result == 7
    assert report.is_complete


@pytest.mark.parametrize(
    "settings", [{"drain": -1}, {"drain": float("nan")}, {"drain": "long"}, {"drain": 1.0, "waiting": "perhaps"}]
)
def test_settings_without_a_meaning_are_refused_before_anything_ends(app, at, settings):
    """`ConfigError`; the application goes on."""
    app.worker("work", [at.work])
    at.gate.set()
    with pytest.raises(ConfigError):
        app.close(**settings)

    assert app.dispatch(at.work, 1).result(TIMEOUT_S) == 1


def test_what_was_shut_out_may_be_dispatched_again_under_its_id(at):
    """DP-13: the end of a dispatcher is no outcome, so a record does not answer with it."""
    recorder = MemoryRecorder()
    app = Limen(recorder=recorder)
    app.worker("work", [at.work])
    handles = [app.dispatch(at.work, number) for number in range(2)]
    at.wait_begun()
    app.close(timeout=0.05)

    for handle in handles:
        assert recorder.outcome(handle.id) is None
        closed = recorder.operations(handle.id)[-1]
        assert (closed.state, closed.result) == (ActivityState.ABANDONED, None)
        assert "was closed" in str(closed.message)


# --- the lower layer --------------------------------------------------------------------------------------------------


def _conversation(number: int) -> Conversation:
    return Conversation(f"c-{number}", ActivityRequest("any"), runtime().create_future())


def test_a_context_drains_workers_that_fetch_their_own_work():
    """Requests that were fetched are waited for; the others fail, and nothing new is taken."""
    context = WorkerContext()
    worker = context.register_worker("ns", "q", WorkerCapacity(1, ("any",)))
    taken, waiting, late = (_conversation(number) for number in range(3))
    context.submit("ns", "q", taken)
    context.submit("ns", "q", waiting)
    envelope = worker.next(TIMEOUT_S)
    thread, reports = in_the_background(lambda: context.close(drain=LONG_S))
    with pytest.raises(ShutDown):
        waiting.result(TIMEOUT_S)
    with pytest.raises(DispatcherDraining):
        context.submit("ns", "q", late)
    with pytest.raises(DispatcherDraining):
        context.register_worker("ns", "q", WorkerCapacity(1))
    with pytest.raises(DispatcherDraining):
        context.channel("ns", "another")
    assert envelope is not None
    assert worker.respond(envelope, Completed())
    thread.join(TIMEOUT_S)

    assert taken.result(0) == Completed()
    assert [each.conversation_id for each in reports[0].unfinished] == ["c-1"]


def test_what_comes_through_a_channel_that_drains_is_turned_away_and_named():
    """Whoever holds a channel's address cannot get past the end."""
    context = WorkerContext()
    worker = context.register_worker("ns", "q", WorkerCapacity(1, ("any",)))
    taken, waiting, late = (_conversation(number) for number in range(3))
    for each in (taken, waiting):
        context.submit("ns", "q", each)
    envelope = worker.next(TIMEOUT_S)
    channel = context.channel("ns", "q")
    thread, reports = in_the_background(lambda: context.close(drain=LONG_S))
    with pytest.raises(ShutDown):
        waiting.result(TIMEOUT_S)
    channel.session.submit(late)
    with pytest.raises(ShutDown):
        late.result(TIMEOUT_S)
    assert envelope is not None
    worker.respond(envelope, Completed())
    thread.join(TIMEOUT_S)

    assert [each.conversation_id for each in reports[0].unfinished] == ["c-1", "c-2"]


def test_the_default_context_can_be_drained():
    """WC-29: the next use makes another."""
    before = default_worker_context()
    worker = before.register_worker("ns", "q", WorkerCapacity(1, ("any",)))
    before.submit("ns", "q", _conversation(0))

    report = close_default_worker_context(drain=0.01)

    assert [each.worker_id for each in report.unfinished] == [worker.worker_id]
    assert close_default_worker_context(drain=LONG_S).is_complete
    after = default_worker_context()
    assert after is not before
    close_default_worker_context()
