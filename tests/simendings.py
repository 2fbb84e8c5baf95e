"""Scenarios of how a dispatch ends: time-out, crash, cancellation, completion, drain and close, all at once.

Each on threads, on event loops and in child processes. Whatever meets: one outcome each, slots back to zero, and the
count of abandoned runs right.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import attrs
from simkit import QUEUE, SETTLED_S, assert_recorded_once, books, watch_books, within
from simscenarios import CLOSE_S, scenario

import limen
from limen import (
    Activity,
    ActivityCancelled,
    ActivityTimedOut,
    ChannelLifecycleError,
    EventKind,
    Handle,
    Limen,
    MemoryRecorder,
    NoWorkersAvailable,
    Retry,
    activity,
    current,
)
from limen.actors.channel import ChannelActor
from limen.actors.executors.thread import ThreadExecutor
from limen.actors.runtime import runtime
from limen.actors.worker import WorkerActor
from limen.testing import Child, Faults, Simulation

THREADS, LOOPS, PROCESSES = "thread", "asyncio", "process"

DEAF = "deaf"
MANNERS = ("polite", "polite", DEAF)
"""Whether an activity ends when it is told, or goes on."""

INSTANTS_S = (0.5, 1.0, 1.0, 1.0, 2.0)
"""When things happen: most of them as an activity ends."""


class Tally:
    """What the activities of one run have done."""

    def __init__(self) -> None:
        self.ended: Counter[int] = Counter()
        """How often each came to its end by itself."""
        self.reported: dict[int, list[Any]] = {}
        self.gates: dict[int, Any] = {}
        """What those wait for that do not heed anything."""

    def begin(self, number: int) -> None:
        """Look at what an earlier attempt said, and say something."""
        me = current()
        said = self.reported.setdefault(number, [])
        last = me.last_progress
        assert last is None or (last in said and last[0] < me.attempt), f"{last} is before attempt {me.attempt}: {said}"
        said.append([me.attempt, number])
        me.progress([me.attempt, number])
        assert me.last_progress == last

    def gate(self, number: int) -> Any:
        """Give what this one waits for."""
        return self.gates.setdefault(number, runtime().create_event())


tally = Tally()


@activity(queue=QUEUE, max_crashes=50)
def take(number: int, takes_s: float, manner: str) -> int:
    """Take that long; one that is not deaf ends when it is told."""
    tally.begin(number)
    if manner == DEAF:
        limen.sleep(takes_s)
    elif current().wait_cancelled(takes_s):
        return -1
    tally.ended[number] += 1
    return 2 * number


@activity(queue=QUEUE, max_crashes=50)
async def take_async(number: int, takes_s: float, manner: str) -> int:
    """The same on an event loop."""
    tally.begin(number)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + takes_s
    while (left_s := end_s - loop.time()) > 1e-9:
        try:
            await asyncio.sleep(left_s)
        except asyncio.CancelledError:
            if manner != DEAF:
                raise
    tally.ended[number] += 1
    return 2 * number


def taking(kind: str) -> Activity[[int, float, str], int]:
    """Give the activity for workers of a kind."""
    return take_async if kind == LOOPS else take


def on_each(*kinds: str, **faults: Any) -> Callable[[Callable[[str, Simulation], None]], Any]:
    """Keep a story once for each kind of worker."""

    def keep(story: Callable[[str, Simulation], None]) -> Any:
        for kind in kinds:
            told: Any = functools.partial(story, kind)
            told.__name__ = f"{story.__name__}_{kind}"
            crash = faults.get("crash", WorkerActor)
            mortal = crash if isinstance(crash, tuple) else (crash,)
            scenario(Faults(**{**faults, "crash": (*mortal, Child) if kind == PROCESSES else mortal}))(told)
        return story

    return keep


def watch_endings(sim: Simulation) -> None:
    """Claim, at every step, that no worker has abandoned more than it may, or runs more threads than it has slots."""
    watch_books(sim)

    @sim.invariant
    def nothing_is_abandoned_without_bound() -> None:
        for book in books(sim):
            for entry in book.state.candidates:
                executor: Any = entry.executor
                abandoned = getattr(executor, "abandoned", 0)
                if abandoned:
                    most = executor._grace.max_abandoned
                    assert abandoned <= most, f"{entry.worker_id} has abandoned {abandoned}, and may {most}"
                if isinstance(executor, ThreadExecutor):
                    threads = len(executor._places)
                    assert threads <= entry.capacity.max_concurrent, f"{entry.worker_id} has {threads} threads"


def assert_at_rest(sim: Simulation, app: Limen) -> None:
    """When all is over, no slot is taken, nothing runs on, and the book is empty."""
    for row in app.pool(QUEUE):
        assert (row.in_flight, row.queued, row.abandoned) == (0, 0, 0), row
    for book in books(sim):
        assert book.state.open() == []
        for entry in book.state.candidates:
            assert not entry.attempts, f"{entry.worker_id} holds {entry.attempts}"


def assert_gone(sim: Simulation) -> None:
    """After the close nothing is left: no actor, no thread, no child."""
    sim.settle()
    left = [name for name in sim.names if name != "clock"]
    assert left == [], f"still there after the close: {left}"


# --- all at once ------------------------------------------------------------------------------------------------------


@attrs.define
class Happened:
    """What was done to the requests of one run, so that each outcome can be explained."""

    cancelled: set[int] = attrs.Factory(set)
    left: bool = False
    """Whether a worker was taken out."""
    closed: bool = False

    def cancel(self, handle: Handle[int], number: int) -> None:
        """Cancel one."""
        self.cancelled.add(number)
        handle.cancel()

    def take_out(self, worker: Any, drain_s: float | None) -> None:
        """Unregister a worker, or drain it for so long."""
        self.left = True
        if drain_s is None:
            worker.unregister()
        else:
            worker.drain(drain_s)

    def close(self, app: Limen, drain_s: float) -> None:
        """Close the application, in good order or not."""
        self.closed = True
        app.close(drain=drain_s)


LIMITS: tuple[dict[str, Any], ...] = (
    {},
    {"start_to_close": 1.0},
    {"start_to_close": 0.5},
    {"schedule_to_close": 1.0},
    {"schedule_to_close": 2.5},
    {"schedule_to_start": 1.0},
    {"start_to_close": 1.0, "schedule_to_close": 2.0, "schedule_to_start": 1.0},
)


def explain(handle: Handle[int], number: int, limits: dict[str, Any], happened: Happened) -> BaseException | None:
    """Claim that an outcome is one of those that could be, and give its error."""
    error = handle.exception(0)
    match error:
        case None:
            assert handle.result(0) == 2 * number
            assert tally.ended[number], f"{number} has a result and never came to its end"
        case ActivityCancelled():
            assert number in happened.cancelled, f"nobody cancelled {number}"
        case ActivityTimedOut():
            assert error.limit in limits
            assert error.limit_s == limits[error.limit]
            assert error.elapsed_s >= error.limit_s - 1e-6, error
        case NoWorkersAvailable():
            assert happened.left or happened.closed, f"{number} found no worker, and none was taken out: {error}"
        case ChannelLifecycleError():
            assert happened.closed or "as it took in" in str(error), error
        case _:
            raise AssertionError(f"{number} ended with {error!r}") from error
    return error


def everything_ends(kind: str, sim: Simulation, *, closing: bool) -> None:
    """Requests with all sorts of limits meet all sorts of ends, most of them in one instant."""
    tally.__init__()  # type: ignore[misc]
    watch_endings(sim)
    luck = sim.random
    recorder = MemoryRecorder() if luck.random() < 0.5 else None
    happened, told = Happened(), Counter[int]()
    with Limen(recorder=recorder) as app:
        events = app.events() if luck.random() < 0.3 else None
        with sim.calm():
            workers = [
                app.worker(
                    QUEUE,
                    [taking(kind)],
                    executor=kind,  # type: ignore[arg-type]
                    max_concurrent=2,
                    grace=luck.choice((0.0, 0.5, 1.0)),
                    max_abandoned=luck.choice((0, 1, 4)),
                )
                for _ in range(2)
            ]
        asked = []
        for number in range(6):
            limits = luck.choice(LIMITS)
            retry = Retry(max_attempts=2, initial=0.5) if luck.random() < 0.3 else None
            call = taking(kind).options(retry=retry, **limits)
            handle = app.dispatch(call, number, luck.choice((0.5, 1.0, 1.0, 3.0)), luck.choice(MANNERS))
            handle.add_done_callback(functools.partial(_note, told, number))
            asked.append((handle, number, limits))
        deeds = _deeds(sim, app, workers, asked, happened)
        if closing:
            deeds.append(functools.partial(happened.close, app, luck.choice((0.0, 0.5, 3.0))))
        threads = [
            runtime().start_thread(functools.partial(_do_at, luck.choice(INSTANTS_S), deed), f"doer-{number}")
            for number, deed in enumerate(deeds)
        ]
        for thread in threads:
            thread.join()
        sim.heal()
        for handle, _, _ in asked:
            handle.wait(SETTLED_S)
        ends = [explain(handle, number, limits, happened) for handle, number, limits in asked]
        sim.settle()
        if not closing:
            assert_at_rest(sim, app)
    assert_gone(sim)
    assert told == Counter(range(6)), f"told {told}"
    if recorder is not None:
        assert_recorded_once(recorder, [handle for handle, _, _ in asked])
    if events is not None:
        concluded = Counter(event.conversation_id for event in events if event.kind is EventKind.CONCLUDED)
        assert all(count == 1 for count in concluded.values()), concluded
    for what in (ActivityCancelled, ActivityTimedOut, type(None)):
        sim.sometimes(f"one ended with {what.__name__}", any(isinstance(error, what) for error in ends))
    sim.sometimes("one was tried again", any(len(handle.attempts) > 1 for handle, _, _ in asked))


def _note(told: Counter[int], number: int, _: Handle[int]) -> None:
    told[number] += 1


def _do_at(at_s: float, deed: Callable[[], object]) -> None:
    limen.sleep(at_s)
    with contextlib.suppress(ChannelLifecycleError):
        deed()


def _deeds(
    sim: Simulation, app: Limen, workers: list[Any], asked: list[Any], happened: Happened
) -> list[Callable[[], object]]:
    """Choose what happens beside the activities themselves."""
    luck = sim.random

    def crash(worker: Any) -> None:
        with contextlib.suppress(LookupError):
            sim.crash(worker)

    deeds: list[Callable[[], object]] = [
        functools.partial(happened.cancel, handle, number) for handle, number, _ in luck.sample(asked, 2)
    ]
    if luck.random() < 0.5:
        deeds.append(functools.partial(happened.take_out, workers[0], luck.choice((None, 0.0, 0.5, 2.0))))
    if luck.random() < 0.5:
        deeds.append(functools.partial(crash, workers[1].participant))
    return deeds


@on_each(THREADS, LOOPS, PROCESSES)
def everything_ends_at_once(kind: str, sim: Simulation) -> None:
    """Completion, time-out, cancellation, crash, drain and unregistration."""
    everything_ends(kind, sim, closing=False)


@on_each(THREADS, LOOPS, PROCESSES)
def everything_ends_at_a_close(kind: str, sim: Simulation) -> None:
    """The same while the application is closed, in good order or not; within its time."""
    with within(sim, 3 * CLOSE_S):
        everything_ends(kind, sim, closing=True)


@on_each(THREADS, LOOPS, PROCESSES, crash=(WorkerActor, ChannelActor))
def everything_ends_on_a_channel_that_dies(kind: str, sim: Simulation) -> None:
    """The same while the channel's own actor dies too."""
    everything_ends(kind, sim, closing=False)


# --- two ends in one instant ------------------------------------------------------------------------------------------


@on_each(THREADS, LOOPS, PROCESSES, preempt=(0.1, 0.3, 0.6))
def two_ends_meet(kind: str, sim: Simulation) -> None:
    """One request takes a second; two other ends come for it in that very instant. One of the three wins."""
    tally.__init__()  # type: ignore[misc]
    watch_endings(sim)
    luck = sim.random
    happened = Happened()
    told: list[object] = []
    ends = luck.sample(("limit", "total", "cancel", "crash", "drain", "unregister", "close"), 2)
    limits: dict[str, Any] = {
        limit: 1.0 for end, limit in (("limit", "start_to_close"), ("total", "schedule_to_close")) if end in ends
    }
    with Limen() as app:
        with sim.calm():
            worker = app.worker(QUEUE, [taking(kind)], executor=kind, grace=0.0)  # type: ignore[arg-type]
        handle = app.dispatch(taking(kind).options(**limits), 1, 1.0, luck.choice(MANNERS))
        handle.add_done_callback(told.append)
        deeds: dict[str, Callable[[], object]] = {
            "cancel": functools.partial(happened.cancel, handle, 1),
            "crash": functools.partial(sim.crash, worker.participant),
            "drain": functools.partial(happened.take_out, worker, 0.5),
            "unregister": functools.partial(happened.take_out, worker, None),
            "close": functools.partial(happened.close, app, luck.choice((0.0, 0.5))),
        }
        for end in ends:
            if end in deeds:
                runtime().start_thread(functools.partial(_do_at, 1.0, deeds[end]), end)
        handle.wait(SETTLED_S)
        error = explain(handle, 1, limits, happened)
        sim.settle()
        sim.heal()
        assert len(told) == 1
        if not happened.closed:
            assert_at_rest(sim, app)
        sim.sometimes("it was done first", error is None)
        sim.sometimes("its limit came first", isinstance(error, ActivityTimedOut))
        sim.sometimes("it was cancelled first", isinstance(error, ActivityCancelled))
    assert_gone(sim)


# --- what does not heed anything --------------------------------------------------------------------------------------


@activity(queue=QUEUE, max_crashes=50)
def hold(number: int) -> int:
    """Go on until the test lets it go, whatever it is told."""
    tally.gate(number).wait()
    return number


@activity(queue=QUEUE, max_crashes=50)
async def hold_async(number: int) -> int:
    """The same on an event loop."""
    gate = tally.gates.setdefault(number, (asyncio.get_running_loop(), asyncio.Event()))[1]
    while not gate.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await gate.wait()
    return number


@activity(queue=QUEUE)
def well(number: int) -> int:
    """Take no time."""
    return number


@activity(queue=QUEUE)
async def well_async(number: int) -> int:
    """Take no time on an event loop."""
    return number


def let_go(*numbers: int) -> None:
    """Let these end."""
    for number in numbers:
        gate = tally.gates[number]
        if isinstance(gate, tuple):
            gate[0].call_soon_threadsafe(gate[1].set)
        else:
            gate.set()


@on_each(THREADS, LOOPS, crash=())
def what_does_not_end_costs_no_slot(kind: str, sim: Simulation) -> None:
    """Cancelled or out of time, it is abandoned, its slot serves others, and in the end nothing is left of it."""
    tally.__init__()  # type: ignore[misc]
    watch_endings(sim)
    deaf, other = (hold_async, well_async) if kind == LOOPS else (hold, well)
    with Limen() as app:
        app.worker(QUEUE, [deaf, other], max_concurrent=2, executor=kind, grace=0.5)  # type: ignore[arg-type]
        handles = []
        for number in range(4):
            limited = sim.random.random() < 0.5
            handle = app.dispatch(deaf.options(start_to_close=1.0) if limited else deaf, number)
            handles.append(handle)
            if not limited:
                runtime().start_thread(functools.partial(_do_at, 1.0 + number, handle.cancel), f"canceller-{number}")
        more = [app.dispatch(other, number) for number in range(4)]
        sim.settle()
        begun = len(tally.gates)
        assert all(isinstance(handle.exception(0), ActivityCancelled | ActivityTimedOut) for handle in handles)
        assert [handle.result(0) for handle in more] == [0, 1, 2, 3]
        assert [(row.in_flight, row.abandoned) for row in app.pool(QUEUE)] == [(0, begun)]
        let_go(*tally.gates)
        sim.settle()
        assert_at_rest(sim, app)
        assert sim.actors(ChannelActor)[0]._state.late_results == begun
        assert app.dispatch(other, 9).result(SETTLED_S) == 9
    assert_gone(sim)


@on_each(THREADS, LOOPS, crash=())
def a_slot_that_was_kept_comes_back(kind: str, sim: Simulation) -> None:
    """Beyond the limit a slot stays taken; whichever of them ends, there is one slot more."""
    tally.__init__()  # type: ignore[misc]
    watch_endings(sim)
    deaf, _ = (hold_async, well_async) if kind == LOOPS else (hold, well)
    most = sim.random.randrange(3)
    with Limen() as app:
        app.worker(QUEUE, [deaf], max_concurrent=4, executor=kind, grace=0.5, max_abandoned=most)  # type: ignore[arg-type]
        handles = [app.dispatch(deaf, number) for number in range(4)]
        sim.run(lambda: len(tally.gates) == 4)
        for handle in handles:
            handle.cancel()
        sim.settle()
        numbers = list(range(4))
        sim.random.shuffle(numbers)
        for ended, number in enumerate([None, *numbers]):
            if number is not None:
                let_go(number)
                sim.settle()
            running = 4 - ended
            assert [(row.in_flight, row.abandoned) for row in app.pool(QUEUE)] == [
                (max(0, running - most), min(most, running))
            ]
        assert_at_rest(sim, app)
    assert_gone(sim)


@scenario(Faults(early_timers=0.0))
def nobody_pays_for_who_is_in_front(sim: Simulation) -> None:
    """`start_to_close` counts from the start: one that lies behind another, which blocks the loop, has all its time."""

    @activity(queue=QUEUE)
    async def hog() -> str:
        limen.sleep(5.0)
        return "hog"

    @activity(queue=QUEUE, start_to_close=1.0)
    async def brief() -> str:
        await asyncio.sleep(0.9)
        return "brief"

    watch_endings(sim)
    with Limen() as app:
        app.worker(QUEUE, [hog, brief])
        handles = [app.dispatch(hog), app.dispatch(brief)]
        assert [handle.result(SETTLED_S) for handle in handles] == ["hog", "brief"]
        late = app.dispatch(brief.options(start_to_close=0.5))
        assert isinstance(late.exception(SETTLED_S), ActivityTimedOut)
        sim.settle()
        assert_at_rest(sim, app)
