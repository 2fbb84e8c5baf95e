"""Scenarios of queues that are paused, limited and bounded while everything else goes on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from simkit import QUEUE, SETTLED_S, Flaw, application, at_once, books, double, told_or, watch_books, within
from simscenarios import CLOSE_S, scenario

import limen
from limen import (
    ActivityCancelled,
    ActivityFailed,
    ActivityTimedOut,
    ChannelLifecycleError,
    Limen,
    NoWorkersAvailable,
    QueueFull,
    Retry,
    activity,
)
from limen.actors._gates import Gate
from limen.actors.channel import ChannelActor
from limen.actors.runtime import runtime
from limen.actors.worker import WorkerActor
from limen.testing import Faults, Simulation


def watch_limit(sim: Simulation, most: int) -> None:
    """Claim, at every step, that live workers hold no more of any type than may run."""

    @sim.invariant
    def no_limit_is_exceeded() -> None:
        for book in books(sim):
            held = [attempt for entry in book.state.candidates for attempt in entry.attempts]
            for kind in {attempt.activity_type for attempt in held} & book.state.gates.keys():
                count = sum(attempt.activity_type == kind for attempt in held)
                assert count <= most, f"{count} of {kind} run, and {most} may"


def assert_places_are_free(sim: Simulation) -> None:
    """Once all is quiet, nobody is past a gate, and nobody waits at one."""
    for book in books(sim):
        for gate in book.state.gates.values():
            assert gate.running == 0, f"{gate} has lost a place"
            assert not book.state.waiting.has_any(gate.activity_type)


def race(sim: Simulation, *calls: Callable[[], object]) -> list[Any]:
    """Make these calls, each on a thread of its own."""
    threads = [runtime().start_thread(call, f"racer-{number}") for number, call in enumerate(calls)]
    sim.step(sim.random.randrange(8))
    return threads


# --- pauses -----------------------------------------------------------------------------------------------------------


@scenario(Faults(crash=(WorkerActor, ChannelActor), preempt=(0.0, 0.3)))
def nothing_starts_in_a_pause(sim: Simulation) -> None:
    """A pause meets dispatches, crashes of workers and of the channel: once it is said nothing starts until the end."""
    begun: list[int] = []

    @activity(queue=QUEUE, max_crashes=20)
    def counted(number: int) -> int:
        begun.append(number)
        limen.sleep(1.0)
        return number

    watch_books(sim)
    with Limen() as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [counted])
        handles = [app.dispatch(counted, n) for n in range(3)]
        sim.step(sim.random.randrange(30))
        with sim.calm():
            app.pause(QUEUE)
        handed_over = {n for n, each in enumerate(handles) if each.done() or each.state == "running"} | set(begun)
        (dispatching,) = race(sim, lambda: handles.extend(app.dispatch(counted, n) for n in range(3, 6)))
        sim.run(lambda: all(each.done() or each.state != "running" for each in handles))
        before = len(begun)
        sim.clock.advance(30.0)
        dispatching.join()
        assert len(begun) == before, "something started in a pause"
        assert set(begun) <= handed_over, "something was handed over in a pause"
        with sim.calm():
            assert app.queue(QUEUE).paused
            app.resume(QUEUE)
        sim.settle()
        sim.heal()
        assert all(told_or(handle, n) for n, handle in enumerate(handles))
        sim.sometimes("something waited through a pause", before < 6)
        sim.sometimes("the channel was restarted in a pause", "ChannelActor#2" in sim.names)


@scenario(Faults(crash=WorkerActor, preempt=(0.0, 0.3, 0.6)))
def a_pause_races_its_end(sim: Simulation) -> None:
    """Pauses and resumes come from several threads at once, with dispatches in between; the last word counts."""
    with application(sim, workers=2) as app:
        handles: list[Any] = []

        def toggle() -> None:
            for _ in range(3):
                app.pause(QUEUE)
                app.resume(QUEUE)

        def dispatch() -> None:
            handles.extend(app.dispatch(at_once, 1) for _ in range(4))

        for each in race(sim, toggle, toggle, dispatch):
            each.join()
        app.resume(QUEUE)
        sim.settle()
        assert [handle.result(SETTLED_S) for handle in handles] == [2] * 4, "a request was forgotten"


@scenario(Faults(crash=WorkerActor))
def a_paused_queue_is_closed(sim: Simulation) -> None:
    """Whoever waits in a pause is told at the close, and the close comes back in time."""
    with application(sim) as app:
        running = [app.dispatch(double, n) for n in range(3)]
        sim.step(sim.random.randrange(20))
        (pausing,) = race(sim, functools.partial(_suppressed, lambda: app.pause(QUEUE)))
        waiting = [app.dispatch(double, n) for n in range(3)]
        with within(sim, CLOSE_S):
            app.close()
        pausing.join()
        for handle in (*running, *waiting):
            assert handle.done(), "a caller was forgotten at the close"
            with contextlib.suppress(ChannelLifecycleError, NoWorkersAvailable):
                handle.result(0)


def _suppressed(call: Callable[[], object]) -> None:
    with contextlib.suppress(limen.LimenError):
        call()


# --- limits by number -------------------------------------------------------------------------------------------------


@activity(queue=QUEUE, max_crashes=20, retry=Retry(max_attempts=30, initial=0.5))
def flawed(number: int) -> int:
    """Take a second, and fail by luck."""
    limen.sleep(1.0)
    Flaw.fails()
    return 2 * number


@scenario(Faults(crash=(WorkerActor, ChannelActor), crash_p=(0.01, 0.05)))
def places_at_a_gate_come_back(sim: Simulation) -> None:
    """Crashes, cancels, time-outs and retries meet at a limit: one outcome each, and every place is free at the end."""
    sim.faulty(Flaw, "fails", 0.3, ValueError("by luck"))
    watch_books(sim)
    watch_limit(sim, 2)
    with Limen() as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [flawed], max_concurrent=2)
            app.limit(QUEUE, flawed, max_concurrent=2)
        plain = [app.dispatch(flawed, n) for n in range(4)]
        in_haste = flawed.options(start_to_close=0.5, retry=Retry(max_attempts=2, initial=0.1))
        hasty = [app.dispatch(in_haste, 1) for _ in range(2)]
        late = [app.dispatch(flawed.options(schedule_to_close=2.5), 1) for _ in range(2)]
        given_up = [app.dispatch(flawed, 1) for _ in range(2)]
        sim.step(sim.random.randrange(60))
        for handle in given_up:
            handle.cancel()
        sim.settle()
        sim.heal()
        assert all(told_or(handle, 2 * n) for n, handle in enumerate(plain))
        for handle in (*hasty, *late, *given_up):
            error = handle.exception(SETTLED_S)
            if error is not None:
                assert isinstance(
                    error, (ActivityTimedOut, ActivityCancelled, ActivityFailed)
                ) or "as it took in" in str(error), error
        sim.settle()
        assert_places_are_free(sim)
        sim.sometimes("a try was lost at the limit", any(len(handle.attempts) > 1 for handle in plain))
        sim.sometimes("one ran out of time", any(isinstance(each.exception(0), ActivityTimedOut) for each in late))


@scenario(Faults(crash=WorkerActor, preempt=(0.0, 0.3)))
def limits_change_under_work(sim: Simulation) -> None:
    """Limits are set, changed and lifted while requests come and go; nobody waits at a gate that is gone."""
    with application(sim, workers=2, max_concurrent=3) as app:

        def change() -> None:
            for most in (1, 2, None, 1, None):
                app.limit(QUEUE, double, max_concurrent=most)

        handles = [app.dispatch(double, n) for n in range(4)]
        (changing,) = race(sim, change)
        handles += [app.dispatch(double, n) for n in range(4, 8)]
        others = [app.dispatch(at_once, n) for n in range(4)]
        changing.join()
        sim.settle()
        sim.heal()
        assert [each.result(SETTLED_S) for each in handles] == [2 * n for n in range(8)]
        assert [each.result(SETTLED_S) for each in others] == [2 * n for n in range(4)]


# --- bounds -----------------------------------------------------------------------------------------------------------


@scenario(Faults(crash=(WorkerActor, ChannelActor), crash_p=(0.0, 0.02, 0.05), preempt=(0.0, 0.3)))
def room_is_found_or_refused(sim: Simulation) -> None:
    """Callers wait for room while workers and the channel die: each comes back, with one outcome."""
    patient, hasty = double.options(wait=1000.0), double.options(wait=1.5)
    handles: list[tuple[int, Any]] = []

    @sim.invariant
    def nobody_waits_outside_an_empty_room() -> None:
        for book in books(sim):
            state = book.state
            assert state.unsettled or not state.outside or state.buffered >= state.queue_limit, "there is room"

    def call(activity: Any, number: int) -> None:
        handles.append((number, app.dispatch(activity, number)))

    with application(sim, workers=1) as app:
        with sim.calm():
            app.bound(QUEUE, waiting=1)
        calls = [functools.partial(call, patient, n) for n in range(4)]
        calls += [functools.partial(call, hasty, n) for n in range(4, 7)]
        for each in race(sim, *calls):
            each.join()
        sim.settle()
        sim.heal()
        assert len(handles) == 7, "a caller is still there"
        for number, handle in handles:
            error = handle.exception(SETTLED_S)
            if error is None:
                assert handle.result(0) == 2 * number
            else:
                in_vain = number >= 4 and isinstance(error, QueueFull)
                assert in_vain or "as it took in" in str(error), error
        sim.settle()
        for book in books(sim):
            assert not book.state.outside
            assert book.state.buffered == 0
        sim.sometimes("one waited in vain", any(isinstance(each.exception(0), QueueFull) for _, each in handles))
        sim.sometimes(
            "one waited and came in", all(each.exception(0) is None for number, each in handles if number < 4)
        )


@scenario(Faults(crash=WorkerActor, preempt=(0.0, 0.3)))
def a_close_finds_those_that_wait_for_room(sim: Simulation) -> None:
    """Whoever waits for room when the application is closed comes back, and has an outcome."""
    back: list[Any] = []

    def call(number: int) -> None:
        with contextlib.suppress(ChannelLifecycleError):
            back.append(app.dispatch(double.options(wait=1000.0), number))

    with application(sim, workers=1) as app:
        with sim.calm():
            app.bound(QUEUE, waiting=1)
        threads = race(sim, *(functools.partial(call, number) for number in range(4)))
        sim.step(sim.random.randrange(40))
        with within(sim, CLOSE_S):
            app.close()
        for each in threads:
            each.join()
        assert all(handle.done() for handle in back), "a caller was forgotten at the close"


# --- limits by rate ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hand_overs() -> Iterator[list[float]]:
    """Note when each token is taken for good. When its activity begins depends on threads, which may be late."""
    enter, turn_back, at_s = Gate.enter, Gate.turn_back, list[float]()

    def note(gate: Gate, now_s: float) -> None:
        at_s.append(now_s)
        enter(gate, now_s)

    def forget(gate: Gate) -> None:
        at_s.pop()
        turn_back(gate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gate, "enter", note)
        patch.setattr(Gate, "turn_back", forget)
        yield at_s


@scenario(Faults(crash=(WorkerActor, ChannelActor), crash_p=(0.0, 0.02)))
def starts_keep_to_the_rate(sim: Simulation) -> None:
    """In any time no more are handed over than the burst and what came meanwhile; without a crash, not one less."""
    rate, burst, count = 2.0, 3, 12
    watch_books(sim)
    with Limen() as app, hand_overs() as at_s:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [at_once], max_concurrent=4)
            app.limit(QUEUE, at_once, rate=rate, burst=burst)
        handles = [app.dispatch(at_once, n) for n in range(count)]
        sim.settle()
        sim.heal()
        assert all(told_or(handle, 2 * n) for n, handle in enumerate(handles))
        for first, begin_s in enumerate(at_s):
            for last in range(first, len(at_s)):
                between_s = at_s[last] - begin_s
                assert last - first + 1 <= burst + between_s * rate + 1e-6, f"{last - first + 1} within {between_s} s"
        if set(sim.names) >= {"ChannelActor#1", "WorkerActor#1", "WorkerActor#2"}:  # all that there were
            assert len(at_s) == count
            assert at_s[-1] - at_s[0] <= (count - burst) / rate + 1e-6, "a token was lost"
            sim.sometimes("nothing crashed", True)
        sim.sometimes("something crashed", len(at_s) > count)
        assert_places_are_free(sim)
