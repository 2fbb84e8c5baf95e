"""The end of an actor, as data: who wants to be told, who waits for an answer, and how it ended.

One `Life` belongs to one actor. Its watches fire exactly once, whatever the order of watching and dying.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Any

from ..messages.lifecycle import Down, ExitReason

logger = logging.getLogger("limen")

OnExit = Callable[[Down], object]

_keys = itertools.count()


class Watch:
    """A pending wish to be told of one death. `cancel` is idempotent, from any thread."""

    __slots__ = ("_cancel", "cancelled")

    def __init__(self, cancel: Callable[[], object] | None = None) -> None:
        self._cancel = cancel
        self.cancelled = False

    def cancel(self) -> None:
        """Do not tell any more; what has been told already stays told."""
        self.cancelled = True
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()


class Life:
    """From the first breath to the last notice."""

    __slots__ = ("_lock", "_watchers", "begun", "deferred", "ended_by", "links", "monitors", "over", "stop_replies")

    def __init__(self) -> None:
        # Reentrant: a finaliser may watch or die in the middle of another such step.
        self._lock = threading.RLock()
        self._watchers: dict[int, OnExit] = {}
        self.begun = False
        self.over = False
        """Whether the notices are out; from then on a watch is answered with `noproc`."""
        self.ended_by: ExitReason | None = None
        """Why it ends; set before it is over."""
        self.links: dict[str, Any] = {}
        self.monitors: set[Watch] = set()
        """What it watches itself, to be dropped with it."""
        self.deferred: list[Any] = []
        self.stop_replies: list[Any] = []

    def claim(self) -> bool:
        """Take the right to begin, or to call it off; `True` for the first caller only."""
        with self._lock:
            first = not self.begun
            self.begun = True
        return first

    def watch(self, on_exit: OnExit) -> Watch | None:
        """Have `on_exit(down)` called once by the dying thread; `None` if it is too late for that."""
        key = next(_keys)
        with self._lock:
            if self.over:
                return None
            self._watchers[key] = on_exit
        return Watch(lambda: self._watchers.pop(key, None))

    def finish(self, down: Down) -> None:
        """Tell every watcher, once, and nobody afterwards."""
        with self._lock:
            if self.over:
                return
            self.over = True
            watchers, self._watchers = self._watchers, {}
        for on_exit in watchers.values():
            try:
                on_exit(down)
            except BaseException:
                logger.exception("a watcher failed to take the notice of %s", down.reason)
