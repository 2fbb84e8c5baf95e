"""Scenarios of blame, dead letters and keys: requests that kill, requests made twice, and what is kept of them."""

from __future__ import annotations

import contextlib
from typing import Any

from simdrains import ends_of, in_the_background
from simkit import QUEUE, SETTLED_S, books, watch_books, within
from simscenarios import CLOSE_S, COMMAND_S, scenario

import limen
from limen import (
    ActivityCancelled,
    ChannelLifecycleError,
    DispatchFailed,
    MemoryRecorder,
    NoWorkersAvailable,
    PoisonActivity,
    UnknownDeadLetter,
    activity,
)
from limen.actors.channel import ChannelActor
from limen.actors.worker import WorkerActor
from limen.messages.dead_letters import DeadLetter
from limen.messages.operations import OperationKind
from limen.testing import Child, Faults, Simulation

ROUNDS = 4
"""Callers of one key at a time."""


def watch_keys(sim: Simulation) -> None:
    """Claim that no key ever has two pieces of work, and none without somebody who wants it."""
    watch_books(sim)

    @sim.invariant
    def a_key_has_one_piece_of_work() -> None:
        for book in books(sim):
            for claim in book.state.keys.live.values():
                followed = {id(each.follows) for each in claim.callers}
                assert len(followed) <= 1, f"the callers of {claim.name} wait for {len(followed)} pieces of work"

    @sim.invariant
    def work_under_a_key_runs_once_at_a_time() -> None:
        for book in books(sim):
            wanted = [
                attempt.conversation.claim.name
                for entry in book.state.candidates
                for attempt in entry.attempts
                if attempt.conversation is not None and attempt.conversation.claim and not attempt.claimed
            ]
            assert len(wanted) == len(set(wanted)), f"one key is run twice at the same time: {wanted}"


# --- keys -------------------------------------------------------------------------------------------------------------


@scenario(Faults(crash=(WorkerActor, ChannelActor), preempt=(0.0, 0.1, 0.3, 0.6)))
def callers_of_one_key_race(sim: Simulation) -> None:
    """Threads dispatch and cancel under one key while workers and the channel die: all results are one and the same."""
    begun = [0]

    @activity(queue=QUEUE, max_crashes=20)
    def counted() -> int:
        begun[0] = number = begun[0] + 1
        limen.sleep(1.0)
        return number

    recorder = MemoryRecorder()
    watch_keys(sim)
    with limen.Limen(recorder=recorder) as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [counted])
        once = counted.options(key="k")
        handles: list[Any] = []
        given_up: list[Any] = []

        def call(*, gives_up: bool) -> None:
            handle = app.dispatch(once)
            handles.append(handle)
            if gives_up:
                given_up.append(handle)
                handle.cancel()

        luck = [sim.random.random() < 0.4 for _ in range(ROUNDS)]
        threads = [in_the_background(lambda each=each: call(gives_up=each))[0] for each in luck]
        sim.step(sim.random.randrange(30))
        threads.append(in_the_background(lambda: call(gives_up=False))[0])
        for thread in threads:
            thread.join()
        sim.heal()
        results = results_of(handles, given_up)
        late = app.dispatch(once)
        results |= results_of([late], [])
        assert len(results) <= 1, f"callers of one key have different results: {results}"
        sim.settle()
        assert_told_of_each(recorder, [*handles, late])
        sim.sometimes("it was run twice for one result", begun[0] > 1 and bool(results))
        sim.sometimes("somebody joined", any(handle.joined for handle in handles))
        sim.sometimes("somebody came late", late.joined is not None)


def results_of(handles: list[Any], given_up: list[Any]) -> set[Any]:
    """Give what callers got; each has one outcome, and nobody is cancelled who did not give up himself."""
    results = set()
    for handle in handles:
        error = handle.exception(SETTLED_S)
        if error is None:
            results.add(handle.result(0))
            continue
        took_in = isinstance(error, ChannelLifecycleError) and "crashed" in str(error)
        cancelled = isinstance(error, ActivityCancelled) and handle in given_up
        assert took_in or cancelled, f"{handle!r} ended with {error!r}"
    return results


def assert_told_of_each(recorder: MemoryRecorder, handles: list[Any]) -> None:
    """Every caller's conversation was opened and closed once, and nothing is on record after its close."""
    for handle in handles:
        kinds = [operation.kind for operation in recorder.operations(handle.id)]
        assert kinds.count(OperationKind.CONVERSATION_CLOSED) == 1, f"{handle.id}: {kinds}"
        assert kinds[-1] is OperationKind.CONVERSATION_CLOSED, f"{handle.id}: {kinds}"


class Runs:
    """How often something was begun, where functions have to be importable."""

    begun = 0


@activity(queue=QUEUE, max_crashes=20)
def numbered(number: int) -> tuple[int, int]:
    """Give which run it was."""
    Runs.begun += 1
    run = Runs.begun
    limen.sleep(1.0)
    return number, run


@scenario(Faults(crash=Child))
def a_key_outlives_processes(sim: Simulation) -> None:
    """Children vanish under keyed work; two keys, one result each, and no more than two runs at a time."""
    Runs.begun = 0
    watch_keys(sim)
    with limen.Limen() as app:
        with sim.calm():
            app.worker(QUEUE, [numbered], executor="process", max_concurrent=2)
        handles = [app.dispatch(numbered.options(key=f"key {n % 2}"), n % 2) for n in range(6)]
        sim.settle()
        sim.heal()
        results = {handle.result(SETTLED_S) for handle in handles}
        assert sorted(number for number, _ in results) == [0, 1], f"{results}"
        sim.sometimes("a child vanished", Runs.begun > 2)


@scenario(Faults(crash=WorkerActor, preempt=(0.0, 0.1, 0.3)))
def the_close_reaches_all_callers_of_a_key(sim: Simulation) -> None:
    """Whenever the application is closed, each caller is told, also those who joined and those who gave up."""

    @activity(queue=QUEUE, max_crashes=20)
    def slow() -> str:
        limen.sleep(1.0)
        return "done"

    watch_keys(sim)
    with limen.Limen() as app:
        with sim.calm():
            app.worker(QUEUE, [slow])
        handles = [app.dispatch(slow.options(key="k")) for _ in range(ROUNDS)]
        sim.step(sim.random.randrange(40))
        handles[sim.random.randrange(ROUNDS)].cancel()
        with within(sim, CLOSE_S):
            app.close()
        for handle in handles:
            assert handle.done(), "a caller was forgotten at the close"
            with contextlib.suppress(ChannelLifecycleError, NoWorkersAvailable, ActivityCancelled):
                assert handle.result(0) == "done"
    sim.settle()
    left = [name for name in sim.names if name != "clock"]
    assert left == [], f"still there after the close: {left}"


# --- blame ------------------------------------------------------------------------------------------------------------


@scenario(Faults(crash=ChannelActor, preempt=(0.0, 0.1, 0.3)))
def one_poison_and_three_innocents(sim: Simulation) -> None:
    """Whether the worker gives the poison away or not: only the poison dies, and no innocent is charged."""
    gives_itself_away = sim.random.random() < 0.5

    @activity(queue=QUEUE)
    def innocent(number: int) -> int:
        limen.sleep(0.5 + number / 10)
        return number

    @activity(queue=QUEUE)
    def poison() -> None:
        limen.sleep(0.3)
        if gives_itself_away:
            raise SystemExit(3)
        sim.crash(worker.participant)
        limen.sleep(10.0)

    watch_keys(sim)
    with limen.Limen() as app:
        with sim.calm():
            worker = app.worker(QUEUE, [innocent, poison], max_concurrent=4)
        handles = [app.dispatch(innocent.options(max_crashes=1), n) for n in range(2)]
        dying = app.dispatch(poison)
        handles.append(app.dispatch(innocent.options(max_crashes=1), 2))
        sim.settle()
        sim.heal()
        ends_of(handles, [0, 1, 2])
        charged = [attempt for handle in handles for attempt in handle.attempts if attempt.charged]
        assert not charged, f"an innocent was charged: {charged}"
        error = dying.exception(SETTLED_S)
        letters = app.dead_letters(QUEUE)
        if isinstance(error, PoisonActivity):
            assert dying.crashes == 3, f"charged {dying.crashes} times"
            assert [letter.id for letter in letters] == [dying.id]
        else:
            assert "as it took in" in str(error), f"the poison ended with {error!r}"
        sim.sometimes("they shared the worker", any(len(handle.attempts) > 1 for handle in handles))


@scenario(Faults(crash=(WorkerActor, ChannelActor), most=(2, 5, 8)))
def poison_in_a_swarm(sim: Simulation) -> None:
    """Workers and channels die by luck besides: the innocent end with results, and what is given up is kept."""

    @activity(queue=QUEUE)
    def innocent(number: int) -> int:
        limen.sleep(0.5)
        return number

    @activity(queue=QUEUE)
    def poison() -> None:
        raise SystemExit(3)

    watch_keys(sim)
    with limen.Limen() as app:
        with sim.calm():
            for _ in range(2):
                app.worker(QUEUE, [innocent, poison], max_concurrent=2)
        handles = [app.dispatch(innocent.options(max_crashes=30), n) for n in range(3)]
        dying = [app.dispatch(poison) for _ in range(2)]
        sim.settle()
        sim.heal()
        ends_of(handles, [0, 1, 2], NoWorkersAvailable)
        poisoned = {each.id for each in dying if isinstance(each.exception(SETTLED_S), PoisonActivity)}
        kept = {letter.id for letter in app.dead_letters(QUEUE)}
        assert kept == poisoned, f"poison: {poisoned}, kept: {kept}"
        for letter in app.dead_letters(QUEUE):
            assert letter.crashes == 3 == sum(each.charged for each in letter.attempts), f"{letter}"


# --- dead letters -----------------------------------------------------------------------------------------------------


class Fuse:
    """An activity that kills its worker until it is mended, and counts how often it has worked since."""

    def __init__(self, key: str | None = None) -> None:
        self.mended = False
        self.worked = 0

        @activity(queue=QUEUE, max_crashes=1)
        def fuse() -> int:
            if not self.mended:
                raise SystemExit(3)
            limen.sleep(1.0)
            self.worked += 1
            return self.worked

        self.activity = fuse if key is None else fuse.options(key=key)

    def blow(self, sim: Simulation, app: limen.Limen) -> str:
        """Make a dead letter of it, calmly; give its id."""
        with sim.calm():
            app.worker(QUEUE, [self.activity])
            handle = app.dispatch(self.activity)
            handle.wait(SETTLED_S)
            assert [letter.id for letter in app.dead_letters(QUEUE)] == [handle.id]
        self.mended = True
        return str(handle.id)


@scenario(Faults(crash=WorkerActor, preempt=(0.0, 0.1, 0.3, 0.6)))
def requeue_races_close(sim: Simulation) -> None:
    """However the two meet: the requester has a handle with an outcome, or an error; the close comes back in time."""
    fuse = Fuse()
    watch_keys(sim)
    with limen.Limen() as app:
        letter_id = fuse.blow(sim, app)
        thread, done = in_the_background(lambda: app.requeue(fuse.activity, letter_id))
        sim.step(sim.random.randrange(30))
        with within(sim, CLOSE_S):
            app.close()
        thread.join()
    (got,) = done
    if isinstance(got, Exception):
        assert isinstance(got, ChannelLifecycleError), f"{got!r}"
    else:
        assert got.done(), "the requester was forgotten at the close"
        with contextlib.suppress(ChannelLifecycleError, NoWorkersAvailable, PoisonActivity):
            assert got.result(0) == 1
    sim.sometimes("it was closed first", isinstance(got, Exception))
    sim.sometimes("it was requeued first", not isinstance(got, Exception))
    sim.settle()
    left = [name for name in sim.names if name != "clock"]
    assert left == [], f"still there after the close: {left}"


@scenario(
    Faults(crash=(ChannelActor, WorkerActor), preempt=(0.0, 0.1, 0.3, 0.6)),
)
def a_letter_goes_one_way(sim: Simulation) -> None:
    """Requeues, a discard and cancellations race over one letter while all else dies: it is in one place, not lost."""
    fuse = Fuse(key="k" if sim.random.random() < 0.5 else None)
    watch_keys(sim)
    with limen.Limen() as app:
        letter_id = fuse.blow(sim, app)
        requeue, discard = lambda: app.requeue(fuse.activity, letter_id), lambda: app.discard(QUEUE, letter_id)
        verbs: list[Any] = [requeue, requeue, discard] if sim.random.random() < 0.5 else [requeue, requeue]
        racing = []
        for verb in verbs:
            racing.append(in_the_background(verb))
            sim.step(sim.random.randrange(6))
        with within(sim, 3 * COMMAND_S):
            for thread, _ in racing:
                thread.join()
        got = [done[0] for _, done in racing]
        handles = [each for each in got if not isinstance(each, Exception | DeadLetter)]
        for each in handles:
            if sim.random.random() < 0.3:
                each.cancel()
        sim.settle()
        sim.heal()
        worked = [each for each in handles if each.exception(SETTLED_S) is None]
        sim.settle()
        refusals = (UnknownDeadLetter, DispatchFailed, ChannelLifecycleError)
        assert all(isinstance(each, refusals) for each in got if isinstance(each, Exception)), f"{got}"
        kept = [letter.id for letter in app.dead_letters(QUEUE)]
        untold = [each for each in got if isinstance(each, ChannelLifecycleError)]  # done or not, nobody can say
        discarded = [each for each in got if isinstance(each, DeadLetter)]
        assert kept or discarded or worked or untold, f"the letter is lost: {got}"
        assert len(kept) <= 1, f"the letter is there twice: {kept}"
        assert not (kept and discarded), "it was discarded and is there"
        assert len(worked) <= 1 or fuse.worked >= len(worked), f"{len(worked)} have a result of {fuse.worked} runs"
        sim.sometimes("it was discarded", discarded)
        sim.sometimes("it came back", kept)
        sim.sometimes("it worked", worked)
