"""Timers: one heap, one thread, started with the first timer.

Callbacks run on the timer thread and must only send messages. That thread serves no actor, so that no handler makes
another timer late.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from .here import here

logger = logging.getLogger("limen")


class Timer:
    """A call that is still to come, unless it is cancelled."""

    __slots__ = ("_callback", "at_s")

    def __init__(self, at_s: float, callback: Callable[[], object]) -> None:
        self.at_s = at_s
        self._callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Do not call. Harmless when it has been called already."""
        self._callback = None

    @property
    def cancelled(self) -> bool:
        """Whether nothing will come of it any more."""
        return self._callback is None

    def fire(self) -> None:
        """Call, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """Timers on the monotonic clock."""

    def __init__(self, after_fire: Callable[[], object] = lambda: None) -> None:
        self._after_fire = after_fire
        # Reentrant: a signal handler or a finaliser may set a timer in the middle of setting one.
        self._changed = threading.Condition(threading.RLock())
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = False
        self._shrink_above = 1024

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Have `callback()` called in `delay_s` seconds, on the timer thread. Never blocks."""
        timer = Timer(time.monotonic() + max(0.0, delay_s), callback)
        with self._changed:
            heapq.heappush(self._heap, (timer.at_s, next(self._order), timer))
            if not self._running:
                self._start()
            elif self._heap[0][2] is timer:
                self._changed.notify()
            self._shrink()
        return timer

    def _start(self) -> None:
        self._running = True
        try:
            threading.Thread(target=self._run, name="limen-timer", daemon=True).start()
        except BaseException:
            self._running = False
            raise

    def _shrink(self) -> None:
        """Forget cancelled timers now and then; on average it costs each timer a constant."""
        if len(self._heap) > self._shrink_above:
            self._heap = [item for item in self._heap if not item[2].cancelled]
            heapq.heapify(self._heap)
            self._shrink_above = max(1024, 2 * len(self._heap))

    def _run(self) -> Any:
        here.draining = True  # what a callback sends is owed, and handed to the pool after it
        while True:
            timer = self._next_due()
            try:
                timer.fire()
            except BaseException:
                logger.exception("a timer's callback failed")
            self._after_fire()

    def _next_due(self) -> Timer:
        with self._changed:
            while True:
                while self._heap and self._heap[0][2].cancelled:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._changed.wait()
                    continue
                wait_s = self._heap[0][0] - time.monotonic()
                if wait_s <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(wait_s)
