"""Promises of the guarded runner beyond those that the routers' tests hold it to: few at a time, and none too late."""

import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from channelkit import WAIT_S, gate

from limen.actors._guarded import GuardedRunner, OnePerProcess
from limen.actors._guarded_calls import PATIENCE_S, GuardedCall
from limen.actors.runtime import runtime


@attrs.define(eq=False, kw_only=True)
class Call(GuardedCall):
    """A call of any function, with a limit that counts from now."""

    function: Callable[[], Any]
    name: str = "it"
    asked_s: float = attrs.field(factory=lambda: runtime().now())

    @property
    def key(self):
        return self.name

    @property
    def title(self):
        return self.name

    @property
    def expires_s(self):
        return self.asked_s + self.limit_s

    def evaluate(self):
        return self.function()

    def timed_out(self):
        return "timed out"

    def unavailable(self, why):
        return why


@pytest.fixture
def runner():
    """Give a runner that lets one call run at a time."""
    runner = GuardedRunner(max_active=1, idle_s=0.01)
    runner.thread_name = "limen-pool-test"
    with contextlib.closing(runner):
        yield runner


def ask(runner, function, *, name="it", limit_s=WAIT_S):
    """Ask, and give the future of the answer."""
    reply = runtime().create_future()
    runner.submit(Call(function=function, name=name, limit_s=limit_s, on_answer=reply.set))
    return reply


def test_calls_beyond_the_bound_wait_while_they_are_quick(runner):
    """Different functions take turns, in order, on one thread (GR-09)."""
    running: list[None] = []
    most: list[int] = []

    def run():
        running.append(None)
        most.append(len(running))
        running.pop()

    replies = [ask(runner, run, name=f"function {each}") for each in range(50)]

    for reply in replies:
        reply.get(timeout=WAIT_S)
    assert most == [1] * 50
    assert runner.counts().threads <= 2


def test_a_slow_call_does_not_use_up_the_bound(runner):
    """After a moment the others go ahead on another thread (GR-05)."""
    with gate() as slow:
        stalled = ask(runner, slow, name="slow")
        slow.wait_entered()
        began_s = runtime().now()

        assert ask(runner, lambda: "quick", name="quick").get(timeout=WAIT_S) == "quick"

        assert runtime().now() - began_s < PATIENCE_S + 0.1
        assert not stalled.done()


def test_a_call_that_waits_too_long_is_answered_and_never_runs(runner):
    """A limit that counts from the asking holds also for what has not begun (GR-06)."""
    ran: list[None] = []
    with gate() as slow:
        stalled = ask(runner, slow)
        slow.wait_entered()

        late = ask(runner, lambda: ran.append(None), limit_s=0.01)

        assert late.get(timeout=WAIT_S) == "timed out"
        assert not stalled.done()
    assert stalled.get(timeout=WAIT_S) is True
    assert ask(runner, lambda: "next").get(timeout=WAIT_S) == "next"
    assert ran == []


def test_one_per_process_is_made_when_it_is_first_asked_for():
    """It is made once."""
    made = []

    def make():
        made.append(object())
        return made[-1]

    shared = OnePerProcess(make)
    assert made == []

    assert shared() is shared() is made[0]
    assert len(made) == 1
