"""Which attempt a thread or a task is in the middle of. What an activity asks when it asks about itself.

A thread that runs attempts has a place, made known once; to begin an attempt there is to set one attribute. A task
carries its run with it. Knows no executor and no channel.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from .runtime.here import here


class Run(Protocol):
    """One attempt, as the activity that it runs may see it. Every method may be called on any thread."""

    @property
    def work(self) -> Any:
        """What its place, if it has one, calls it."""
        ...

    @property
    def number(self) -> int:
        """1 for the first attempt."""
        ...

    @property
    def conversation_id(self) -> str:
        """The id of the request."""
        ...

    @property
    def activity_type(self) -> str:
        """What kind of activity it is."""
        ...

    @property
    def queue(self) -> str:
        """The task queue that it came by; empty where that is not known."""
        ...

    @property
    def worker_id(self) -> str:
        """The worker that runs it."""
        ...

    @property
    def deadline_s(self) -> float | None:
        """When its time is up, on the runtime's monotonic clock; `None` if nothing limits it."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its result any more."""
        ...

    @property
    def last_progress(self) -> bytes | None:
        """What the latest of the earlier attempts reported, packed."""
        ...

    def wait_cancelled(self, timeout_s: float | None) -> bool:  # pyright: ignore[reportReturnType]  # no body
        """Block until it is cancelled, at most so long; say whether it is."""

    def ring(self) -> None:
        """It is cancelled: wake whoever waits for that. Never blocks."""

    def report(self, packed: bytes) -> None:
        """Bring its progress to where the caller can see it. Never blocks."""


class Place:
    """Where attempts run one after the other: a thread."""

    __slots__ = ("_open", "run", "work")

    def __init__(self, open_run: Callable[[Any], Run]) -> None:
        self._open = open_run
        self.work: Any = None
        """What runs here now; `None` between two."""
        self.run: Run | None = None
        """The latest that somebody asked about."""

    def current(self) -> Run | None:
        """Give what runs here now. Called by what runs here."""
        work = self.work
        if work is None:
            return None
        run = self.run
        if run is None or run.work is not work:
            run = self.run = self._open(work)
        return run

    def ring(self) -> None:
        """What runs here is cancelled: wake whoever waits for that. Any thread; never blocks."""
        if self.run is not None:
            self.run.ring()


TASK: ContextVar[Run | None] = ContextVar("limen-run", default=None)
"""What the current task runs, and whatever it has started."""


def current_run() -> Run | None:
    """Give the attempt that the caller is a part of, if it is part of one."""
    place = here.place
    run = place.current() if place is not None else None
    return TASK.get() if run is None else run
