"""What the simulated scenarios share: activities, the invariants of the catalogue, and a stopwatch for public calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import limen
from limen import Limen, Retry, activity
from limen.actors.channel import ChannelActor
from limen.actors.linking import life_of
from limen.messages.operations import OperationKind
from limen.testing import Simulation

QUEUE = "work"
SETTLED_S = 100_000.0
"""Longer than anything takes once there are no more faults."""


@activity(queue=QUEUE, max_crashes=20)
def double(number: int) -> int:
    """Take a second over it."""
    limen.sleep(1.0)
    return 2 * number


@activity(queue=QUEUE, max_crashes=20)
def at_once(number: int) -> int:
    """Take no time."""
    return 2 * number


@activity(queue=QUEUE, max_crashes=20, retry=Retry(max_attempts=50, initial=1.0))
def flaky(number: int) -> int:
    """Fail as often as the test makes `fails` fail."""
    Flaw.fails()
    return 2 * number


class Flaw:
    """A place for `sim.faulty`."""

    @staticmethod
    def fails() -> None:
        """Fail or not."""


def books(sim: Simulation) -> Iterator[Any]:
    """Give the book of every live channel."""
    for actor in sim.actors(ChannelActor):
        yield actor._book


def watch_books(sim: Simulation) -> None:
    """Claim, at every step, what must be true of every channel's book."""

    @sim.invariant
    def nobody_dead_is_offered() -> None:
        """A worker that is offered has a live watch; one whose end was told is on its way out."""
        for book in books(sim):
            for entry in book.state.candidates:
                life = life_of(entry.participant)
                if not entry.active or (life is not None and not life.over):
                    continue
                assert entry.exited is not None, f"{entry.worker_id} is dead and offered, and nobody was told"

    @sim.invariant
    def nobody_is_offered_unwatched() -> None:
        """The watch is armed before the entry becomes visible."""
        for book in books(sim):
            for entry in book.state.candidates:
                assert entry.watch is not None, f"{entry.worker_id} is offered before its watch is armed"

    known: dict[Any, int] = {}

    @sim.invariant
    def nobody_whose_end_is_known_gets_more() -> None:
        """After a worker's end was told, nothing new is handed to it."""
        for book in books(sim):
            for entry in book.state.candidates:
                if entry.exited is not None:
                    held = known.setdefault(entry, len(entry.attempts))
                    assert len(entry.attempts) <= held, f"{entry.worker_id} is known to be dead and was given work"

    @sim.invariant
    def no_worker_is_given_too_much() -> None:
        """Slots taken never exceed the slots there are."""
        for book in books(sim):
            for entry in book.state.candidates:
                taken, limit = len(entry.attempts), entry.capacity.max_concurrent
                assert taken <= limit, f"{entry.worker_id} holds {taken} of {limit}"


def told_or(handle: Any, expected: Any) -> bool:
    """Whether a dispatch has its one outcome: the right one, or word that the channel died as it took it in."""
    try:
        return bool(handle.result(SETTLED_S) == expected)
    except limen.ChannelLifecycleError as error:
        return "as it took in" in str(error)


def assert_all_done(handles: Any, expected: Any) -> None:
    """Every dispatch has its one outcome, and it is the right one."""
    assert [handle.result(SETTLED_S) for handle in handles] == list(expected)


def assert_recorded_once(recorder: Any, handles: Any) -> None:
    """Every conversation was closed once, with the outcome that its caller has."""
    for handle in handles:
        kinds = [operation.kind for operation in recorder.operations(handle.id)]
        assert kinds.count(OperationKind.CONVERSATION_CLOSED) == 1, f"{handle.id}: {kinds}"
        assert kinds[-1] is OperationKind.CONVERSATION_CLOSED, f"{handle.id}: {kinds}"


@contextlib.contextmanager
def within(sim: Simulation, limit_s: float) -> Iterator[None]:
    """Claim that a block takes no longer, whether it raises or not."""
    begin_s = sim.clock.now_s
    try:
        yield
    finally:
        took_s = sim.clock.now_s - begin_s
        assert took_s <= limit_s, f"a call took {took_s:g} s, and may take {limit_s:g} s"


@contextlib.contextmanager
def application(sim: Simulation, workers: int = 3, **options: Any) -> Iterator[Limen]:
    """Run an application with some workers; the book is watched."""
    watch_books(sim)
    with Limen() as app:
        with sim.calm():
            for _ in range(workers):
                app.worker(QUEUE, [double, at_once, flaky], **options)
        yield app
