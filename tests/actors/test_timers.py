"""Timers and the flag: small parts of the runtime that everything leans on."""

import functools
import queue
import threading
import time
from typing import Any

import pytest
from linkkit import PATIENCE_S, PooledDoer, ending, soon

from limen.actors.links import notify
from limen.actors.runtime import Flag, runtime
from limen.actors.runtime.timers import Timers


@pytest.fixture
def timers() -> Timers:
    """Give timers of one's own."""
    return Timers()


def test_timers_fire_in_the_order_of_their_time(timers):
    """The earliest first, whatever the order of setting; never early."""
    fired: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def fire(delay_s: float) -> None:
        fired.put((delay_s, time.monotonic()))

    set_for_s = {
        delay_s: timers.call_later(delay_s, functools.partial(fire, delay_s)).at_s for delay_s in (0.03, 0.01, 0.02)
    }
    heard = [soon(fired) for _ in range(3)]
    assert [delay_s for delay_s, _ in heard] == sorted(set_for_s, key=lambda delay_s: set_for_s[delay_s])
    assert all(at_s >= set_for_s[delay_s] for delay_s, at_s in heard)


def test_a_cancelled_timer_never_fires(timers):
    """What was cancelled in time is not called."""
    fired: queue.SimpleQueue[Any] = queue.SimpleQueue()
    timer = timers.call_later(0.01, lambda: fired.put("cancelled"))
    timer.cancel()
    timers.call_later(0.02, lambda: fired.put("fired"))
    assert timer.cancelled
    assert soon(fired) == "fired"
    assert fired.empty()


def test_a_callback_that_fails_stops_no_other(timers, caplog):
    """Even `SystemExit` in a callback leaves the timers running."""

    def leave() -> None:
        raise SystemExit

    fired = threading.Event()
    timers.call_later(0, leave)
    timers.call_later(0.01, fired.set)
    assert fired.wait(PATIENCE_S)
    assert "a timer's callback failed" in caplog.text


def test_cancelled_timers_are_forgotten(timers):
    """Setting and cancelling 20,000 timers leaves a small heap; live ones stay."""
    fired = threading.Event()
    timers.call_later(0.2, fired.set)
    for _ in range(20_000):
        timers.call_later(3600, lambda: None).cancel()
    assert len(timers._heap) <= 2_100
    assert fired.wait(PATIENCE_S)


def test_the_timer_thread_serves_no_actor():
    """A message sent by a timer is handled by the pool, so that no handler makes other timers late."""
    ref = PooledDoer.start()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with ending(ref):
        runtime().call_later(0, lambda: notify(ref, lambda _: heard.put(threading.current_thread().name)))
        assert soon(heard).startswith("limen-pool")


def test_the_flag_is_an_event():
    """It wakes all who wait, tells those who come late, and can be taken back."""
    flag = Flag()
    assert isinstance(flag, threading.Event)
    assert (flag.is_set(), flag.wait(0), flag.wait(0.001)) == (False, False, False)
    woken: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiters = [threading.Thread(target=lambda: woken.put(flag.wait(PATIENCE_S))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    flag.set()
    assert [soon(woken) for _ in waiters] == [True] * 3
    for waiter in waiters:
        waiter.join(PATIENCE_S)
    assert flag.wait() is True
    flag.clear()
    assert flag.is_set() is False


def test_the_flag_wakes_who_comes_while_it_is_set():
    """A waiter that races the setter is never left asleep."""
    for _ in range(300):
        flag, gate, woken = Flag(), threading.Barrier(2), queue.SimpleQueue[bool]()

        def wait(flag: Any = flag, gate: Any = gate, woken: Any = woken) -> None:
            gate.wait(PATIENCE_S)
            woken.put(flag.wait(PATIENCE_S))

        waiter = threading.Thread(target=wait)
        waiter.start()
        gate.wait(PATIENCE_S)
        flag.set()
        assert soon(woken) is True
        waiter.join(PATIENCE_S)
