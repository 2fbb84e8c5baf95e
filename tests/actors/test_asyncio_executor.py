"""Activities as coroutines, seen from the channel and from the report."""

import asyncio
import threading
from contextlib import contextmanager
from typing import Any

import pytest
from dispatchkit import Notes
from linkkit import PATIENCE_S
from statekit import Notebook, make_conversation, make_worker

from limen.actors.executors.asyncio import AsyncioExecutor
from limen.actors.runtime import runtime
from limen.messages.activities import Completed, Failed
from limen.messages.errors import ActivityCancelled, TerminalError
from limen.messages.grace import Grace
from limen.messages.lifecycle import ExitReason
from limen.messages.payloads import Payload


class Bench:
    """An executor under a book."""

    def __init__(self, handler, slots=10, **grace):
        self.notes = Notes()
        self.executor: Any = AsyncioExecutor({"encode": handler}, slots, self.notes, "bench", grace=Grace(**grace))
        self.book = Notebook()
        self.book.join(make_worker("worker-1", slots))

    def run(self, *names, kind="encode"):
        """Hand over so many attempts; give them."""
        conversations = [make_conversation(name, kind) for name in names]
        self.book.submit(*conversations)
        attempts = [each.attempts[-1] for each in conversations]
        for attempt in attempts:
            self.executor.submit(attempt)
        return attempts

    def call_off(self, attempt):
        """Decide an attempt, and say so."""
        assert attempt.claim()
        self.executor.cancel(attempt)


@contextmanager
def bench(handler, **options):
    """Set one up, and see its thread end."""
    made = Bench(handler, **options)
    try:
        yield made
    finally:
        made.executor.close()
        assert made.executor.wait_closed(PATIENCE_S)


class Meeting:
    """A coroutine that waits until it is let go; counts who is there."""

    def __init__(self):
        self.here = self.peak = 0
        self.begun = threading.Semaphore(0)
        self.ends = []
        self._go_on: Any = None
        self._loop: Any = None

    async def __call__(self, request):
        self._go_on = self._go_on or asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.here += 1
        self.peak = max(self.peak, self.here)
        self.begun.release()
        try:
            await self._go_on.wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        finally:
            self.here -= 1
        return request.input

    def wait_begun(self, count=1):
        """Block until so many wait."""
        for _ in range(count):
            assert self.begun.acquire(timeout=PATIENCE_S)

    def go_on(self):
        """Let all go."""
        self._loop.call_soon_threadsafe(self._go_on.set)


def test_coroutines_run_side_by_side_on_one_thread():
    """Design, executors: one loop per worker, `max_concurrent` at a time."""
    meeting = Meeting()
    with bench(meeting) as made:
        assert made.executor._thread is None
        attempts = made.run(*(f"c-{number}" for number in range(10)))
        meeting.wait_begun(10)
        meeting.go_on()
        told = made.notes.wait(10)

        assert meeting.peak == 10
        assert {attempt for _, attempt, _ in told} == set(attempts)
        assert {(what, result) for what, _, result in told} == {("finished", Completed(Payload()))}
        assert all(attempt.started_s is not None for attempt in attempts)
        assert made.executor._tasks == {}


def test_what_it_raises_is_a_failure():
    """DP-07: also where the handler is no coroutine function, or there is none."""

    async def fail(_):
        raise ValueError("no")

    for handler, kind, expected in (
        (fail, "encode", ValueError),
        (lambda request: request.input, "encode", TypeError),
        (fail, "resize", TerminalError),
    ):
        with bench(handler) as made:
            made.run("c-1", kind=kind)
            ((what, _, result),) = made.notes.wait()

        assert what == "finished"
        assert isinstance(result, Failed)
        assert isinstance(result.error, expected)


def test_one_that_is_called_off_is_stopped_and_its_slot_given_back():
    """DP-14: the coroutine sees `CancelledError` at its next await."""
    meeting = Meeting()
    with bench(meeting) as made:
        (attempt,) = made.run("c-1")
        meeting.wait_begun()
        made.call_off(attempt)

        assert made.notes.wait() == [("returned", attempt, ExitReason.normal())]
        assert meeting.ends == ["cancelled"]


@pytest.mark.parametrize("when", ["before it is a task", "before its first step"])
def test_one_that_is_called_off_before_it_has_begun_gives_its_slot_back(when):
    """DP-14: a task that is cancelled before its first step never runs, so nothing in it can report."""
    meeting, held = Meeting(), threading.Event()
    with bench(meeting) as made:
        made.run("first")
        meeting.wait_begun()
        loop = made.executor._loop
        loop.call_soon_threadsafe(held.wait, PATIENCE_S)
        (attempt,) = made.run("c-1")
        if when == "before it is a task":
            attempt.claim()
        else:
            loop.call_soon_threadsafe(attempt.claim)
        made.executor.cancel(attempt)
        held.set()

        assert made.notes.wait() == [("returned", attempt, ExitReason.normal())]
        assert attempt not in made.executor._tasks
        meeting.go_on()
        made.notes.wait(2)


def test_one_that_swallows_the_cancel_is_late_and_keeps_its_slot_until_then():
    """DP-15: what it says in the end does not count, but the slot was taken as long."""
    begun = threading.Event()

    async def stubborn(request):
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return request.input

    with bench(stubborn) as made:
        (attempt,) = made.run("c-1")
        assert begun.wait(PATIENCE_S)
        made.call_off(attempt)

        assert made.notes.wait() == [("finished", attempt, Completed(Payload()))]


def test_one_that_cancels_itself_has_failed():
    """DP-07: nobody has called it off, so somebody waits for an answer."""

    async def give_up(_):
        raise asyncio.CancelledError

    with bench(give_up) as made:
        (attempt,) = made.run("c-1")
        ((what, told, result),) = made.notes.wait()

    assert (what, told) == ("finished", attempt)
    assert isinstance(result.error, ActivityCancelled)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_an_exit_ends_the_worker_and_names_the_culprit(error):
    """GR-05, blame: the loop, the process and the other coroutines are left alone until the worker is closed."""
    meeting = Meeting()

    async def leave(request):
        if request.activity_type == "encode":
            raise error
        return await meeting(request)

    with bench(leave) as made:
        (attempt,) = made.run("c-1")

        assert made.notes.wait() == [("fatal", attempt, error)]
        assert made.executor._thread.is_alive()


def test_an_exit_in_a_task_of_the_activitys_own_ends_the_worker():
    """GR-05: asyncio lets it through to the loop; it goes no further than that."""

    async def leave():
        raise SystemExit(3)

    async def start(_):
        await asyncio.create_task(leave())

    with bench(start) as made:
        made.run("c-1")
        told = made.notes.wait()
        thread = made.executor._thread
        thread.join(PATIENCE_S)

        assert not thread.is_alive()
    assert "fatal" in [what for what, _, _ in told]


def test_closing_cancels_all_and_ends_the_thread():
    """WC-30: what the activities have started is cancelled, too; asynchronous generators are closed."""
    log = []

    async def numbers():
        try:
            yield 1
            yield 2
        finally:
            log.append("generator closed")

    async def helper():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("helper cancelled")
            raise

    meeting = Meeting()

    async def work(request):
        made_by_activity = asyncio.create_task(helper())
        generator = numbers()
        await anext(generator)
        result = await meeting(request)
        assert not made_by_activity.done()
        return result

    with bench(work) as made:
        made.run("c-1")
        meeting.wait_begun()
        made.executor.close()
        assert made.executor.wait_closed(PATIENCE_S)
        made.executor.close()
        made.executor.submit(made.book.handed[0])
        made.executor.cancel(made.book.handed[0])

    assert meeting.ends == ["cancelled"]
    assert sorted(log) == ["generator closed", "helper cancelled"]
    assert made.notes.told == []


def test_one_that_ignores_the_cancel_for_ever_is_abandoned(caplog):
    """LM-08, invariant 7: the end is bounded though a coroutine will not have it."""
    begun = threading.Event()

    async def stubborn(_):
        begun.set()
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    with bench(stubborn, grace_s=0.05) as made:
        made.run("c-1")
        assert begun.wait(PATIENCE_S)
        made.executor.close()
        assert made.executor.wait_closed(PATIENCE_S)

    assert "does not end although it was cancelled" in caplog.text


def test_one_that_holds_the_loop_is_waited_for_within_a_bound():
    """LM-08: a coroutine that never awaits cannot be cancelled."""
    begun, go_on = threading.Event(), threading.Event()

    async def hog(request):
        begun.set()
        go_on.wait(PATIENCE_S)
        return request.input

    with bench(hog) as made:
        made.run("c-1")
        assert begun.wait(PATIENCE_S)
        made.executor.close()
        assert not made.executor.wait_closed(0.01)
        go_on.set()


def test_closing_on_the_loops_own_thread_does_not_wait_for_itself():
    """GR-07: an activity may end its own worker."""
    waited: list[bool] = []
    executors: list[AsyncioExecutor] = []

    async def close(request):
        executors[0].close()
        waited.append(executors[0].wait_closed(PATIENCE_S))
        return request.input

    with bench(close) as made:
        executors.append(made.executor)
        made.run("c-1")
        assert made.executor._thread is not None
        made.executor._thread.join(PATIENCE_S)

    assert waited == [True]


def test_closing_before_the_first_attempt_starts_nothing():
    """WC-01: no loop, no thread."""
    with bench(Meeting()) as made:
        made.executor.close()
        made.run("c-1")

        assert made.executor._loop is None


def test_a_worker_that_can_have_no_thread_fails_as_a_whole(monkeypatch):
    """GR-06: its request is not left lying on a loop that nobody runs; the loop is closed."""
    loops = []
    make = type(runtime()).create_event_loop

    def keep(self):
        loops.append(make(self))
        return loops[-1]

    def fail(*_):
        raise RuntimeError("can't start new thread")

    with bench(Meeting()) as made:
        monkeypatch.setattr(type(runtime()), "create_event_loop", keep)
        monkeypatch.setattr(type(runtime()), "start_thread", fail)
        made.run("c-1")
        monkeypatch.undo()
        ((what, _, error),) = made.notes.wait()

    assert (what, str(error)) == ("fatal", "can't start new thread")
    assert loops[0].is_closed()


def test_a_slot_runs_what_it_is_given_along_with_its_report():
    """DP-18: the next attempt comes with the answer; it must not be dropped."""

    async def echo(request):
        return request.input

    with bench(echo, slots=2) as made:
        made.book.submit(first := make_conversation("c-1"), following := make_conversation("c-2"))
        made.notes.following.append(following.attempts[0])
        made.executor.submit(first.attempts[0])

        assert [attempt for _, attempt, _ in made.notes.wait(2)] == [first.attempts[0], following.attempts[0]]
