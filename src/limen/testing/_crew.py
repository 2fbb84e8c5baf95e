"""Real threads for tasks, kept for the next run: to start one costs more than a short scenario.

Each thread is parked at a gate of its own. Knows no scheduler: whoever opens a gate says who runs.
"""

from __future__ import annotations

import _thread
import itertools
import os
import threading
from collections.abc import Callable


class Hand:
    """One thread and its gate."""

    __slots__ = ("gate", "job", "thread")

    def __init__(self, name: str) -> None:
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.job: Callable[[], object] | None = None
        """What to run when the gate opens; `None` ends the thread."""
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while True:
            self.gate.acquire()
            job, self.job = self.job, None
            if job is None:
                return
            job()
            del job


def on_one_core() -> Callable[[], object]:
    """Keep the calling thread, and those it starts, on one core; give what undoes that.

    Only one of them runs at a time, and to wake a thread on the same core takes half the time or less.
    """
    if not hasattr(os, "sched_setaffinity"):
        return lambda: None
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})
    except OSError:  # not allowed here
        return lambda: None
    return lambda: os.sched_setaffinity(0, cores)


class Crew:
    """Threads for one run after the other. Close it after the last."""

    def __init__(self) -> None:
        self._free: list[Hand] = []
        self._numbers = itertools.count(1)

    def take(self, job: Callable[[], object]) -> Hand:
        """Give a thread that runs the job when its gate is opened."""
        hand = self._free.pop() if self._free else Hand(f"limen-simulated-{next(self._numbers)}")
        hand.job = job
        return hand

    def give_back(self, hand: Hand) -> None:
        """Take back a thread whose job is at its end, or was never begun."""
        hand.job = None
        self._free.append(hand)

    def close(self) -> None:
        """End all threads that are free, and wait for them."""
        while self._free:
            hand = self._free.pop()
            hand.gate.release()
            hand.thread.join()
