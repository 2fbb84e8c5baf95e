"""One poison and three innocents on one worker: only the poison ends, and no innocent is charged."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import face_activities
import pytest
from linkkit import PATIENCE_S

from limen import (
    ActivityFailed,
    EventKind,
    Handle,
    Limen,
    MemoryRecorder,
    PoisonActivity,
    Retry,
    WorkerCrashed,
    activity,
)
from limen.actors import kill
from limen.messages import OperationKind

INNOCENTS = 3


@pytest.fixture
def app():
    """An application, closed at the end."""
    with Limen() as made:
        yield made


@pytest.fixture
def gate():
    """What innocents wait for; opened at the end, so that no thread stays behind."""
    made = threading.Event()
    yield made
    made.set()


def play(app: Limen, innocent: Any, poison: Any, gate: threading.Event, wait_begun: Callable[[], None]) -> None:
    """Let three innocents begin, give their worker the poison, and look at all of them."""
    innocents = [app.dispatch(innocent.options(max_crashes=1), number) for number in range(INNOCENTS)]
    wait_begun()
    dying = app.dispatch(poison)
    error = dying.exception(timeout=PATIENCE_S)
    gate.set()

    assert isinstance(error, PoisonActivity)
    assert (error.crashes, dying.crashes) == (3, 3)
    assert [handle.result(timeout=PATIENCE_S) for handle in innocents] == list(range(INNOCENTS))
    assert [handle.crashes for handle in innocents] == [0] * INNOCENTS
    assert not any(attempt.charged for handle in innocents for attempt in handle.attempts)
    assert_charged(dying, 3)


def assert_charged(handle: Handle[Any], times: int) -> None:
    """So many attempts of it were charged, and each of those says that its worker crashed."""
    charged = [attempt for attempt in handle.attempts if attempt.charged]
    assert [type(attempt.error) for attempt in charged] == [WorkerCrashed] * times


@pytest.mark.parametrize("known", [True, False])
def test_a_poison_among_threads(app, gate, known):
    """Design, blame: by its `SystemExit` where it gives itself away, by running each alone where it does not."""
    begun, over = threading.Semaphore(0), threading.Event()

    @activity
    def innocent(number: int) -> int:
        begun.release()
        assert gate.wait(PATIENCE_S)
        return number

    @activity
    def poison() -> None:
        if known:
            raise SystemExit(3)
        participant = worker.participant
        kill(participant)
        assert participant.actor_stopped.wait(PATIENCE_S)
        gate.set()  # now that nobody knows who it was, the others run alone too
        over.wait(PATIENCE_S)

    def wait_begun() -> None:
        for _ in range(INNOCENTS):
            assert begun.acquire(timeout=PATIENCE_S)

    worker = app.worker("default", [innocent, poison], max_concurrent=4)
    try:
        play(app, innocent, poison, gate, wait_begun)
    finally:
        over.set()


def test_a_poison_among_coroutines(app, gate):
    """Design, blame: a coroutine that raises `SystemExit` ends its worker, and is known."""
    begun = threading.Semaphore(0)

    @activity
    async def innocent(number: int) -> int:
        begun.release()
        await asyncio.to_thread(gate.wait, PATIENCE_S)
        return number

    @activity
    async def poison() -> None:
        raise SystemExit(3)

    def wait_begun() -> None:
        for _ in range(INNOCENTS):
            assert begun.acquire(timeout=PATIENCE_S)

    app.worker("default", [innocent, poison], max_concurrent=4)
    play(app, innocent, poison, gate, wait_begun)


@pytest.mark.slow
def test_a_poison_among_processes(app):
    """Design, blame: the child that dies is known, and what it ran; its worker and the others go on."""
    app.worker("work", [face_activities.double, face_activities.die], max_concurrent=4, executor="process")
    innocents = [app.dispatch(face_activities.double.options(max_crashes=1), number) for number in range(INNOCENTS)]
    dying = app.dispatch(face_activities.die)

    assert isinstance(dying.exception(timeout=PATIENCE_S), PoisonActivity)
    assert [handle.result(timeout=PATIENCE_S) for handle in innocents] == [0, 2, 4]
    assert [handle.crashes for handle in innocents] == [0] * INNOCENTS
    assert_charged(dying, 3)
    assert [row.incarnation for row in app.pool("work")] == [1]


# --- what is seen of it -----------------------------------------------------------------------------------------------


def test_failures_and_crashes_are_counted_apart_and_both_are_seen():
    """TY-05: on the handle each attempt says why it came to nothing, and the record says the same in the same order."""
    recorder = MemoryRecorder()
    tries = []

    @activity(retry=Retry(max_attempts=2, initial=0.0))
    def stumble() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise LookupError("not yet")
        if len(tries) == 2:
            raise SystemExit(3)
        raise ValueError("never")

    with Limen(recorder=recorder) as app:
        app.worker("default", [stumble])
        handle = app.dispatch(stumble)
        error = handle.exception(timeout=PATIENCE_S)

    assert isinstance(error, ActivityFailed)
    assert error.attempts == len(handle.errors) == 2
    assert [type(each.error) for each in handle.attempts] == [LookupError, WorkerCrashed, ValueError]
    assert [type(each) for each in handle.errors] == [LookupError, ValueError]
    assert handle.crashes == 1
    told = [
        (each.kind, each.attempt, each.worker_id, each.incarnation)
        for each in recorder.operations(handle.id)
        if each.kind in {OperationKind.MESSAGE_RECEIVED, OperationKind.WORKER_EXITED}
    ]
    assert told == [
        (OperationKind.MESSAGE_RECEIVED, 1, "worker-1", 1),
        (OperationKind.WORKER_EXITED, 2, "worker-1", 1),
        (OperationKind.MESSAGE_RECEIVED, 3, "worker-1", 2),
    ]


def test_another_try_is_an_event(app):
    """The event stream tells of the failure, and that it is not the last word."""

    @activity(retry=Retry(max_attempts=2, initial=0.0))
    def fail() -> None:
        raise LookupError("not here")

    app.worker("default", [fail])
    with app.events() as events:
        handle = app.dispatch(fail)
        handle.exception(timeout=PATIENCE_S)
        told = [events.next(timeout=PATIENCE_S) for _ in range(5)]

    assert [(str(each.kind), each.detail) for each in told if each.kind is not EventKind.REDISPATCHED] == [
        ("dispatched", ""),
        ("failed", "not here"),
        ("retried", "not here"),
        ("failed", "not here"),
    ]
    assert {each.conversation_id for each in told} == {handle.id}
