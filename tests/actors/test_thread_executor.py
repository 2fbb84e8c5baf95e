"""Activities on threads, seen from the channel and from the report."""

import gc
import threading
import weakref
from contextlib import contextmanager

import pytest
from dispatchkit import Notes, stuck
from linkkit import PATIENCE_S
from statekit import NORMAL, Notebook, make_conversation, make_worker

from limen.actors.executors.thread import ThreadExecutor
from limen.actors.runtime import runtime
from limen.messages.activities import Completed, Failed
from limen.messages.dispatch_errors import QueueFull
from limen.messages.errors import TerminalError
from limen.messages.payloads import Local, Payload


class Bench:
    """An executor under a book: what the book hands over, the executor runs, and the report keeps what it says."""

    def __init__(self, handler, slots=1):
        self.notes = Notes()
        self.executor = ThreadExecutor({"encode": handler}, slots, self.notes, "bench")
        self.book = Notebook()
        self.worker = make_worker("worker-1", slots)
        self.book.join(self.worker)

    def run(self, *names, kind="encode"):
        """Hand over so many attempts; give them."""
        conversations = [make_conversation(name, kind) for name in names]
        self.book.submit(*conversations)
        attempts = [each.attempts[-1] for each in conversations]
        for attempt in attempts:
            self.executor.submit(attempt)
        return attempts


@contextmanager
def bench(handler, slots=1):
    """Set one up, and see all its threads end."""
    made = Bench(handler, slots)
    try:
        yield made
    finally:
        made.executor.close()
        assert made.executor.wait_closed(PATIENCE_S)


def _output(request):
    return request.input


def test_an_activity_runs_on_a_daemon_thread_of_the_executors():
    """GR-08: it does not hold the process; its name says whose it is."""
    seen = []

    def note(request):
        seen.append(threading.current_thread())
        return request.input

    with bench(note) as made:
        (attempt,) = made.run("c-1")
        assert made.notes.wait() == [("finished", attempt, Completed(Payload()))]

    assert seen[0].daemon
    assert seen[0].name == "limen-bench-1"
    assert attempt.started_s is not None
    assert attempt.started_s <= runtime().now()


def test_threads_start_when_they_are_first_needed_and_never_more_than_slots():
    """GR-09, DP-18: a worker that has nothing to do has no thread; a free thread is used again."""
    with stuck() as activity, bench(activity, slots=3) as made:
        assert made.executor._places == []
        made.run("c-1")
        activity.wait_begun()
        assert len(made.executor._places) == 1
        made.run("c-2", "c-3")
        activity.wait_begun(2)
        activity.go_on.set()
        made.notes.wait(3)

        assert len(made.executor._places) == 3
        assert activity.peak == 3


def test_what_it_raises_is_a_failure_and_says_if_it_may_be_tried_again():
    """TY-05, DP-07: an ordinary exception leaves the worker well."""
    errors = [ValueError("no"), QueueFull("channel", "workflow", "encode", 1)]

    def fail(_):
        raise errors[-1]

    with bench(fail, slots=2) as made:
        made.run("c-1")
        ((_, _, first),) = made.notes.wait()
        errors.pop()
        made.run("c-2")
        second = made.notes.wait(2)[1][2]

    assert (first.error.activity_type, first.retryable) == ("encode", True)
    assert (second.error, second.retryable) == (errors[0], False)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_an_exit_ends_the_worker_and_names_the_culprit(error):
    """GR-05, blame: nothing else is told; the thread is gone, and the process is not."""

    def leave(_):
        raise error

    with bench(leave) as made:
        (attempt,) = made.run("c-1")

        assert made.notes.wait() == [("fatal", attempt, error)]
        made.executor._places[0].thread.join(PATIENCE_S)
        assert not made.executor._places[0].thread.is_alive()


def test_an_activity_that_nobody_here_does_is_a_failure_that_says_so():
    """TY-08: a worker for everything may be offered what it cannot do."""
    with bench(_output) as made:
        made.run("c-1", kind="resize")
        ((what, _, result),) = made.notes.wait()

    assert what == "finished"
    assert isinstance(result, Failed)
    assert isinstance(result.error, TerminalError)
    assert "'resize'; it has encode" in str(result.error)


def test_something_else_than_a_payload_is_a_failure():
    """TY-01: an activity gives a payload, or an object that has not left this process."""
    with bench(lambda _: b"bytes") as made:
        made.run("c-1")
        ((_, _, result),) = made.notes.wait()

    assert isinstance(result.error, TypeError)


def test_what_was_decided_before_it_began_is_passed_over():
    """DP-14: a request that was cancelled in the queue never starts; its slot is given back."""
    with stuck() as activity, bench(activity, slots=2) as made:
        made.executor._slots = 1
        made.run("c-1")
        activity.wait_begun()
        (second,) = made.run("c-2")
        assert second.claim()
        made.executor.cancel(second)
        activity.go_on.set()

        assert [what for what, attempt, _ in made.notes.wait(2) if attempt is second] == ["returned"]
        assert second.started_s is None


def test_a_slot_runs_what_it_is_given_along_with_its_report():
    """DP-18: the next attempt comes with the answer, and is run on the same thread."""
    threads = []

    def note(request):
        threads.append(threading.get_ident())
        return request.input

    with bench(note, slots=2) as made:
        made.book.submit(first := make_conversation("c-1"), following := make_conversation("c-2"))
        made.notes.following.append(following.attempts[0])
        made.executor.submit(first.attempts[0])

        assert [attempt for _, attempt, _ in made.notes.wait(2)] == [first.attempts[0], following.attempts[0]]
    assert len(set(threads)) == 1


def test_an_idle_thread_looks_into_the_tray_when_it_is_nudged():
    """Decision 3: whoever is idle does the channel's work."""
    with bench(_output) as made:
        made.run("c-1")
        made.notes.wait()
        made.executor.nudge()

        assert [what for what, _, _ in made.notes.wait(2)] == ["finished", "look"]


def test_an_idle_thread_runs_what_it_is_given_when_it_looks():
    """Decision 3: the request for which it was woken needs no way round by the queue."""
    with bench(_output) as made:
        made.run("c-1")
        made.notes.wait()
        made.book.do(made.book.state.finished(made.book.handed[0], Completed(Payload()), answered=False))
        made.book.submit(second := make_conversation("c-2"))
        made.notes.found.append(second.attempts[0])
        made.executor.nudge()

        told = made.notes.wait(3)
    assert [(what, detail) for what, _, detail in told[1:]] == [("look", made.worker), ("finished", told[0][2])]
    assert told[2][1] is second.attempts[0]


def test_an_idle_thread_keeps_nothing_alive():
    """GR-08: neither the last attempt nor its result."""

    class Result:
        pass

    result = Result()
    ended = weakref.ref(result)
    box = [result]
    del result
    with bench(lambda _: Local(box.pop())) as made:
        made.run("c-1")
        made.notes.wait()
        made.notes.told.clear()
        made.executor.nudge()
        made.notes.wait()
        made.book.handed.clear()
        made.worker.attempts.clear()
        gc.collect()

        assert ended() is None


def test_after_the_close_nothing_begins():
    """WR-08: neither what waits for a thread nor what is submitted later; what runs ends by itself."""
    ran = []

    def note(request):
        ran.append(1)
        return activity(request)

    with stuck() as activity, bench(note, slots=2) as made:
        made.executor._slots = 1
        made.run("c-1", "c-2")
        activity.wait_begun()
        made.executor.close()
        made.executor.close()
        made.book.do(made.book.state.leave(made.worker, NORMAL))
        assert not made.executor.wait_closed(0.01)
        activity.go_on.set()
        assert made.executor.wait_closed(PATIENCE_S)
        made.executor.submit(_another_attempt())

        assert ran == [1]
        assert [what for what, _, _ in made.notes.told] == ["finished"]


def _another_attempt():
    book = Notebook()
    book.join(make_worker())
    book.submit(conversation := make_conversation("later"))
    return conversation.attempts[0]


def test_an_activity_may_close_its_own_executor():
    """GR-07: it does not wait for itself."""
    done: list[bool] = []
    executors: list[ThreadExecutor] = []

    def close(request):
        executors[0].close()
        done.append(executors[0].wait_closed(PATIENCE_S))
        return request.input

    with bench(close) as made:
        executors.append(made.executor)
        made.run("c-1")
        made.notes.wait()

    assert done == [True]


def _no_thread(*_):
    raise RuntimeError("can't start new thread")


def test_a_worker_that_can_have_no_thread_at_all_fails_as_a_whole(monkeypatch):
    """GR-06: its request is not left lying in a queue that nobody empties."""
    with bench(_output) as made:
        monkeypatch.setattr(type(runtime()), "start_thread", _no_thread)
        made.run("c-1")
        monkeypatch.undo()
        ((what, culprit, error),) = made.notes.wait()

    assert (what, culprit, str(error)) == ("fatal", None, "can't start new thread")


def test_a_worker_that_can_have_no_further_thread_makes_do(monkeypatch):
    """GR-06: what is queued is done by the threads that there are, and the next request tries again."""
    with stuck() as activity, bench(activity, slots=3) as made:
        made.run("c-1")
        activity.wait_begun()
        with monkeypatch.context() as patches:
            patches.setattr(type(runtime()), "start_thread", _no_thread)
            made.run("c-2")
        made.run("c-3")
        activity.wait_begun()
        activity.go_on.set()

        told = made.notes.wait(3)
        assert sorted(attempt.conversation.id for _, attempt, _ in told) == ["c-1", "c-2", "c-3"]
        assert len(made.executor._places) == 2
