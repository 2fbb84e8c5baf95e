"""What goes on although it was called off: abandoned after a grace, replaced, counted, fenced off; up to a limit."""

import asyncio
import logging
import math
import threading
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from dispatchkit import Notes
from hypothesis import given, settings
from hypothesis import strategies as st
from linkkit import PATIENCE_S
from statekit import Notebook, make_conversation, make_worker

from limen import current
from limen._workers import grace_for
from limen.actors.executors._abandoned import Abandoned
from limen.actors.executors.asyncio import AsyncioExecutor
from limen.actors.executors.thread import ThreadExecutor
from limen.actors.runtime import runtime
from limen.messages.activities import Completed
from limen.messages.errors import ConfigError
from limen.messages.grace import Grace
from limen.messages.lifecycle import ExitReason
from limen.messages.payloads import Payload

BRIEF_S = 0.02

RETURNED = ("returned", ExitReason.normal())
FINISHED = ("finished", Completed(Payload()))


class Deaf:
    """Activities that go on whatever they are told, each until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.gates: dict[str, threading.Event] = {}
        self.threads: list[int] = []

    def __call__(self, request: Any) -> Any:
        self._begin()
        assert self._gate().wait(PATIENCE_S)
        return request.input

    async def stay(self, request: Any) -> Any:
        """Do the same on a loop."""
        self._begin()
        while not self._gate().is_set():
            try:
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                continue
        return request.input

    def _begin(self) -> None:
        self.threads.append(threading.get_ident())
        self._gate()
        self.begun.release()

    def _gate(self) -> threading.Event:
        return self.gates.setdefault(current().conversation_id, threading.Event())

    def wait_begun(self, count: int = 1) -> None:
        """Block until so many more have begun."""
        for _ in range(count):
            assert self.begun.acquire(timeout=PATIENCE_S)

    def let_go(self, *names: str) -> None:
        """Let these end."""
        for name in names:
            self.gates.setdefault(name, threading.Event()).set()


class Bench:
    """An executor of either kind under a book."""

    def __init__(self, kind: str, slots: int, grace: Grace) -> None:
        self.deaf = Deaf()
        self.notes = Notes()
        self.kind = kind
        made: Any = ThreadExecutor if kind == "thread" else AsyncioExecutor
        handler = self.deaf if kind == "thread" else self.deaf.stay
        self.executor = made({"encode": handler}, slots, self.notes, "bench", grace=grace)
        self.book = Notebook()
        self.book.join(make_worker("worker-1", slots + 10))

    def run(self, *names: str) -> list[Any]:
        """Hand over so many attempts, and see them begin; give them."""
        conversations = [make_conversation(name) for name in names]
        self.book.submit(*conversations)
        attempts = [each.attempts[-1] for each in conversations]
        for attempt in attempts:
            self.executor.submit(attempt)
        self.deaf.wait_begun(len(names))
        return attempts

    def call_off(self, *attempts: Any) -> None:
        """Decide attempts, and say so."""
        for attempt in attempts:
            assert attempt.claim()
            self.executor.cancel(attempt)

    def told(self, count: int) -> list[tuple[str, str, Any]]:
        """Give what has been told, by the names of the requests."""
        return [(attempt.conversation.id, what, detail) for what, attempt, detail in self.notes.wait(count)]


@contextmanager
def bench(kind: str, slots: int = 1, grace_s: float = BRIEF_S, max_abandoned: int = 2):
    """Set one up, and see all of it end."""
    made = Bench(kind, slots, Grace(grace_s=grace_s, max_abandoned=max_abandoned))
    try:
        yield made
    finally:
        made.deaf.let_go(*made.deaf.gates)
        made.executor.close()
        assert made.executor.wait_closed(PATIENCE_S)


both = pytest.mark.parametrize("kind", ["thread", "asyncio"])


@both
def test_one_that_goes_on_after_the_grace_is_abandoned_and_another_has_its_slot(kind, caplog):
    """Issue: given back, counted, logged; what it brings later is told like any late result, and the count falls."""
    with bench(kind) as made, caplog.at_level(logging.WARNING, logger="limen"):
        (first,) = made.run("c-1")
        made.call_off(first)
        assert made.told(1) == [("c-1", *RETURNED)]
        assert made.executor.abandoned == 1
        made.run("c-2")
        made.deaf.let_go("c-2")
        assert made.told(2)[1:] == [("c-2", *FINISHED)]
        made.deaf.let_go("c-1")
        assert made.told(3)[2:] == [("c-1", *FINISHED)]
        made.run("c-3")

        assert made.executor.abandoned == 0
        assert "'encode' goes on 0.02 s after it was called off; it is abandoned" in caplog.text
        if kind == "thread":
            assert len(set(made.deaf.threads)) == 2
            assert made.deaf.threads[1] == made.deaf.threads[2]


@both
def test_one_that_ends_within_the_grace_is_not_abandoned(kind):
    """Issue: what looks whether it is cancelled costs no thread; its slot is free when it has ended."""
    with bench(kind, grace_s=60) as made:
        (first,) = made.run("c-1")
        made.call_off(first)
        made.deaf.let_go("c-1")
        made.told(1)
        made.run("c-2")

        assert made.executor.abandoned == 0
        assert len(set(made.deaf.threads)) == 1


@both
def test_beyond_the_limit_a_slot_stays_taken_until_there_is_room(kind, caplog):
    """Issue: never more than so many; when one of them ends, the one that has waited longest takes its place."""
    with bench(kind, slots=4) as made:
        attempts = made.run("c-1", "c-2", "c-3", "c-4")
        for count, attempt in enumerate(attempts[:2], 1):
            made.call_off(attempt)
            made.told(count)
        made.call_off(*attempts[2:])
        kept = _logged(caplog, "keeps its slot", 2)

        assert made.executor.abandoned == 2
        assert len(made.notes.told) == 2
        made.deaf.let_go("c-1")
        assert made.told(4)[2:] in [
            [("c-1", *FINISHED), ("c-3", *RETURNED)],
            [("c-3", *RETURNED), ("c-1", *FINISHED)],
        ]
        assert made.executor.abandoned == 2
        made.deaf.let_go("c-4")
        assert made.told(5)[4:] == [("c-4", *FINISHED)]
        assert kept


def _logged(caplog: Any, text: str, count: int) -> bool:
    """Wait for so many lines of the log, which timers write."""
    done = threading.Event()

    def look() -> None:
        if caplog.text.count(text) >= count:
            done.set()
        else:
            runtime().call_later(0.002, look)

    look()
    return done.wait(PATIENCE_S)


@both
def test_with_a_limit_of_0_nothing_is_abandoned(kind, caplog):
    """Issue: then a worker never runs more than it has slots, as ever."""
    with bench(kind, max_abandoned=0) as made:
        (first,) = made.run("c-1")
        made.call_off(first)
        assert _logged(caplog, "keeps its slot", 1)
        made.deaf.let_go("c-1")

        assert made.told(1) == [("c-1", *FINISHED)]


def test_an_exit_on_an_abandoned_thread_ends_that_thread_alone():
    """Blame: it does not belong to the worker any more."""
    leaving = threading.Event()
    notes = Notes()

    def leave(_: object) -> None:
        begun.set()
        leaving.wait(PATIENCE_S)
        raise SystemExit("too late")

    begun = threading.Event()
    executor = ThreadExecutor({"encode": leave}, 1, notes, "bench", grace=Grace(grace_s=0))
    attempt = _attempt("c-1")
    executor.submit(attempt)
    assert begun.wait(PATIENCE_S)
    (place,) = executor._places
    attempt.claim()
    executor.cancel(attempt)
    notes.wait(1)
    leaving.set()
    place.thread.join(PATIENCE_S)

    assert (executor.abandoned, [what for what, _, _ in notes.told]) == (0, ["returned"])
    executor.close()
    assert executor.wait_closed(PATIENCE_S)


def test_an_exit_of_an_abandoned_coroutine_does_not_end_the_worker():
    """Blame: the same on a loop."""
    notes = Notes()
    begun, leaving = threading.Event(), threading.Event()

    async def leave(_: object) -> None:
        begun.set()
        while not leaving.is_set():
            try:
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                continue
        raise SystemExit("too late")

    executor = AsyncioExecutor({"encode": leave}, 1, notes, "bench", grace=Grace(grace_s=0))
    attempt = _attempt("c-1")
    executor.submit(attempt)
    assert begun.wait(PATIENCE_S)
    attempt.claim()
    executor.cancel(attempt)
    notes.wait(1)
    leaving.set()
    other = _attempt("c-2")
    other.claim()
    executor.submit(other)

    assert [(what, who) for what, who, _ in notes.wait(2)] == [("returned", attempt), ("returned", other)]
    executor.close()
    assert executor.wait_closed(PATIENCE_S)


def _attempt(name: str) -> Any:
    book = Notebook()
    book.join(make_worker())
    book.submit(conversation := make_conversation(name))
    return conversation.attempts[0]


def test_a_thread_that_cannot_be_replaced_keeps_its_slot(monkeypatch, caplog):
    """GR-06: rather a slot less than an executor without threads."""
    with bench("thread") as made:
        (first,) = made.run("c-1")
        with monkeypatch.context() as patches:
            patches.setattr(type(runtime()), "start_thread", _no_thread)
            made.call_off(first)
            assert _logged(caplog, "keeps its slot", 1)
        made.deaf.let_go("c-1")
        made.told(1)
        made.run("c-2")

        assert made.executor.abandoned == 0


def _no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def test_what_is_queued_behind_an_abandoned_thread_is_run():
    """Issue: the replacement takes it, whoever could not be started for it before."""
    with bench("thread", slots=2) as made:
        made.executor._slots = 1
        (first,) = made.run("c-1")
        made.book.submit(conversation := make_conversation("c-2"))
        made.executor.submit(conversation.attempts[0])
        made.call_off(first)
        made.deaf.wait_begun()
        made.deaf.let_go("c-2")

        assert ("c-2", *FINISHED) in made.told(2)


# --- the count itself -------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 3), st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40))
def test_never_more_are_abandoned_than_may_be(limit, steps):
    """Issue: whatever is given up and ends in whatever order, the limit holds, and no room stands idle."""
    count: Abandoned[int] = Abandoned(Grace(grace_s=0, max_abandoned=limit), "worker-1")
    attempt: Any = SimpleNamespace(activity_type="encode")
    abandoned: set[int] = set()
    kept: list[int] = []
    logging.disable(logging.CRITICAL)
    for gives_up, runner in steps:
        if gives_up and runner not in abandoned and runner not in kept:
            if count.has_room():
                count.add(runner, attempt)
                abandoned.add(runner)
            else:
                count.keep(runner, attempt)
                kept.append(runner)
        elif not gives_up:
            assert count.ended(runner) == (runner in abandoned)
            abandoned.discard(runner)
            kept = [each for each in kept if each != runner]
            following = count.next_kept()
            assert following == ((kept[0], attempt) if kept and len(abandoned) < limit else None)
            if following is not None:
                count.add(kept[0], attempt)
                abandoned.add(kept.pop(0))
        assert set(count.all()) == abandoned
        assert len(count) <= limit
        assert not kept or len(count) == limit
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("grace", "most", "what"),
    [
        (-1, 1, "grace"),
        (math.inf, 1, "grace"),
        (math.nan, 1, "grace"),
        ("1", 1, "grace"),
        (True, 1, "grace"),
        (None, 1, "grace"),
        (1, -1, "max_abandoned"),
        (1, 1.5, "max_abandoned"),
        (1, True, "max_abandoned"),
    ],
)
def test_a_grace_that_makes_no_sense_is_refused(grace, most, what):
    """Issue: when the worker is added, with a typed error."""
    with pytest.raises(ConfigError) as raised:
        grace_for(grace, most)

    assert raised.value.setting == what


def test_a_grace_is_given_in_seconds_or_as_a_timedelta():
    """Issue: as all lengths of time are."""
    assert grace_for(timedelta(milliseconds=250), 3) == Grace(grace_s=0.25, max_abandoned=3)
    assert grace_for(0, 0) == Grace(grace_s=0, max_abandoned=0)
