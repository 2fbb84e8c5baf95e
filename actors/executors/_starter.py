"""Starts the children that a crew lacks, on a thread of its own that lives only while there are any to start.

Starting one takes some milliseconds and blocks; nobody else shall.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ._children import Child
from ._crew import Crew

logger = logging.getLogger("limen")

FAILED_STARTS = 3
"""After so many children in a row that died before they were ready, no more are started."""


class Starter:
    """Shares its executor's lock; `landed` is called with it held, the two others without."""

    def __init__(
        self,
        name: str,
        crew: Crew,
        lock: Any,
        *,
        start: Callable[[str, int], Child],
        landed: Callable[[Child], object],
        done: Callable[[], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        self._name = name
        self._crew = crew
        self._lock = lock
        self._start = start
        self._landed = landed
        self._done = done
        self._failed = failed
        self._thread: threading.Thread | None = None
        self._count = 0
        self.failures = 0
        """Starts in a row that came to nothing."""
        self.closed = False

    @property
    def is_busy(self) -> bool:
        """Whether a child is being started now."""
        return self._thread is not None

    def start_lacking(self) -> None:
        """Begin to start what is lacking, unless that is under way. Does not block."""
        with self._lock:
            position = self._next() if self._thread is None else None
            if position is None:
                return
            self._thread = threading.Thread(
                target=self._run, args=(position,), name=f"limen-process-start-{self._name}", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError as error:  # the system has no more threads to give
                self._thread = None
                self._crew.give_back(position)
                problem = error
            else:
                return
        self._failed(problem)

    def leave_to_parent(self, lock: Any) -> None:
        """Do nothing any more, in a forked copy of this process, which has no such thread."""
        self._lock = lock
        self.closed = True
        self._thread = None

    def _next(self) -> int | None:
        if self.closed or self.failures >= FAILED_STARTS:
            return None
        return self._crew.take_position()

    def _run(self, position: int | None) -> None:
        problem: BaseException | None = None
        while position is not None:
            child, problem = self._try(position)
            with self._lock:
                if child is None:
                    self._crew.give_back(position)
                    self.failures += 1
                else:
                    self._landed(child)
                position = self._next()
                if position is None:
                    self._thread = None
            self._done()
        if problem is not None:
            self._failed(problem)

    def _try(self, position: int) -> tuple[Child | None, BaseException | None]:
        self._count += 1
        try:
            return self._start(f"limen-{self._name}-{self._count}", position), None
        except Exception as error:
            logger.exception("a child process of %s could not be started", self._name)
            return None, error
