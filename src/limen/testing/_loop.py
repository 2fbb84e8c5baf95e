"""An asyncio event loop in virtual time: timers, tasks and `to_thread`, and no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ._errors import SimulationEnd
from ._scheduler import Scheduler
from ._task import Task


class _NoSockets:
    """In place of a selector: waits for calls from other tasks, and for time."""

    is_idle = True
    name = "something to happen on its loop"

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._called = False
        self.task: Task | None = None

    def select(self, timeout: float | None) -> list[Any]:
        """Wait until somebody calls, or that long."""
        scheduler = self._scheduler
        self.task = scheduler.enter("turn of an event loop")
        if timeout is not None and timeout <= 0:
            scheduler.point("next turn of its loop")
        else:
            until_s = None if timeout is None else scheduler.now_s + timeout
            while not self._called and scheduler.park(self, until_s):
                pass
        self._called = False
        return []

    def call(self) -> None:
        """Let it look again."""
        self._called = True
        if self.task is not None:
            self._scheduler.wake_if(self.task, self)

    def close(self) -> None:
        """Nothing is held."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """A loop that is run by a simulated task."""

    def __init__(self, scheduler: Scheduler, start_thread: Callable[[Callable[[], object], str], object]) -> None:
        super().__init__()
        self._scheduler = scheduler
        self._start_thread = start_thread
        self._selector = _NoSockets(scheduler)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Virtual seconds."""
        return self._scheduler.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        self._selector.call()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Run a function as a simulated task; `asyncio.to_thread` comes here."""
        future: asyncio.Future[Any] = self.create_future()

        def settle(set_outcome: Callable[[Any], None], outcome: object) -> None:
            if not future.done():
                set_outcome(outcome)

        def tell(set_outcome: Callable[[Any], None], outcome: object) -> None:
            if not self.is_closed():  # else nobody waits for it any more
                self.call_soon_threadsafe(settle, set_outcome, outcome)

        def run() -> None:
            try:
                value = func(*args)
            except SimulationEnd:
                raise
            except BaseException as error:  # noqa: BLE001 - it is the awaiter's
                tell(future.set_exception, error)
            else:
                tell(future.set_result, value)

        self._start_thread(run, "to-thread")
        return future

    def close(self) -> None:
        """Close; what a run that is over leaves behind is nobody's mistake."""
        if self._scheduler.closing:
            for task in asyncio.all_tasks(self):
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own switch
        super().close()
