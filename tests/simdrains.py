"""Scenarios of drains: workers, and whole applications, that end what they have while everything else goes on."""

from __future__ import annotations

import contextlib
from typing import Any

from simkit import QUEUE, SETTLED_S, Flaw, application, assert_recorded_once, at_once, books, double, flaky, watch_books
from simscenarios import CLOSE_S, COMMAND_S, scenario

import limen
from limen import (
    ActivityCancelled,
    ActivityTimedOut,
    ChannelLifecycleError,
    EventKind,
    Limen,
    MemoryRecorder,
    NoWorkersAvailable,
    ShutDown,
)
from limen.actors.channel import ChannelActor
from limen.actors.context import WorkerContext
from limen.actors.runtime import runtime
from limen.actors.worker import WorkerActor
from limen.messages.drain import DrainReport, Fate, Waiting
from limen.testing import Child, Faults, Simulation

TIMES_S = (0.0, 0.5, 1.0, 1.5, 20.0)
"""How long a drain may take: less than an activity, as long, more."""


def watch_drains(sim: Simulation) -> None:
    """Claim that a worker that drains is given nothing more, and keeps no slot when it has left."""
    watch_books(sim)
    known: dict[Any, int] = {}

    @sim.invariant
    def a_worker_that_drains_gets_nothing_new() -> None:
        for book in books(sim):
            for entry in book.state.candidates:
                if entry.draining:
                    held = known.setdefault(entry, len(entry.attempts))
                    assert len(entry.attempts) <= held, f"{entry.worker_id} drains and was given work"
                    known[entry] = len(entry.attempts)


def in_the_background(do: Any) -> tuple[Any, list[Any]]:
    """Run something on a thread of its own; what it gives, or raises, is in the list once it has been joined."""
    done: list[Any] = []

    def run() -> None:
        try:
            done.append(do())
        except Exception as error:  # noqa: BLE001 - it is the test's
            done.append(error)

    return runtime().start_thread(run, "drainer"), done


def ends_of(handles: list[Any], expected: list[Any], *allowed: type[Exception]) -> list[Any]:
    """Give the one outcome of each: the right result, or an error of these kinds."""
    ends = []
    for handle, value in zip(handles, expected, strict=True):
        error = handle.exception(SETTLED_S)
        if error is None:
            assert handle.result(0) == value
        elif isinstance(error, ChannelLifecycleError) and "as it took in" in str(error):
            pass
        else:
            assert isinstance(error, allowed), f"{handle!r} ended with {error!r}"
        ends.append(error)
    return ends


def check_report(report: DrainReport, handles: list[Any], ends: list[Any]) -> None:
    """Claim that whatever failed for lack of a worker was named, and nobody twice."""
    by_id = {each.conversation_id: each for each in report.unfinished if each.fate is Fate.FAILED}
    for handle, error in zip(handles, ends, strict=True):
        if handle.id in by_id:
            assert error is not None, f"{handle.id} was reported as failed and has a result"
            assert isinstance(error, NoWorkersAvailable)


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def a_worker_drains_while_everything_happens(sim: Simulation) -> None:
    """Crash, cancellation, time-out, completion and dispatch around a drain: one outcome each, the worker is gone."""
    watch_drains(sim)
    with application(sim, workers=1) as app:
        with sim.calm():
            leaving = app.worker(QUEUE, [double, at_once, flaky])
        short = double.options(start_to_close=0.5)
        handles = [app.dispatch((double, at_once, short)[n % 3], n) for n in range(6)]
        sim.step(sim.random.randrange(30))
        timeout_s = sim.random.choice(TIMES_S)
        thread, done = in_the_background(lambda: leaving.drain(timeout_s))
        sim.step(sim.random.randrange(10))
        handles[sim.random.randrange(6)].cancel()
        handles += [app.dispatch(double, n) for n in range(6, 8)]
        thread.join()
        sim.heal()
        ends = ends_of(handles, list(range(0, 16, 2)), ActivityCancelled, ActivityTimedOut)
        sim.settle()
        assert_gone(sim, app, leaving, done)
        sim.sometimes("something was handed on", any(each.fate is Fate.HANDED_ON for each in left_by(done)))
        sim.sometimes("it finished what it had", isinstance(done[0], DrainReport) and done[0].is_complete)
        sim.sometimes("somebody timed out", any(isinstance(each, ActivityTimedOut) for each in ends))
        taken = [each for book in books(sim) for entry in book.state.candidates for each in entry.attempts]
        assert not taken, f"slots still taken: {taken}"


def left_by(done: list[Any]) -> tuple[Any, ...]:
    """Give what a drain reported as unfinished, if it reported."""
    return done[0].unfinished if isinstance(done[0], DrainReport) else ()


def assert_gone(sim: Simulation, app: Limen, leaving: Any, done: list[Any]) -> None:
    """A drained worker has left for good, with a report, or an error that says that the channel could not be told."""
    assert len(done) == 1
    assert isinstance(done[0], DrainReport | ChannelLifecycleError), done
    assert not leaving.is_active
    assert leaving.worker_id not in [row.worker_id for row in app.pool(QUEUE)]
    assert leaving.worker_id not in {actor.worker_id for actor in sim.actors(WorkerActor)}


@scenario(Faults(crash=WorkerActor))
def the_last_worker_of_a_type_drains(sim: Simulation) -> None:
    """What it has ends, or is named; whoever waits is told once it has left, or is served by whoever came meanwhile."""
    watch_drains(sim)
    with Limen() as app:
        with sim.calm():
            leaving = app.worker(QUEUE, [double], max_concurrent=2)
        handles = [app.dispatch(double, n) for n in range(4)]
        sim.step(sim.random.randrange(20))
        timeout_s = sim.random.choice(TIMES_S)
        thread, done = in_the_background(lambda: leaving.drain(timeout_s))
        late = sim.random.random() < 0.5
        if late:
            sim.step(sim.random.randrange(10))
            with sim.calm():
                app.worker(QUEUE, [double])
        thread.join()
        sim.heal()
        ends = ends_of(handles, [0, 2, 4, 6], NoWorkersAvailable)
        sim.settle()
        assert_gone(sim, app, leaving, done)
        check_report(done[0], handles, ends)
        named = {each.conversation_id for each in left_by(done)}
        failed = {handle.id for handle, error in zip(handles, ends, strict=True) if error is not None}
        assert failed <= named, "somebody failed and was not named"
        sim.sometimes("nobody was left", any(ends))
        sim.sometimes("another one came in time", late and not any(ends))


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def two_drains_and_an_unregister_meet(sim: Simulation) -> None:
    """Whoever drains is told the same, in his own time; the worker leaves once."""
    watch_drains(sim)
    with application(sim, workers=1) as app:
        with sim.calm():
            leaving = app.worker(QUEUE, [double, at_once, flaky])
        handles = [app.dispatch(double, n) for n in range(4)]
        sim.step(sim.random.randrange(20))
        begun_s = sim.clock.now_s
        times_s = [sim.random.choice(TIMES_S) for _ in range(2)]
        drains = [in_the_background(lambda limit_s=limit_s: leaving.drain(limit_s)) for limit_s in times_s]
        if sim.random.random() < 0.3:
            sim.step(sim.random.randrange(10))
            with contextlib.suppress(ChannelLifecycleError):
                leaving.unregister()
        for thread, _ in drains:
            thread.join()
        assert sim.clock.now_s - begun_s <= min(times_s) + 2 * COMMAND_S
        sim.heal()
        ends_of(handles, [0, 2, 4, 6])
        sim.settle()
        for _, done in drains:
            assert_gone(sim, app, leaving, done)
        reports = {done[0].unfinished for _, done in drains if isinstance(done[0], DrainReport)}
        assert len(reports) < 2, f"they were told different things: {reports}"


@scenario(Faults(crash=Child))
def a_process_worker_drains(sim: Simulation) -> None:
    """Child processes vanish under it; what it has is run again in those that take their place."""
    watch_drains(sim)
    with application(sim, workers=1, executor="process", max_concurrent=2) as app:
        with sim.calm():
            leaving = app.worker(QUEUE, [double], executor="process", max_concurrent=2)
        handles = [app.dispatch(double, n) for n in range(8)]
        sim.step(sim.random.randrange(30))
        thread, done = in_the_background(lambda: leaving.drain(sim.random.choice(TIMES_S)))
        thread.join()
        sim.heal()
        ends_of(handles, list(range(0, 16, 2)))
        sim.settle()
        assert_gone(sim, app, leaving, done)


@scenario(Faults(crash=WorkerActor))
def drains_on_an_event_loop(sim: Simulation) -> None:
    """`adrain`, of several workers at once, one of which is given up by whoever waited for it."""
    watch_drains(sim)
    with application(sim, workers=0) as app:
        with sim.calm():
            workers = [app.worker(QUEUE, [double]) for _ in range(3)]
        handles = [app.dispatch(double, n) for n in range(6)]
        with sim.calm():
            app.worker(QUEUE, [double])

        async def drain_all() -> list[DrainReport]:
            import asyncio

            impatient = asyncio.create_task(workers[0].adrain(5.0))
            others = [asyncio.create_task(each.adrain(1.5)) for each in workers[1:]]
            await asyncio.sleep(0.1)
            impatient.cancel()
            await asyncio.wait([impatient])
            return list(await asyncio.gather(*others))

        reports = sim.run_async(drain_all())
        assert len(reports) == 2
        sim.heal()
        ends_of(handles, list(range(0, 12, 2)))
        sim.settle()
        assert [each.is_active for each in workers] == [False] * 3
        assert [row.worker_id for row in app.pool(QUEUE)] == ["worker-4"]


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def a_drain_is_on_record(sim: Simulation) -> None:
    """Every conversation is closed once on record, around a drain."""
    recorder = MemoryRecorder()
    watch_drains(sim)
    with Limen(recorder=recorder) as app:
        with sim.calm():
            workers = [app.worker(QUEUE, [double]) for _ in range(2)]
        handles = [app.dispatch(double, n) for n in range(4)]
        sim.step(sim.random.randrange(30))
        with contextlib.suppress(ChannelLifecycleError):
            workers[0].drain(sim.random.choice(TIMES_S))
        sim.settle()
        sim.heal()
        ends_of(handles, [0, 2, 4, 6])
        sim.settle()
        assert_recorded_once(recorder, handles)


# --- whole applications -----------------------------------------------------------------------------------------------


def assert_told(handles: list[Any], expected: list[Any], report: DrainReport, *allowed: type[Exception]) -> list[Any]:
    """Claim that what has a result and what the report names is together all that there was, and nothing is in both."""
    named = [each.conversation_id for each in report.unfinished]
    assert len(named) == len(set(named)), f"named twice: {named}"
    ends = []
    for handle, value in zip(handles, expected, strict=True):
        assert handle.done(), f"{handle!r} was forgotten"
        error = handle.exception(0)
        ends.append(error)
        if isinstance(error, ShutDown):
            assert handle.id in named, f"{handle.id} was shut out and is not named"
            continue
        assert handle.id not in named, f"{handle.id} is named and ended with {error!r}"
        if error is None:
            assert handle.result(0) == value
        elif not (isinstance(error, ChannelLifecycleError) and "as it took in" in str(error)):
            assert isinstance(error, allowed), f"{handle!r} ended with {error!r}"
    return ends


def dispatch_until_refused(app: Limen, sim: Simulation, first: int) -> list[Any]:
    """Dispatch until the application takes nothing new."""
    handles = []
    for n in range(first, first + 6):
        try:
            handles.append(app.dispatch(double, n))
        except ChannelLifecycleError:
            break
        limen.sleep(0.3)
    return handles


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def an_application_drains_while_everything_happens(sim: Simulation) -> None:
    """Dispatch, crash, cancel, time-out, completion around a drain: each request has its result, or is named."""
    watch_books(sim)
    with application(sim, workers=2) as app:
        with sim.calm():
            stream = app.events()
        short = double.options(start_to_close=0.5)
        kinds = (double, at_once, short, flaky, double.options(priority=3))
        handles = [app.dispatch(kinds[n % 5], n) for n in range(7)]
        sim.step(sim.random.randrange(40))
        dispatcher, came = in_the_background(lambda: dispatch_until_refused(app, sim, 7))
        drain_s = sim.random.choice(TIMES_S)
        waiting: Waiting = sim.random.choice(["fail", "run"])
        begun_s = sim.clock.now_s
        closer, done = in_the_background(lambda: app.close(drain=drain_s, waiting=waiting))
        sim.step(sim.random.randrange(10))
        handles[sim.random.randrange(7)].cancel()
        closer.join()
        assert sim.clock.now_s - begun_s <= drain_s + CLOSE_S
        dispatcher.join()
        assert isinstance(done[0], DrainReport), done
        handles += came[0]
        ends = assert_told(handles, [2 * n for n in range(len(handles))], done[0], ActivityCancelled, ActivityTimedOut)
        told = [event.conversation_id for event in stream if event.kind is EventKind.CONCLUDED]
        assert len(told) == len(set(told)), "an outcome was told twice"
        sim.sometimes("it was done in time", done[0].is_complete)
        sim.sometimes("some had not begun", bool(done[0].not_begun))
        sim.sometimes("some were interrupted", bool(done[0].interrupted))
        sim.sometimes("one came too late", any(isinstance(each, ShutDown) for each in ends[7:]))
        sim.sometimes("a backlog was run", waiting == "run" and not any(ends[:7]))
    sim.settle()
    left = [name for name in sim.names if name != "clock"]
    assert left == [], f"still there after the close: {left}"


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def keys_pauses_and_limits_end_too(sim: Simulation) -> None:
    """Callers of one key, a paused queue and a limited activity: each caller has one outcome, or is named."""
    watch_books(sim)
    with application(sim, workers=2) as app:
        with sim.calm():
            app.limit(QUEUE, double, max_concurrent=1)
        shared = double.options(key="shared")
        handles = [app.dispatch(shared if n % 2 else at_once, 1) for n in range(6)]
        handles += [app.dispatch(double, 1) for _ in range(2)]
        sim.step(sim.random.randrange(15))
        if sim.random.random() < 0.4:
            with contextlib.suppress(ChannelLifecycleError):
                app.pause(QUEUE)
        sim.step(sim.random.randrange(10))
        waiting: Waiting = sim.random.choice(["fail", "run"])
        closer, done = in_the_background(lambda: app.close(drain=sim.random.choice(TIMES_S), waiting=waiting))
        sim.step(sim.random.randrange(10))
        handles[sim.random.randrange(8)].cancel()
        closer.join()
        ends = assert_told(handles, [2] * 8, done[0], ActivityCancelled)
        joined = [end for n, end in enumerate(ends[:6]) if n % 2]
        sim.sometimes("callers of a key were shut out", all(isinstance(each, ShutDown) for each in joined))
        sim.sometimes("callers of a key had their result", not any(joined))
        sim.sometimes("all was done", done[0].is_complete)
    sim.settle()
    left = [name for name in sim.names if name != "clock"]
    assert left == [], f"still there after the close: {left}"


@scenario(Faults(crash=WorkerActor))
def what_has_begun_is_carried_to_its_end(sim: Simulation) -> None:
    """With time enough, whatever had begun has its result, through crashes and retries; nothing else begins."""
    sim.faulty(Flaw, "fails", 0.3, ValueError("by luck"))
    with application(sim, workers=2) as app:
        handles = [app.dispatch(flaky if n % 2 else double, n) for n in range(6)]
        sim.step(sim.random.randrange(60))
        report = app.close(drain=SETTLED_S)
        assert_told(handles, list(range(0, 12, 2)), report)
        assert not report.interrupted, f"it had begun, and was given up: {report}"
        sim.sometimes("one was tried again", any(handle.errors for handle in handles))
        sim.sometimes("a worker died", any(handle.crashes for handle in handles))
        sim.sometimes("some had not begun", bool(report.not_begun))


@scenario(Faults(crash=WorkerActor))
def a_backlog_is_run(sim: Simulation) -> None:
    """With `waiting="run"` and time enough, everything that was taken has its result."""
    with application(sim, workers=2) as app:
        handles = [app.dispatch(double, n) for n in range(8)]
        sim.step(sim.random.randrange(20))
        report = app.close(drain=SETTLED_S, waiting="run")
        assert report.is_complete, report
        assert_told(handles, list(range(0, 16, 2)), report)


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def two_closes_meet(sim: Simulation) -> None:
    """The second hurries the first; both give the same report, in the time of whoever is in a hurry."""
    watch_books(sim)
    with application(sim, workers=2) as app:
        handles = [app.dispatch(double, n) for n in range(6)]
        sim.step(sim.random.randrange(20))
        begun_s = sim.clock.now_s
        times_s = [sim.random.choice((*TIMES_S, SETTLED_S)) for _ in range(2)]
        closers = []
        for drain_s in times_s:
            closers.append(in_the_background(lambda drain_s=drain_s: app.close(drain=drain_s, waiting="run")))
            sim.step(sim.random.randrange(10))
        for thread, _ in closers:
            thread.join()
        assert sim.clock.now_s - begun_s <= max(min(times_s), 8.0) + CLOSE_S
        reports = [done[0] for _, done in closers]
        assert reports[0] == reports[1], reports
        assert_told(handles, list(range(0, 12, 2)), reports[0])
        sim.sometimes("it was cut short", min(times_s) < 1.0 < max(times_s) and not reports[0].is_complete)


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def a_close_is_on_record(sim: Simulation) -> None:
    """What was shut out is on record as closed and has no outcome there: it may be dispatched again under its id."""
    recorder = MemoryRecorder()
    watch_books(sim)
    with Limen(recorder=recorder) as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [double])
        handles = [app.dispatch(double, n) for n in range(5)]
        sim.step(sim.random.randrange(30))
        report = app.close(drain=sim.random.choice(TIMES_S))
        ends = assert_told(handles, list(range(0, 10, 2)), report)
        for handle, error in zip(handles, ends, strict=True):
            if isinstance(error, ShutDown) or error is None:
                assert (recorder.outcome(handle.id) is None) == isinstance(error, ShutDown)


@scenario(Faults(crash=WorkerActor))
def an_application_in_a_borrowed_context_drains(sim: Simulation) -> None:
    """Only its own workers leave; what they have not done goes to the others."""
    watch_drains(sim)
    with WorkerContext() as context, Limen(context=context) as other:
        app = Limen(context=context)
        with sim.calm():
            for each in (app, app, other):
                each.worker(QUEUE, [double])
        handles = [app.dispatch(double, n) for n in range(6)]
        sim.step(sim.random.randrange(30))
        report = app.close(drain=sim.random.choice(TIMES_S))
        assert all(each.fate is Fate.HANDED_ON for each in report.unfinished), report
        sim.heal()
        ends_of(handles, list(range(0, 12, 2)))
        sim.settle()
        assert [row.worker_id for row in other.pool(QUEUE)] == ["worker-3"]
        sim.sometimes("something was handed on", bool(report.unfinished))
