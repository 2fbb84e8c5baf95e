"""The scenarios of the simulation suite: each a story that must end well, whatever happens on the way.

Test modules run them on a few seeds, `make sim` on many, and the mutants' test on code that was broken on purpose.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from pykka import ActorRegistry
from simkit import (
    QUEUE,
    SETTLED_S,
    Flaw,
    application,
    assert_all_done,
    assert_recorded_once,
    at_once,
    double,
    flaky,
    told_or,
    watch_books,
    within,
)

import limen
from limen import ChannelLifecycleError, Limen, LimenError, MemoryRecorder, NoWorkersAvailable, activity
from limen.actors._announcing import outcome_of
from limen.actors.channel import ChannelActor
from limen.actors.channel_handle import ChannelHandle
from limen.actors.context import WorkerContext
from limen.actors.runtime import runtime
from limen.actors.watching import watch
from limen.actors.worker import WorkerActor
from limen.messages.activities import Completed, WorkerCapacity
from limen.messages.events import EventKind, Outcome
from limen.messages.lifecycle import Down
from limen.messages.names import dispatch_channel
from limen.testing import Child, Faults, Simulation

Story = Callable[[Simulation], None]

COMMAND_S = 6.0
"""How long an order may take: five seconds, and one of grace."""
CLOSE_S = 11.0
"""How long a close may take."""


@attrs.frozen
class Scenario:
    """A story and what may go wrong in it."""

    story: Story
    faults: Faults
    options: dict[str, Any]


SCENARIOS: dict[str, Scenario] = {}


def scenario(faults: Faults, **options: Any) -> Callable[[Story], Story]:
    """Keep a story by its name."""

    def keep(story: Story) -> Story:
        SCENARIOS[story.__name__] = Scenario(story, faults, options)
        return story

    return keep


# --- work is not lost -------------------------------------------------------------------------------------------------


@scenario(Faults(crash=WorkerActor))
def work_survives_workers(sim: Simulation) -> None:
    """Workers die in the middle of their work."""
    with application(sim) as app:
        handles = [app.dispatch(double, n) for n in range(6)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, range(0, 12, 2))
        sim.sometimes("a busy worker died", any(len(handle.attempts) > 1 for handle in handles))


@scenario(Faults(crash=WorkerActor))
def short_work_survives_workers(sim: Simulation) -> None:
    """The same with activities that take no time: slots end and begin while others come and go."""
    with application(sim, workers=2) as app:
        handles = [app.dispatch(at_once, n) for n in range(8)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, range(0, 16, 2))


@scenario(Faults(crash=ChannelActor))
def work_survives_the_channel(sim: Simulation) -> None:
    """CH-14 to CH-16: the channel's actor dies and another goes on with its book."""
    with application(sim) as app:
        handles = [app.dispatch(double, n) for n in range(6)]
        sim.settle()
        sim.heal()
        assert all(told_or(handle, 2 * n) for n, handle in enumerate(handles))
        sim.sometimes("the channel was restarted", "ChannelActor#2" in sim.names)


@scenario(Faults(crash=(ChannelActor, WorkerActor)))
def work_survives_both(sim: Simulation) -> None:
    """Workers and channels die."""
    with application(sim) as app:
        handles = [app.dispatch(at_once, n) for n in range(6)]
        sim.settle()
        sim.heal()
        assert all(told_or(handle, 2 * n) for n, handle in enumerate(handles))


@scenario(Faults(crash=Child))
def work_survives_processes(sim: Simulation) -> None:
    """Child processes vanish; their worker lives."""
    with application(sim, workers=2, executor="process", max_concurrent=2) as app:
        handles = [app.dispatch(double, n) for n in range(6)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, range(0, 12, 2))
        sim.sometimes("a child vanished", any(len(handle.attempts) > 1 for handle in handles))


@activity(queue=QUEUE, max_crashes=20)
async def slowly(number: int) -> int:
    """Take a second over it, on an event loop."""
    import asyncio

    await asyncio.sleep(1.0)
    return 2 * number


@scenario(Faults(crash=WorkerActor))
def work_survives_event_loops(sim: Simulation) -> None:
    """Workers whose activities are coroutines die."""
    watch_books(sim)
    with Limen() as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [slowly], max_concurrent=3)
        handles = [app.dispatch(slowly, n) for n in range(6)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, range(0, 12, 2))


@scenario(Faults(crash=WorkerActor))
def failures_are_tried_again(sim: Simulation) -> None:
    """Activities fail by luck, workers die, and the retry policy is kept."""
    sim.faulty(Flaw, "fails", 0.4, ValueError("by luck"))
    with application(sim) as app:
        handles = [app.dispatch(flaky, n) for n in range(4)]
        sim.run(lambda: all(handle.done() for handle in handles))
        assert_all_done(handles, range(0, 8, 2))
        sim.sometimes("one was tried again", any(handle.errors for handle in handles))


@scenario(Faults(crash=WorkerActor, preempt=(0.0, 0.3, 0.6)))
def nothing_lies_in_the_tray(sim: Simulation) -> None:
    """Requests come in just as slots become idle: each is seen by one side or the other."""
    with application(sim, workers=1) as app:
        handles = []
        for n in range(6):
            handles.append(app.dispatch(at_once, n))
            sim.step(sim.random.randrange(4))
        sim.settle()
        assert all(handle.done() for handle in handles), "a request was forgotten"


# --- one outcome, one record ------------------------------------------------------------------------------------------


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def every_conversation_is_closed_once(sim: Simulation) -> None:
    """Invariant 3: one outcome, one close on record, whatever dies."""
    recorder = MemoryRecorder()
    watch_books(sim)
    with Limen(recorder=recorder) as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [double])
        handles = [app.dispatch(double, n) for n in range(4)]
        sim.settle()
        sim.heal()
        assert all(told_or(handle, 2 * n) for n, handle in enumerate(handles))
        sim.settle()
        assert_recorded_once(recorder, handles)


@scenario(Faults(crash=(WorkerActor, ChannelActor)))
def every_end_is_told_once(sim: Simulation) -> None:
    """MX-02, invariant 3: whoever listens hears of each request's one outcome, and it is the one its caller has."""
    with application(sim, workers=2) as app:
        with sim.calm():
            events = app.events()
        handles = [app.dispatch(at_once, n) for n in range(6)]
        for handle in handles[::3]:
            sim.step(sim.random.randrange(8))
            handle.cancel()
        sim.settle()
        sim.heal()
        for handle in handles:
            handle.exception(SETTLED_S)
        sim.settle()
        ends: dict[str, list[Any]] = {handle.id: [] for handle in handles}
        while (event := events.next(timeout=0)) is not None:
            if event.kind is EventKind.CONCLUDED:
                ends[event.conversation_id or ""].append(event.outcome)
        for handle in handles:
            assert ends[handle.id] == [_outcome_of(handle)], (
                f"{handle.id}: {ends[handle.id]}, not {_outcome_of(handle)}"
            )
        sim.sometimes("one was cancelled", any(each == [Outcome.CANCELLED] for each in ends.values()))
        sim.sometimes("the channel was restarted", "ChannelActor#2" in sim.names)


@scenario(Faults(crash=(WorkerActor, ChannelActor), crash_p=(0.05, 0.2), preempt=(0.0, 0.3, 0.6)))
def an_end_is_told_without_further_use(sim: Simulation) -> None:
    """MX-02: a channel that crashes when the caller has his answer, and listeners do not, tells them all the same."""
    with application(sim, workers=2) as app:
        with sim.calm():
            events = app.events()
        for n in range(4):
            handle = app.dispatch(at_once, n)
            handle.exception(SETTLED_S)
            sim.settle()
            told = []
            while (event := events.next(timeout=0)) is not None:
                if event.kind is EventKind.CONCLUDED and event.conversation_id == handle.id:
                    told.append(event.outcome)
            assert told == [_outcome_of(handle)], f"{handle.id}: {told}, not {_outcome_of(handle)}"
        sim.sometimes("the channel was restarted", "ChannelActor#2" in sim.names)


def _outcome_of(handle: Any) -> Outcome:
    error = handle.exception(0)
    return outcome_of(Completed() if error is None else error)


@scenario(Faults(crash=WorkerActor, crash_p=(0.05, 0.2)))
def late_results_are_fenced_off(sim: Simulation) -> None:
    """The thread of a dead incarnation goes on; what it brings later changes nothing."""
    started = [0]

    @activity(queue=QUEUE, max_crashes=20)
    def counted() -> int:
        started[0] = number = started[0] + 1
        limen.sleep(1.0)
        return number

    watch_books(sim)
    with Limen() as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [counted])
        handle = app.dispatch(counted)
        result = handle.result(SETTLED_S)
        begun = started[0]
        sim.settle()
        assert result == begun, f"the answer is run {result}'s, which was lost; run {begun} is the one that counts"
        assert handle.result(0) == result
        assert len(handle.attempts) >= handle.crashes + 1
        sim.sometimes("a dead incarnation's thread came late", started[0] >= 2)


# --- coming and going -------------------------------------------------------------------------------------------------


@scenario(Faults(crash=WorkerActor, crash_p=(0.02, 0.1, 0.3)))
def registration_races_a_crash(sim: Simulation) -> None:
    """A registration gives a worker in the pool, or raises and leaves nothing behind."""
    watch_books(sim)
    context = WorkerContext()
    made = []
    for _ in range(4):
        with within(sim, 4 * COMMAND_S), contextlib.suppress(ChannelLifecycleError):
            made.append(context.register_worker("ns", QUEUE, WorkerCapacity(1, ("any",))))
    sim.settle()
    sim.heal()
    rows = {row.worker_id for row in context.pool(dispatch_channel("ns", QUEUE))}
    assert rows == {each.worker_id for each in made if each.is_active}
    assert rows == {actor.worker_id for actor in sim.actors(WorkerActor)}
    sim.sometimes("one of them died", len(rows) < 4)
    context.close()


@scenario(Faults(preempt=(0.1, 0.3, 0.6)))
def unregister_races_a_crash(sim: Simulation) -> None:
    """However the two meet: the worker is gone, its actor is gone, and the call comes back in time."""
    watch_books(sim)
    context = WorkerContext()
    one, other = (context.register_worker("ns", QUEUE, WorkerCapacity(1, ("any",))) for _ in range(2))
    ref = one.participant
    crashing = runtime().start_thread(lambda: sim.crash(ref), "crasher")
    sim.step(sim.random.randrange(6))
    with within(sim, 2 * COMMAND_S):
        one.unregister()
    crashing.join()
    sim.settle()
    assert [row.worker_id for row in context.pool(dispatch_channel("ns", QUEUE))] == [other.worker_id]
    assert sim.dead(ref)
    assert not one.is_active
    context.close()


@scenario(Faults(crash=WorkerActor, crash_p=0.3, most=(3, 40)))
def restart_storms_end(sim: Simulation) -> None:
    """A worker that dies too often is given up, and whoever waits for it is told; one that does not comes back."""
    with application(sim, workers=1) as app:
        handles = [app.dispatch(double.options(max_crashes=1000), n) for n in range(2)]
        sim.settle()
        sim.heal()
        for n, handle in enumerate(handles):
            assert handle.done(), "it waits for a worker that will not come"
            with contextlib.suppress(NoWorkersAvailable):
                assert handle.result(0) == 2 * n
        sim.sometimes("it was given up", not app.pool(QUEUE))
        sim.sometimes("it came back", bool(app.pool(QUEUE)))


@scenario(Faults(crash=WorkerActor))
def close_while_dispatching(sim: Simulation) -> None:
    """Whenever the application is closed, every caller is told at once, and the close comes back in time."""
    with application(sim) as app:
        handles = [app.dispatch(double, n) for n in range(6)]
        sim.step(sim.random.randrange(40))
        with within(sim, CLOSE_S):
            app.close()
        for n, handle in enumerate(handles):
            assert handle.done(), f"caller {n} was forgotten at the close"
            with contextlib.suppress(ChannelLifecycleError, NoWorkersAvailable):
                assert handle.result(0) == 2 * n
    sim.settle()
    left = [name for name in sim.names if name != "clock"]
    assert left == [], f"still there after the close: {left}"


# --- routing and room -------------------------------------------------------------------------------------------------


def always_the_first_that_there_was(message: object, views: object) -> str:
    """Ignore who is there."""
    return "worker-1"


@scenario(Faults(crash=WorkerActor))
def a_router_ignores_exclusions(sim: Simulation) -> None:
    """A routing function that names a worker that is gone costs its request, and nobody else anything."""
    with application(sim, workers=2) as app:
        with sim.calm():
            app.route(QUEUE, always_the_first_that_there_was)
        handles = [app.dispatch(double, n) for n in range(4)]
        sim.settle()
        sim.heal()
        for n, handle in enumerate(handles):
            assert handle.done(), "it waits for a worker that may not be chosen"
            with contextlib.suppress(LimenError):
                assert handle.result(0) == 2 * n


def the_first(message: object, views: Any) -> Any:
    """Choose whoever is there."""
    return views[0].consumer if views else None


@scenario(Faults(crash=(ChannelActor, WorkerActor)))
def a_channel_dies_while_its_router_thinks(sim: Simulation) -> None:
    """What was being routed when the channel died is routed again."""
    with application(sim, workers=2) as app:
        with sim.calm():
            app.route(QUEUE, the_first)
        handles = [app.dispatch(at_once, n) for n in range(4)]
        sim.settle()
        sim.heal()
        assert all(told_or(handle, 2 * n) for n, handle in enumerate(handles))


@scenario(Faults(crash=WorkerActor, most=1))
def capacity_is_kept_when_saturated(sim: Simulation) -> None:
    """Invariant 4: a full worker gets no more, whatever comes in; higher priority goes first."""
    running, most, order = [0], [0], []

    @activity(queue=QUEUE, max_crashes=20)
    def counted(number: int) -> int:
        running[0] += 1
        most[0] = max(most[0], running[0])
        order.append(number)
        limen.sleep(1.0)
        running[0] -= 1
        return number

    watch_books(sim)
    with Limen() as app:
        with sim.calm():
            registration = app.worker(QUEUE, [counted], max_concurrent=2)
        first_ref = registration.participant
        handles = [app.dispatch(counted.options(priority=n % 2), n) for n in range(8)]
        sim.settle()
        sim.heal()
        assert_all_done(handles, range(8))
        if not sim.dead(first_ref):
            assert most[0] == 2, f"{most[0]} ran at once"


# --- the bus ----------------------------------------------------------------------------------------------------------


@scenario(Faults(crash=ChannelActor))
def a_publish_is_delivered_once_or_failed(sim: Simulation) -> None:
    """Invariant 5: what was reported failed never comes; what was reported delivered came once to each."""
    from channelkit import make_config, number, order

    handle = ChannelHandle(make_config())
    with sim.calm():
        subscriptions = [handle.subscribe() for _ in range(2)]
    delivered = []
    for n in range(4):
        try:
            with within(sim, COMMAND_S):
                handle.publish(order(n))
        except LimenError:
            continue
        delivered.append(n)
    sim.settle()
    sim.heal()
    for subscription in subscriptions:
        received = [number(envelope) for envelope in iter(subscription.try_next, None)]
        assert received == delivered, f"told {delivered}, came {received}"
    handle.close()


# --- links ------------------------------------------------------------------------------------------------------------


@scenario(Faults(crash=WorkerActor, preempt=(0.1, 0.3, 0.6)))
def every_watch_is_told_once(sim: Simulation) -> None:
    """However the watch and the death meet, there is one notice, and by then the actor is in no registry."""
    told: dict[int, list[Down]] = {}
    refs = [WorkerActor.start(f"w{n}") for n in range(3)]
    for n in range(6):
        ref = refs[n % 3]
        told[n] = []

        def note(down: Down, heard: list[Down] = told[n], urn: str = ref.actor_urn) -> None:
            assert ActorRegistry.get_by_urn(urn) is None, "it was told before it left the registry"
            heard.append(down)

        watch(ref, note)
        end = functools.partial(ref.stop, block=False) if n % 2 else functools.partial(sim.crash, ref)
        runtime().start_thread(end, f"ender-{n}")
    sim.settle()
    for ref in refs:
        ref.stop()
    assert [len(each) for each in told.values()] == [1] * 6, f"told {[len(each) for each in told.values()]} times"


@scenario(Faults(crash=WorkerActor, preempt=(0.1, 0.3, 0.6)))
def linked_actors_die_together(sim: Simulation) -> None:
    """When one of a chain ends abnormally, all of it ends."""
    with sim.calm():
        refs = [WorkerActor.start(f"w{n}") for n in range(4)]
        for one, other in itertools.pairwise(refs):
            sim.actor(one).link(other)
    sim.crash(refs[sim.random.randrange(4)])
    sim.settle()
    ends = [sim.dead(ref) for ref in refs]
    assert all(ends), f"dead: {ends}"


def stories() -> Iterator[tuple[str, Scenario]]:
    """Give all scenarios by name."""
    yield from SCENARIOS.items()


import simdrains as simdrains  # noqa: E402, PLC0414 - the stories of another file, which needs what is above
import simletters as simletters  # noqa: E402, PLC0414 - as above
