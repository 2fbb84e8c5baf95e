"""Draining a worker: it finishes what it has, gets nothing new, and leaves; whatever it did not finish is named."""

import asyncio
from typing import Any

import pytest
from facekit import LONG_S, TIMEOUT_S, Work, in_the_background, wait_for
from linkkit import Doer, ending

from limen import EventKind, Limen, NoWorkersAvailable
from limen.messages.drain import DrainReport, Fate


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


def test_a_worker_that_drains_finishes_what_it_has_and_gets_nothing_new(app, at):
    """WR-12: what runs ends well; what comes in goes to another; then it is gone, with nothing left to report."""
    events = app.events()
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    thread, reports = in_the_background(lambda: leaving.drain(LONG_S))
    drained = wait_for(events, EventKind.DRAINING)
    waiting = app.dispatch(at.work, 2)
    other = app.worker("work", [at.work])
    at.wait_begun()

    assert (drained.worker_id, drained.detail) == (leaving.worker_id, "1 to finish")
    assert [(row.worker_id, row.draining, row.free) for row in app.pool("work")] == [
        (leaving.worker_id, True, 0),
        (other.worker_id, False, 0),
    ]
    at.gate.set()
    thread.join(TIMEOUT_S)

    assert reports[0].is_complete
    assert reports[0].took_s < LONG_S
    assert [held.result(TIMEOUT_S), waiting.result(TIMEOUT_S)] == [1, 2]
    assert [waiting.attempts[0].worker_id] == [other.worker_id]
    assert not leaving.is_active
    assert [row.worker_id for row in app.pool("work")] == [other.worker_id]


def test_what_is_left_when_time_is_up_goes_to_another_worker(app, at):
    """DP-08, WR-12: named in the report, run again elsewhere, and nobody is charged."""
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    other = app.worker("work", [at.work])
    report = leaving.drain(0.01)
    at.wait_begun()
    at.gate.set()

    assert held.result(TIMEOUT_S) == 1
    assert (held.attempts[-1].worker_id, held.crashes) == (other.worker_id, 0)
    (left,) = report.unfinished
    assert (left.conversation_id, left.activity_type, left.queue) == (held.id, "work", "work")
    assert (left.stage, left.attempts, left.worker_id, left.fate) == ("running", 1, leaving.worker_id, Fate.HANDED_ON)


def test_where_there_is_no_other_worker_callers_are_told(app, at):
    """DP-10: what it has not finished, and what waited for it, fails with a clear error, and is named."""
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    waiting = app.dispatch(at.work, 2)
    report = leaving.drain(0.01)

    assert isinstance(held.exception(TIMEOUT_S), NoWorkersAvailable)
    assert isinstance(waiting.exception(TIMEOUT_S), NoWorkersAvailable)
    assert "the last one was drained" in str(waiting.exception(0))
    assert [(each.conversation_id, each.stage, each.fate) for each in report.unfinished] == [
        (held.id, "running", Fate.FAILED),
        (waiting.id, "waiting", Fate.FAILED),
    ]
    assert report.not_begun == report.unfinished[1:]


def test_a_result_that_is_cancelled_is_not_waited_for(app, at):
    """A drain waits for outcomes: a thread that nobody waits for holds nobody up."""
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    thread, reports = in_the_background(lambda: leaving.drain(LONG_S))
    held.cancel()
    thread.join(TIMEOUT_S)

    assert reports[0].is_complete
    assert not leaving.is_active


def test_an_idle_worker_has_left_at_once_and_for_good(app, at):
    """A second drain, and one of a worker that is gone, has nothing to do."""
    leaving = app.worker("work", [at.work])

    assert leaving.drain(LONG_S).is_complete
    assert leaving.drain(LONG_S).is_complete
    leaving.unregister()
    assert app.pool("work") == []


def test_an_unregister_ends_a_drain(app, at):
    """WR-10: whoever cannot wait any longer takes the worker out; whoever drains is told what is left."""
    events = app.events()
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    thread, reports = in_the_background(lambda: leaving.drain(LONG_S))
    wait_for(events, EventKind.DRAINING)
    leaving.unregister()
    thread.join(TIMEOUT_S)

    assert [each.conversation_id for each in reports[0].unfinished] == [held.id]
    assert isinstance(held.exception(TIMEOUT_S), NoWorkersAvailable)


def test_unregister_can_drain_first(app, at):
    """WR-12: the older way to say it."""
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    thread, _ = in_the_background(lambda: leaving.unregister(drain=LONG_S))
    at.gate.set()
    thread.join(TIMEOUT_S)

    assert held.result(TIMEOUT_S) == 1
    assert not leaving.is_active


def test_workers_drain_on_an_event_loop(app, at):
    """Many at once, without a thread for each; the loop goes on meanwhile."""
    workers = [app.worker("work", [at.work]) for _ in range(40)]
    handles = [app.dispatch(at.work, number) for number in range(40)]
    at.wait_begun(40)

    async def drain_all() -> list[DrainReport]:
        drains = [asyncio.create_task(each.adrain(LONG_S)) for each in workers]
        await asyncio.sleep(0)
        at.gate.set()
        return list(await asyncio.gather(*drains))

    reports = asyncio.run(drain_all())

    assert all(each.is_complete for each in reports)
    assert [handle.result(TIMEOUT_S) for handle in handles] == list(range(40))
    assert app.pool("work") == []


def test_whoever_is_interrupted_leaves_the_drain_to_itself(app, at, monkeypatch):
    """Ctrl-C in the middle of the wait comes out of it at once; the worker leaves all the same."""
    from limen.actors import _leaving

    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_leaving, "wait_patiently", interrupt)
        with pytest.raises(KeyboardInterrupt):
            leaving.drain(LONG_S)
    at.gate.set()

    assert held.result(TIMEOUT_S) == 1
    assert leaving.wait_closed(TIMEOUT_S)


def test_an_actor_only_begins_a_drain(app, at):
    """GR-07: an actor waits for nobody; the report says that it is not over."""
    leaving = app.worker("work", [at.work])
    held = app.dispatch(at.work, 1)
    at.wait_begun()
    actor = Doer.start()
    with ending(actor):
        report: Any = actor.ask(lambda _: leaving.drain(LONG_S), timeout=TIMEOUT_S)
    at.gate.set()

    assert not report.is_over
    assert held.result(TIMEOUT_S) == 1
    assert leaving.wait_closed(TIMEOUT_S)


def test_a_drain_ends_with_its_application(app, at):
    """Whoever drains when the application is closed is not left to wait."""
    events = app.events()
    leaving = app.worker("work", [at.work])
    app.dispatch(at.work, 1)
    at.wait_begun()
    thread, reports = in_the_background(lambda: leaving.drain(LONG_S))
    wait_for(events, EventKind.DRAINING)
    app.close(timeout=0.05)
    thread.join(TIMEOUT_S)

    assert len(reports) == 1
