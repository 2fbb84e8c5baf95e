"""Wakes the main thread now and then while it waits, so that it hears a signal that came just as it began to.

A wait with a limit would do the same and takes longer to set up; most waits are over before anybody has to look.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LOOK_S = 0.5


class Watchdog:
    """One timer, for as long as somebody waits whenever it looks."""

    __slots__ = ("_call_later", "timer", "wake")

    def __init__(self, call_later: Callable[[float, Callable[[], object]], Any]) -> None:
        self._call_later = call_later
        self.timer: object = None
        """What looks next; `None` when nothing does. Whoever begins to wait starts it then."""
        self.wake: Callable[[], object] | None = None
        """Wakes whoever waits. He then looks whether he has to go on waiting."""

    def start(self) -> None:
        """Look in a while, and then again as long as somebody waits. Main thread and timer thread."""
        timer = self.timer = object()
        self._call_later(LOOK_S, lambda: self._look(timer))

    def _look(self, timer: object) -> None:
        if self.timer is not timer:  # somebody has started another one
            return
        self.timer = None
        wake = self.wake  # looked for after that was said, so that whoever begins to wait now starts it himself
        if wake is not None:
            wake()
            self.start()
