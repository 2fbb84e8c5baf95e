"""Scenarios of drains: workers, and whole applications, that end what they have while everything else goes on."""

from __future__ import annotations

import contextlib
from typing import Any

from simkit import QUEUE, SETTLED_S, application, assert_recorded_once, at_once, books, double, flaky, watch_books
from simscenarios import COMMAND_S, scenario

from limen import ActivityCancelled, ActivityTimedOut, ChannelLifecycleError, Limen, MemoryRecorder, NoWorkersAvailable
from limen.actors.channel import ChannelActor
from limen.actors.runtime import runtime
from limen.actors.worker import WorkerActor
from limen.messages.drain import DrainReport, Fate
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
