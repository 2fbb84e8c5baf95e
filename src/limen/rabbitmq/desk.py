"""The thread on which callers are answered, so that what they do then keeps nobody from talking to the broker."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from ..actors.runtime import runtime

logger = logging.getLogger("limen")


class Desk:
    """Runs short functions one after the other on a thread of its own, which starts with the first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue = runtime().create_queue()
        self._unfinished: deque[None] = deque()
        """As long as there are functions that have not run to their end."""
        self._lock = runtime().create_lock()
        self._thread: Any = None

    def put(self, function: Callable[[], object]) -> None:
        """Have it run. Any thread; never blocks."""
        self._unfinished.append(None)
        self._queue.put(function)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = runtime().start_thread(self._work, f"limen-rabbitmq-desk-{self._name}")

    def run(self, function: Callable[[], object]) -> None:
        """Have it run, now if this is the desk's own thread. Any thread; never blocks."""
        if self._thread and _is_current(self._thread):
            function()
        else:
            self.put(function)

    @property
    def is_idle(self) -> bool:
        """Whether all that was put here has run."""
        return not self._unfinished

    def close(self, timeout_s: float) -> None:
        """Run what is there, and end. Does not wait for its own thread."""
        with self._lock:
            thread, self._thread = self._thread, self._thread or False
        if thread:
            self._queue.put(None)
            if not _is_current(thread):
                thread.join(timeout_s)

    def _work(self) -> None:
        while (function := self._queue.get()) is not None:
            try:
                function()
            except BaseException:  # SystemExit too: it was raised by somebody's callback, and ends nobody here
                logger.exception("an answer could not be given")
            self._unfinished.popleft()


def _is_current(thread: Any) -> bool:
    import threading

    return bool(thread.ident == threading.get_ident())
