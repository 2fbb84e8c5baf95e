"""The end of an actor, as data: who wants to be told, who waits for an answer, and how it ended.

One `Life` belongs to one actor. Its watches fire exactly once, whatever the order of watching and dying.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ..messages.lifecycle import Down, ExitReason

logger = logging.getLogger("limen")

OnExit = Callable[[Down], object]


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


class _ActorWatch(Watch):
    """A watch on an actor of ours. There is one for each worker, so it carries no function of its own."""

    __slots__ = ("_watchers",)

    def __init__(self, watchers: dict[Watch, OnExit]) -> None:
        self.cancelled = False
        self._watchers = watchers

    def cancel(self) -> None:
        self.cancelled = True
        self._watchers.pop(self, None)


_turning_point = threading.RLock()
"""Held while an actor's beginning, its end or a wish to be told of that is put down, by all of them: nothing else
happens meanwhile. Reentrant: a finaliser may watch or die in the middle of another such step."""


class Life:
    """From the first breath to the last notice. What it begins with are defaults of the class."""

    begun = False
    over = False
    """Whether the notices are out; from then on a watch is answered with `noproc`."""
    ended_by: ExitReason | None = None
    """Why it ends; set before it is over."""
    monitors: dict[Watch, None] | None = None
    """What it watches itself, to be dropped with it."""
    deferred: list[Any] | tuple[()] = ()
    """Replies that its handlers have put off."""
    stop_replies: tuple[Any, ...] = ()

    def __init__(self) -> None:
        self._watchers: dict[Watch, OnExit] = {}
        self.links: dict[str, Any] = {}

    def claim(self) -> bool:
        """Take the right to begin, or to call it off; `True` for the first caller only."""
        with _turning_point:
            first = not self.begun
            self.begun = True
        return first

    def watch(self, on_exit: OnExit) -> Watch | None:
        """Have `on_exit(down)` called once by the dying thread; `None` if it is too late for that."""
        made = _ActorWatch(self._watchers)
        with _turning_point:
            if self.over:
                return None
            self._watchers[made] = on_exit
        return made

    def finish(self, down: Down) -> None:
        """Tell every watcher, once, and nobody afterwards."""
        with _turning_point:
            if self.over:
                return
            self.over = True
            told = list(self._watchers.values())
            self._watchers.clear()
        for on_exit in told:
            try:
                on_exit(down)
            except BaseException:
                logger.exception("a watcher failed to take the notice of %s", down.reason)
