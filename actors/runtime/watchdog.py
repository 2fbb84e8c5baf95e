"""Wakes the main thread now and then while it waits, so that it hears a signal that came just as it began to.

A wait with a limit would do the same and takes longer to set up; most waits are over before anybody has to look.
"""

from __future__ import annotations

from _thread import LockType
from collections.abc import Callable
from typing import Any

LOOK_S = 0.5


class Watchdog:
    """One timer, for as long as somebody waits whenever it looks."""

    __slots__ = ("_call_later", "timer", "waiter")

    def __init__(self, call_later: Callable[[float, Callable[[], object]], Any]) -> None:
        self._call_later = call_later
        self.timer: object = None
        """What looks next; `None` when nothing does. Whoever begins to wait starts it then."""
        self.waiter: LockType | None = None
        """What the main thread waits at. Let go, it looks whether it has to go on waiting."""

    def start(self) -> None:
        """Look in a while, and then again as long as somebody waits. Main thread and timer thread."""
        timer = self.timer = object()
        self._call_later(LOOK_S, lambda: self._look(timer))

    def _look(self, timer: object) -> None:
        if self.timer is not timer:  # somebody has started another one
            return
        self.timer = None
        waiter = self.waiter  # looked for after that was said, so that whoever begins to wait now starts it himself
        if waiter is not None:
            let_go(waiter)
            self.start()


def let_go(waiter: LockType) -> None:
    """Release the lock at which somebody waits, who may have been let go by now."""
    try:  # noqa: SIM105 - a context manager takes longer than the rest
        waiter.release()
    except RuntimeError:
        pass
