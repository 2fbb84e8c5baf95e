"""Activities as coroutines: one event loop on one thread for each worker."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

from ...messages.activities import Completed, Failed
from ...messages.errors import ActivityCancelled
from ...messages.lifecycle import ExitReason
from ..attempt import Attempt, Handler, Report
from ..runtime import Thread, runtime


class AsyncioExecutor:
    """Runs each attempt as a task of its loop. The loop's thread starts with the first attempt."""

    name = "asyncio"
    prefetch = 0

    def __init__(self, handlers: Mapping[str, Handler], slots: int, report: Report, name: str) -> None:
        self._handlers = handlers
        self._slots = slots
        self._report = report
        self._name = name
        self._runtime = runtime()
        self._now = self._runtime.now
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._tasks: dict[Attempt, asyncio.Task[None]] = {}
        self._closed = False

    def submit(self, attempt: Attempt) -> None:
        """Start it as a task on the loop."""
        with self._lock:
            if self._closed:
                return
            loop = self._loop or self._start_loop()
            loop.call_soon_threadsafe(self._begin, attempt)

    def cancel(self, attempt: Attempt) -> None:
        """Cancel its task: the coroutine sees `CancelledError` at its next await."""
        with self._lock:
            if self._loop is not None and not self._closed:
                self._loop.call_soon_threadsafe(self._cancel, attempt)

    def close(self) -> None:
        """Cancel all tasks and let the loop end."""
        with self._lock:
            already, self._closed = self._closed, True
            if self._loop is not None and not already:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def wait_closed(self, timeout_s: float) -> bool:
        """Block until the loop's thread has ended, at most so long; `False` if a coroutine holds it."""
        thread = self._thread
        if thread is None or thread.ident == threading.get_ident():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = self._runtime.create_event_loop()
        self._thread = self._runtime.start_thread(lambda: self._live(loop), f"limen-{self._name}-loop")
        return loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _begin(self, attempt: Attempt) -> None:
        assert self._loop is not None
        if not self._closed:
            self._tasks[attempt] = self._loop.create_task(self._run(attempt))

    def _cancel(self, attempt: Attempt) -> None:
        task = self._tasks.get(attempt)
        if task is not None:
            task.cancel()

    async def _run(self, attempt: Attempt) -> None:
        attempt.started_s = self._now()
        try:
            result = await self._result_of(attempt)
        finally:
            self._tasks.pop(attempt, None)
        if result is not None:
            self._report.finished(attempt, result)

    async def _result_of(self, attempt: Attempt) -> Completed | Failed | None:
        """Await the activity; `None` when the worker dies of it, or the attempt needs no result."""
        try:
            return Completed(await self._handlers[attempt.request.activity_type](attempt.request))
        except asyncio.CancelledError:
            if not attempt.claimed and not self._closed:
                return Failed(ActivityCancelled(attempt.request.activity_type, "the activity cancelled itself"))
            self._report.returned(attempt, ExitReason.normal())
            return None
        except Exception as error:  # noqa: BLE001 - a failure of the activity, reported as such
            return Failed(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like end this worker, and no other
            self._report.fatal(error)
            return None
