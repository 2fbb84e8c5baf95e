"""Activities as coroutines: one event loop on one thread for each worker."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from ...messages.activities import Completed, Failed
from ...messages.errors import ActivityCancelled
from ...messages.grace import DEFAULT, Grace
from ...messages.lifecycle import ExitReason
from .._current import TASK
from ..attempt import Attempt, Handler, Report
from ..runtime import Thread, runtime
from ._abandoned import Abandoned
from ._local_run import LocalRun
from ._running import failure, handler_for

logger = logging.getLogger("limen")


class AsyncioExecutor:
    """Runs each attempt as a task of its loop. The loop's thread starts with the first attempt.

    A coroutine that is cancelled and does not end within the grace is abandoned: its slot is given to another, and what
    it brings is fenced off. One that blocks its loop holds up all others, and the grace with them.
    """

    name = "asyncio"
    prefetch = 0

    def __init__(
        self, handlers: Mapping[str, Handler], slots: int, report: Report, name: str, *, grace: Grace = DEFAULT
    ) -> None:
        self._handlers = handlers
        self._slots = slots
        self._report = report
        self._name = name
        self._grace = grace
        self._runtime = runtime()
        self._now = self._runtime.now
        # Reentrant: a finaliser may end the worker in the middle of anything.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._tasks: dict[Attempt, asyncio.Task[Completed | Failed | None]] = {}
        self._runs: dict[Attempt, LocalRun] = {}
        """Of those that run now and count."""
        self._abandoned: Abandoned[asyncio.Task[Any]] = Abandoned(grace, name)
        self._closed = False

    @property
    def abandoned(self) -> int:
        """How many coroutines run that nobody waits for, with their slots given to others."""
        return len(self._abandoned)

    def submit(self, attempt: Attempt) -> None:
        """Start it as a task on the loop."""
        with self._lock:
            if self._closed:
                return
            try:
                loop = self._loop or self._start_loop()
            except RuntimeError as error:  # the system has no more threads to give
                problem = error
            else:
                loop.call_soon_threadsafe(self._begin, attempt)
                return
        self._report.fatal(problem)

    def cancel(self, attempt: Attempt) -> None:
        """Cancel its task: the coroutine sees `CancelledError` at its next await."""
        run = self._runs.get(attempt)
        if run is not None:  # what it has started on other threads hears of it even while the loop is busy
            run.ring()
        with self._lock:
            if self._loop is not None and not self._closed:
                self._loop.call_soon_threadsafe(self._cancel, attempt)

    def close(self) -> None:
        """Cancel all tasks and let the loop end."""
        with self._lock:
            already, self._closed = self._closed, True
            if self._loop is not None and not already:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def wake(self) -> None:
        """Tell all that run that they are cancelled, and so the threads to which they have handed something."""
        for run in tuple(self._runs.values()):
            run.ring()

    def wait_closed(self, timeout_s: float) -> bool:
        """Block until the loop's thread has ended, at most so long; `False` if a coroutine holds it."""
        thread = self._thread
        if thread is None or thread.ident == threading.get_ident():
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    # --- the loop's thread --------------------------------------------------------------------------------------

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._runtime.create_event_loop()
        try:
            thread = self._runtime.start_thread(lambda: self._live(loop), f"limen-{self._name}-loop")
        except RuntimeError:
            loop.close()
            raise
        self._loop, self._thread = loop, thread
        return loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._closed:
                self._run_until_stopped(loop)
            loop.call_soon(loop.stop)  # takes with it the one stop that may still be on its way
            self._run_until_stopped(loop)
            loop.run_until_complete(self._wind_up(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
        except BaseException:
            logger.exception("the event loop of worker %s did not end in good order", self._name)
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def _run_until_stopped(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run; a task of the user's own that raises `SystemExit` or the like ends this worker, and no other."""
        try:
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - as above
            with self._lock:
                self._closed = True
            self._report.fatal(error)

    async def _wind_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel all tasks, those that activities have started too, and abandon those that will not have it."""
        tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
        for task in tasks:
            task.cancel()
        stubborn: Iterable[Any] = (await asyncio.wait(tasks, timeout=self._grace.grace_s))[1] if tasks else ()
        for task in stubborn:
            logger.warning("worker %s: a coroutine does not end although it was cancelled; it is abandoned", self._name)
            # It has just been logged.
            task._log_destroy_pending = False  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]

    # --- one attempt, on the loop -------------------------------------------------------------------------------

    def _begin(self, attempt: Attempt | None) -> None:
        assert self._loop is not None, "it runs this"
        if attempt is None or self._closed:
            return
        if attempt.claimed:
            self._report.returned(attempt, ExitReason.normal())
            return
        self._runs[attempt] = LocalRun(attempt, self._report)
        task = self._tasks[attempt] = self._loop.create_task(self._result_of(attempt))
        task.add_done_callback(lambda done: self._ended(attempt, done))

    def _cancel(self, attempt: Attempt) -> None:
        assert self._loop is not None, "it runs this"
        task = self._tasks.get(attempt)
        if task is not None:
            task.cancel()
            self._loop.call_later(self._grace.grace_s, self._give_up, attempt)

    def _give_up(self, attempt: Attempt) -> None:
        """Abandon a coroutine that goes on although it was cancelled, as long as that is borne."""
        task = self._tasks.get(attempt)
        if task is None or self._closed:
            return
        if not self._abandoned.has_room():
            self._abandoned.keep(task, attempt)
            return
        del self._tasks[attempt], self._runs[attempt]
        self._abandoned.add(task, attempt)
        self._report.returned(attempt, ExitReason.normal())

    def _ended(self, attempt: Attempt, task: asyncio.Task[Completed | Failed | None]) -> None:
        """Report, also for a task that was cancelled before its first step."""
        self._tasks.pop(attempt, None)
        self._runs.pop(attempt, None)
        self._abandoned.ended(task)
        following = self._abandoned.next_kept()
        if following is not None:
            self._give_up(following[1])
        if task.cancelled():
            self._cancelled(attempt)
        elif (result := task.result()) is not None:
            self._begin(self._report.finished(attempt, result))

    def _cancelled(self, attempt: Attempt) -> None:
        if attempt.claimed:
            self._report.returned(attempt, ExitReason.normal())
        elif not self._closed:
            cancelled = ActivityCancelled(attempt.request.activity_type, "the activity cancelled itself")
            self._report.finished(attempt, Failed(cancelled))

    async def _result_of(self, attempt: Attempt) -> Completed | Failed | None:
        """Await the activity; `None` when the worker dies of it."""
        attempt.started_s = self._now()  # not before: others on the loop may have kept it from its first step
        TASK.set(self._runs[attempt])
        try:
            return Completed(await handler_for(self._handlers, attempt.request.activity_type)(attempt.request))
        except Exception as error:  # noqa: BLE001 - a failure of the activity, reported as such
            return failure(error)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like end this worker, and no other
            if attempt in self._tasks:
                self._report.fatal(error, attempt)
            else:
                logger.warning("worker %s: an abandoned run of %r ended: %r", self._name, attempt.activity_type, error)
            return None
