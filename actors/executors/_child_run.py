"""An attempt in a child process, as its activity sees it, and how its progress gets to the parent.

One report at a time is on its way; what is said meanwhile waits, and only the latest of it. The parent asks for the
next one, so that no number of reports can make a backlog.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from time import perf_counter
from typing import Any

from ._packing import Item, unpack_stay


class ChildRun:
    """What came with the request, and where to turn to with the rest."""

    def __init__(self, work: Item, activity_type: str, worker_id: str, began_s: float, outbox: Outbox) -> None:
        """`began_s`: by `perf_counter`."""
        self.work = work
        self.activity_type = activity_type
        self.worker_id = worker_id
        self.conversation_id, self.number, self._end_s, self.last_progress = unpack_stay(work)
        self._limits: Any = work[4]
        self._began_s = began_s
        self._outbox = outbox
        self._turn = outbox.turn

    @property
    def queue(self) -> str:
        """The task queue that it came by; empty where that is not known."""
        return "" if self._limits is None else self._limits[0] or ""

    @property
    def deadline_s(self) -> float | None:
        """When its time is up: that of this attempt, or that of all together."""
        span = None if self._limits is None else self._limits[2]
        if span is None:
            return self._end_s
        end_s = time.monotonic() - (perf_counter() - self._began_s) + timedelta(*span).total_seconds()
        return end_s if self._end_s is None else min(end_s, self._end_s)

    @property
    def cancelled(self) -> bool:
        """Whether its parent has ended it, or it is over."""
        return self._outbox.called_off.is_set() or self._outbox.turn != self._turn

    def wait_cancelled(self, timeout_s: float | None) -> bool:
        """Block until it is cancelled, at most so long; say whether it is."""
        return self._outbox.called_off.wait(timeout_s) or self.cancelled

    def ring(self) -> None:
        """Do nothing: the outbox's flag is waited for."""

    def report(self, packed: bytes) -> None:
        """Send it, or let it wait for its turn."""
        self._outbox.report(self._turn, packed)


class Outbox:
    """The progress of one child's activities, one after the other. Any thread."""

    def __init__(self, send: Callable[[int, bytes], object]) -> None:
        self._send = send
        self._lock = _thread.allocate_lock()
        self._may_send = True
        self.waiting: tuple[int, bytes] | None = None
        """The number of an activity and its latest report, which the parent has not asked for yet."""
        self.turn = 0
        """The number of what runs now, as the parent knows it; 0 for nothing."""
        self.called_off = threading.Event()
        """Whether what runs now has been ended by the parent, and the process with it."""

    def report(self, turn: int, packed: bytes) -> None:
        """Send a report, or keep it until the parent asks for more; one that comes too late is dropped."""
        with self._lock:
            if turn == self.turn:
                self.waiting = (turn, packed)
                if self._may_send:
                    self._may_send = not self._pass_on()

    def asked(self) -> None:
        """Send what waits: the parent wants more."""
        with self._lock:
            self._may_send = not self._pass_on()

    def end_turn(self) -> None:
        """Send the last word of what has run, before its result. Called if something waits."""
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> bool:
        waiting, self.waiting = self.waiting, None
        if waiting is None or waiting[0] != self.turn:
            return False
        with contextlib.suppress(OSError):  # the parent is gone, and this process soon will be
            self._send(*waiting)
        return True
