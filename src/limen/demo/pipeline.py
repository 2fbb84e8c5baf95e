"""The way of each file: read on one queue, measured on the other, and out with an outcome."""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from .. import ActivityFailed, ChannelLifecycleError, Handle, Limen, ShutDown
from .activities import Measures, Source, measure, read
from .check import Failed, Outcome
from .files import shown
from .report import Failure

UNDER_WAY = 64
"""Files that may be in work at a time."""


@attrs.frozen
class Step:
    """One dispatch that is under way."""

    path: str
    handle: Handle[Any]


class Pipeline:
    """Keeps a bounded number of files under way. Used by one thread; `wake` may be called anywhere."""

    def __init__(self, app: Limen, files: Sequence[str], root: Path) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.failures: list[Failure] = []
        self.lost: list[str] = []
        """Files of which the dispatcher gave up on an activity."""
        self.paths: dict[str, str] = {}
        """Of every dispatch, by its id."""
        self._app = app
        self._root = root
        self._ahead = deque(files)
        self._under_way: dict[str, Step] = {}
        self._finished: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    @property
    def is_done(self) -> bool:
        """Whether every file has an outcome."""
        return not self._ahead and not self._under_way

    @property
    def is_at_work(self) -> bool:
        """Whether files are under way."""
        return bool(self._under_way)

    def feed(self, room: int) -> None:
        """Hand in files until so many are under way."""
        while self._ahead and len(self._under_way) < room:
            path = self._ahead.popleft()
            self._follow(path, self._app.dispatch(read, path))

    def take(self, timeout_s: float) -> bool:
        """Act on what is done by now, waiting for the first of it at most so long; say whether there was anything."""
        took = False
        while (done := self._next(0.0 if took else timeout_s)) is not None:
            self._done(self._under_way.pop(done))
            took = True
        return took

    def wake(self) -> None:
        """End the waiting in `take`. Safe in a signal handler."""
        self._finished.put(None)

    def _next(self, timeout_s: float) -> str | None:
        try:
            return self._finished.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _follow(self, path: str, handle: Handle[Any]) -> None:
        self.paths[handle.id] = path
        self._under_way[handle.id] = Step(path, handle)
        handle.add_done_callback(lambda done: self._finished.put(done.id))

    def _done(self, step: Step) -> None:
        error = step.handle.exception(timeout=0)
        if isinstance(error, ShutDown):  # nothing has come of it; it is not done
            return
        if error is None:
            self._succeeded(step.path, step.handle.result(timeout=0))
            return
        self.outcomes[step.path] = Failed()
        if isinstance(error, ActivityFailed):
            name, text = shown(step.path, self._root), f"{error.cause_type}: {error.cause}"
            self.failures.append(Failure(file=name, activity=error.activity_type, error=text))
        else:
            self.lost.append(step.path)

    def _succeeded(self, path: str, result: Source | Measures) -> None:
        if isinstance(result, Source):
            with contextlib.suppress(ChannelLifecycleError):  # the application is being closed: then it is not done
                self._follow(path, self._app.dispatch(measure, result))
        else:
            self.outcomes[path] = result
