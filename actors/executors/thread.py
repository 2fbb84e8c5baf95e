"""Activities on threads: as many as there are slots, started when they are first needed, fed from one queue."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from ...messages.activities import Completed
from ...messages.lifecycle import ExitReason
from .._current import Place
from ..attempt import Attempt, Handler, Report
from ..runtime import Thread, here, runtime
from ._local_run import LocalRun
from ._running import failure, handler_for


class ThreadExecutor:
    """Runs each attempt on one of its threads.

    A thread cannot be ended from outside: after `cancel` and `close` an activity that runs goes on, and its result is
    fenced off. Its threads are daemons and do not hold the process.
    """

    name = "thread"
    prefetch = 0

    def __init__(self, handlers: Mapping[str, Handler], slots: int, report: Report, name: str) -> None:
        self._runs = {name: _run_by(handler) for name, handler in handlers.items()}
        self._slots = slots
        self._report = report
        self._name = name
        self._runtime = runtime()
        self._queue = self._runtime.create_queue()
        self._threads: list[Thread] = []
        self._places: list[Place] = []
        self._now = self._runtime.now
        self._closed = False

    def submit(self, attempt: Attempt) -> None:
        """Queue it. Called on the channel's turn, by one thread at a time."""
        if self._closed:
            return
        self._queue.put(attempt)
        if len(self._threads) < self._slots and len(self._threads) < len(attempt.entry.attempts):
            self._start_thread()

    def nudge(self) -> None:
        """Wake an idle thread to look into the channel's tray."""
        self._queue.put(_NUDGE)

    def cancel(self, attempt: Attempt) -> None:
        """Tell it: a queued attempt is passed over, a running one cannot be ended."""
        for place in self._places:
            if place.work is attempt:
                place.ring()

    def close(self) -> None:
        """Let every thread end after what it runs now; what is queued never begins."""
        self._closed = True
        self._queue.put(None)
        for place in tuple(self._places):
            place.ring()

    def wait_closed(self, timeout_s: float) -> bool:
        """Block until all threads have ended, at most so long; `False` if an activity still runs."""
        deadline_s = self._now() + timeout_s
        others = [thread for thread in list(self._threads) if thread.ident != threading.get_ident()]
        for thread in others:
            thread.join(max(0.0, deadline_s - self._now()))
        return not any(thread.is_alive() for thread in others)

    def _start_thread(self) -> None:
        number = len(self._threads) + 1
        try:
            place = Place(self._open_run)
            thread = self._runtime.start_thread(lambda: self._work(place), f"limen-{self._name}-{number}")
        except RuntimeError as error:  # the system has no more threads to give
            if not self._threads:
                self._report.fatal(error)
            return  # what is queued is for the threads that there are, and the next one tries again
        self._threads.append(thread)
        self._places.append(place)

    def _open_run(self, attempt: Attempt) -> LocalRun:
        """Make what an attempt's activity sees of it. Called by the activity."""
        return LocalRun(attempt, self._report, lambda: self._closed)

    def _work(self, place: Place) -> None:
        """What happens on a thread, from its first attempt to its last."""
        here.place = place
        try:
            self._run_all(place)
        finally:
            here.place = None

    def _run_all(self, place: Place) -> None:
        get, finished, runs, now = self._queue.get, self._report.finished, self._runs, self._now
        attempt: Any = get()
        while attempt is not None and not self._closed:
            if attempt is _NUDGE:
                self._report.look()
                attempt = get()
                continue
            if attempt.claimed:
                self._report.returned(attempt, ExitReason.normal())
                attempt = get()
                continue
            attempt.started_s = now()
            place.work = attempt
            conversation = attempt.conversation
            try:
                run = runs.get(conversation.activity_type) or handler_for(runs, conversation.activity_type)
                result: Any = run(conversation)
            except Exception as error:  # noqa: BLE001 - a failure of the activity, reported as such
                result = failure(error)
            except BaseException as error:  # noqa: BLE001 - SystemExit and the like end this worker, and no other
                self._report.fatal(error, attempt)
                return
            place.work = None
            attempt = finished(attempt, result)
            if attempt is None:
                conversation = result = place.run = None  # an idle thread keeps nothing alive
                attempt = get()
        self._queue.put(None)  # for the next thread


_NUDGE = object()


def _run_by(handler: Handler) -> Callable[[Any], Completed]:
    """Give the handler's own way to run a conversation, or the general one."""
    run: Callable[[Any], Completed] | None = getattr(handler, "run", None)
    return run or (lambda conversation: Completed(handler(conversation.request)))
