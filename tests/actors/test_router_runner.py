"""Promises of the router runner: users' functions run guarded, limited in time, and apart from each other."""

import contextlib
import os
import threading
from typing import Any

import pytest

from limen.actors._router_runner import Chosen, RouterRunner, RoutingFailed, router_runner
from limen.actors._routing_calls import WIDTH
from limen.actors.router_loader import RoutingSlot, load_router
from limen.actors.runtime import runtime
from limen.messages.dispatch_errors import RouterCrashed, RouterTimedOut, RouterUnavailable
from limen.messages.pool import ConsumerId, ConsumerStateView
from limen.messages.routing import RoutingMessage

WAIT_S = 10.0
load: Any = load_router
"""For functions of types that `load_router` does not take."""
MESSAGE = RoutingMessage({"activity_type": "resize"})
VIEWS = (ConsumerStateView(ConsumerId("worker-1")), ConsumerStateView(ConsumerId("worker-2")))


class Asked:
    """Answers of one or more calls, to wait for."""

    def __init__(self, runner):
        self._runner = runner

    def later(self, router, *, limit_s=None, views=VIEWS):
        """Ask, and give the future of the answer; a second answer raises on the thread that gives it."""
        reply = runtime().create_future()
        self._runner.evaluate(router, MESSAGE, views, limit_s, reply.set, channel_name="ch", workflow_id="wf")
        return reply

    def now(self, router, **options):
        """Ask and wait."""
        return self.later(router, **options).get(timeout=WAIT_S)


class Stall:
    """A routing function that does not return until it is released."""

    def __init__(self):
        self.entered = threading.Semaphore(0)
        self.released = threading.Event()
        self.router = load_router(self)

    def __call__(self, message, views):
        self.entered.release()
        assert self.released.wait(WAIT_S)
        return "too late"

    def wait_entered(self):
        assert self.entered.acquire(timeout=WAIT_S)


@pytest.fixture
def runner():
    """Give a runner whose threads end with the test."""
    runner = RouterRunner()
    yield runner
    runner.close()


@pytest.fixture
def ask(runner):
    """Ask that runner."""
    return Asked(runner)


@pytest.fixture
def stall():
    """Give a function that stalls until the end of the test."""
    stall = Stall()
    yield stall
    stall.released.set()


@pytest.fixture
def last(stall):
    """Give a healthy function."""
    return load_router(lambda _message, views: views[-1].consumer)


def test_a_function_chooses_off_the_callers_thread(ask):
    """It is given the message and the views, and runs on a thread of the runner (RT-04, RT-05)."""
    seen = []

    def choose(message, views):
        seen.append((message, views, threading.current_thread().name))
        return views[1].consumer

    assert ask.now(load_router(choose)) == Chosen("worker-2")
    ((message, views, thread),) = seen
    assert (message, views) == (MESSAGE, VIEWS)
    assert thread.startswith("limen-router-")


def test_a_function_may_choose_nobody(ask):
    """None is an answer (RT-04)."""
    assert ask.now(load_router(lambda _message, _views: None)) == Chosen(None)


def test_a_function_cannot_change_the_pool(ask):
    """What it is given is a copy of values that do not change (RT-04)."""
    pool = list(VIEWS)

    def spoil(_message, views):
        views.clear()

    answer = ask.now(load_router(spoil), views=pool)

    assert isinstance(answer.error, RouterCrashed)
    assert pool == list(VIEWS)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_it_raises_is_a_crash_with_its_cause(ask, error):
    """Even `SystemExit` ends in an error that names the function's hash, and the next call works (RT-05, GR-05)."""

    def choose(_message, _views):
        raise error

    router = load_router(choose)
    answer = ask.now(router)

    assert isinstance(answer, RoutingFailed)
    assert isinstance(answer.error, RouterCrashed)
    assert answer.error.__cause__ is error
    assert (answer.error.function_hash, answer.error.channel_name, answer.error.workflow_id) == (
        router.hash,
        "ch",
        "wf",
    )
    assert type(error).__name__ in str(answer.error)
    assert router.hash in str(answer.error)


def test_an_error_without_text_is_told_all_the_same(ask):
    """An exception whose own text fails does not break the guard (GR-05)."""

    class Mute(Exception):
        def __str__(self):
            raise SystemExit

    def choose(_message, _views):
        raise Mute

    assert ask.now(load_router(choose)).error.detail == "Mute: no text"


def test_an_answer_of_another_kind_is_a_crash(ask):
    """Only an id or None is an answer (RT-05)."""
    answer = ask.now(load(lambda _message, _views: 3))

    assert answer.error.detail == "it returned a int, not a worker's id or None"


def test_a_healthy_function_answers_after_each_of_16_crashes(ask, last):
    """One function's crash does not affect another (RT-06)."""
    crash = load(lambda _message, _views: 1 // 0)

    for _ in range(16):
        assert isinstance(ask.now(crash).error, RouterCrashed)
        assert ask.now(last) == Chosen("worker-2")


def test_a_stall_is_timed_out_and_its_late_result_ignored(runner, ask, stall, caplog):
    """An overrun gives one timed-out error that names hash and limit; what comes later only counts (RT-05, RT-06)."""
    answer = ask.now(stall.router, limit_s=0.02)

    assert isinstance(answer.error, RouterTimedOut)
    assert (answer.error.function_hash, answer.error.limit_s) == (stall.router.hash, 0.02)
    assert runner.counts().stuck == 1
    stuck = next(each for each in threading.enumerate() if each.name == "limen-router-1")
    stall.released.set()
    runner.close()
    stuck.join(WAIT_S)
    counts = runner.counts()
    assert (counts.stuck, counts.late, counts.threads) == (0, 1, 0)
    assert "is stuck" in caplog.text
    assert "returned late" in caplog.text
    assert "was not taken" not in caplog.text  # a second answer would have been refused


def test_a_stall_holds_up_no_other_function(ask, stall, last):
    """While one function stalls, within its limit, another answers at once (RT-06)."""
    stalled = [ask.later(stall.router) for _ in range(20)]
    stall.wait_entered()

    began_s = runtime().now()
    assert ask.now(last) == Chosen("worker-2")

    assert runtime().now() - began_s < 0.1
    assert not any(reply.done() for reply in stalled)


def test_a_stall_holds_up_its_own_function_for_a_moment_only(ask, stall):
    """A call that stalls is soon overtaken by the next of the same function, on another thread (RT-06)."""

    def choose(message, views):
        return stall(message, views) if len(views) == 2 else None

    router = load_router(choose)
    stalled = ask.later(router)
    stall.wait_entered()

    began_s = runtime().now()
    assert ask.now(router, views=()) == Chosen(None)

    assert runtime().now() - began_s < 0.1
    assert not stalled.done()


def test_calls_of_one_function_take_turns_while_they_are_quick(ask):
    """A function need not be thread-safe to be quick: its calls come one after the other, in order (RT-05)."""
    running: list[None] = []
    most: list[int] = []
    order: list[int] = []

    def choose(_message, views):
        running.append(None)
        most.append(len(running))
        order.append(len(views))
        running.pop()

    router = load_router(choose)
    replies = [ask.later(router, views=VIEWS[:1] * number) for number in range(50)]

    assert [reply.get(timeout=WAIT_S) for reply in replies] == [Chosen(None)] * 50
    assert order == list(range(50))
    assert set(most) == {1}


def test_stuck_threads_are_bounded(stall, last):
    """Where too many threads of one function are stuck it is refused, others are served (RT-06)."""
    runner = RouterRunner(max_stuck=WIDTH)
    with contextlib.closing(runner):
        ask = Asked(runner)
        stalled = [ask.later(stall.router, limit_s=0.02) for _ in range(WIDTH + 3)]
        errors = [reply.get(timeout=WAIT_S).error for reply in stalled]

        assert sum(isinstance(error, RouterTimedOut) for error in errors) == WIDTH
        assert sum(isinstance(error, RouterUnavailable) for error in errors) == 3
        assert isinstance(ask.now(stall.router).error, RouterUnavailable)
        assert ask.now(last) == Chosen("worker-2")
        assert runner.counts().stuck == WIDTH


def test_the_sum_of_stuck_threads_is_bounded(stall, last):
    """Where too many are stuck in all, no thread is added to them (RT-06)."""
    runner = RouterRunner(max_stuck_in_all=1)
    with contextlib.closing(runner):
        ask = Asked(runner)
        ask.now(stall.router, limit_s=0.02)

        assert ask.now(last).error.detail == "1 threads are stuck in routing functions"


def test_no_thread_to_be_had_is_an_answer(ask, last, monkeypatch):
    """When the system gives no thread, the call is answered with a spawn error (RT-05)."""

    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    answer = ask.now(last)
    monkeypatch.undo()

    assert isinstance(answer.error, RouterUnavailable)
    assert (answer.error.function_hash, answer.error.detail) == (last.hash, "can't start new thread")


def test_a_failing_listener_harms_nobody(runner, ask, last, caplog):
    """What `on_answer` raises is logged, and the thread goes on (GR-05)."""

    def refuse(answer):
        raise SystemExit

    runner.evaluate(last, MESSAGE, VIEWS, None, refuse)

    assert ask.now(last) == Chosen("worker-2")
    assert "was not taken" in caplog.text


def test_a_swap_lets_a_running_call_finish_on_the_old_function(ask, stall, last):
    """A deploy during a blocked call changes the next call, not that one (RT-08)."""
    slot = RoutingSlot(stall.router)
    running = ask.later(slot.active)
    stall.wait_entered()

    slot.deploy(last)

    assert ask.now(slot.active) == Chosen("worker-2")
    stall.released.set()
    assert running.get(timeout=WAIT_S) == Chosen("too late")


def test_idle_threads_end():
    """No thread stays when nobody routes (RT-06)."""
    runner = RouterRunner(idle_s=0.01)
    name = runtime().create_future()
    runner.evaluate(load_router(lambda _m, _v: threading.current_thread().name), MESSAGE, (), None, name.set)
    chosen = name.get(timeout=WAIT_S).worker_id

    for thread in threading.enumerate():
        if thread.name == chosen:
            thread.join(WAIT_S)

    assert runner.counts().threads == 0


def test_a_closed_runner_refuses(runner, ask, last):
    """After the close nothing is started, and everyone is told so (RT-05)."""
    runner.close()

    assert isinstance(ask.now(last).error, RouterUnavailable)


def test_the_process_shares_one_runner():
    """The runner is made when it is first needed, and once."""
    assert router_runner() is router_runner()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_routes(run_python):
    """A child that is forked while the runner is in use has one that works (RT-05)."""
    code = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
from limen.actors._router_runner import router_runner
from limen.actors.router_loader import load_router
from limen.actors.runtime import runtime

def route():
    reply = runtime().create_future()
    router_runner().evaluate(load_router(lambda m, v: "x"), {}, (), None, reply.set)
    return reply.get(timeout=10).worker_id

assert route() == "x"
pid = os.fork()
if not pid:
    os._exit(0 if route() == "x" else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run_python("-c", code).stdout == "0\n"
