"""The main thread's wait for a reply: it is woken now and then, and by the answer; nothing runs while nobody waits."""

import signal
import threading

import pytest

from limen.actors.runtime import Reply, runtime
from limen.actors.runtime.watchdog import LOOK_S, Watchdog, let_go


class Calls:
    """Timers that go off when the test says so."""

    def __init__(self):
        self.pending = []

    def later(self, delay_s, callback):
        assert delay_s == LOOK_S
        self.pending.append(callback)

    def fire(self):
        pending, self.pending = self.pending, []
        for callback in pending:
            callback()


def test_it_looks_as_long_as_somebody_waits():
    """Each look wakes the waiter; the first that finds nobody is the last."""
    calls, waiter = Calls(), threading.Lock()
    watchdog = Watchdog(calls.later)
    watchdog.waiter = waiter
    watchdog.start()
    for _ in range(2):
        waiter.acquire()
        calls.fire()
        assert not waiter.locked()
    assert len(calls.pending) == 1

    watchdog.waiter = None
    calls.fire()
    assert (calls.pending, watchdog.timer) == ([], None)


def test_of_two_that_were_started_one_goes_on():
    """Whoever begins to wait just as it stops starts another; the older one ends."""
    calls = Calls()
    watchdog = Watchdog(calls.later)
    watchdog.waiter = threading.Lock()
    watchdog.start()
    watchdog.start()
    calls.fire()
    assert len(calls.pending) == 1


def test_a_wait_that_is_woken_for_nothing_goes_on():
    """Until the answer is there."""
    reply: Reply[str] = Reply()
    rounds = threading.Semaphore(0)

    class Impatient(Watchdog):
        def start(self):
            rounds.release()
            self.timer = None
            assert self.waiter is not None
            wake = self.waiter.release if rounds._value < 3 else lambda: reply.set("done")
            threading.Thread(target=wake).start()

    reply.wait_on_main(Impatient(lambda *_: None))
    assert reply.get() == "done"
    assert rounds._value == 3


def test_an_answer_and_a_look_at_once_do_no_harm():
    """Both let the same waiter go."""
    for _ in range(200):
        reply: Reply[int] = Reply()
        threads: list[threading.Thread] = []

        class Hasty(Watchdog):
            def start(self, reply=reply, threads=threads):
                look = threading.Thread(target=let_go, args=(self.waiter,))
                threads += [look, threading.Thread(target=reply.set, args=(1,))]
                self.timer = threads
                for thread in threads:
                    thread.start()

        reply.wait_on_main(Hasty(lambda *_: None))
        assert reply.get(timeout=0) == 1
        for thread in threads:
            thread.join()


def test_a_signal_is_heard_while_the_main_thread_waits():
    """Its handler runs, and what it raises ends the wait; nothing of the wait is left in the reply."""
    watchdog = runtime().watchdog
    assert watchdog is not None
    reply: Reply[str] = Reply()

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threading.Timer(0.05, lambda: signal.raise_signal(signal.SIGUSR1)).start()
        with pytest.raises(KeyboardInterrupt):
            reply.wait_on_main(watchdog)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert watchdog.waiter is None
    reply.set("late")
    assert reply.get() == "late"
