"""Activities on threads: as many as there are slots, started when they are first needed, fed from one queue."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ...messages.activities import Completed
from ...messages.grace import DEFAULT, Grace
from ...messages.lifecycle import ExitReason
from .._current import Place
from ..attempt import Attempt, Handler, Report
from ..runtime import Thread, here, runtime
from ._abandoned import Abandoned
from ._local_run import LocalRun
from ._running import failure, handler_for

logger = logging.getLogger("limen")


class Slot(Place):
    """A thread of the executor's, and what runs on it."""

    __slots__ = ("called_off", "thread")

    thread: Thread

    def __init__(self, open_run: Callable[[Attempt], LocalRun]) -> None:
        super().__init__(open_run)
        self.called_off = False
        """Whether something that ran here was called off, so that the thread may have been abandoned."""


_NO_PLACES: list[Slot] = []
"""The threads of an executor that has not needed any; nothing is ever put here."""


class ThreadExecutor:
    """Runs each attempt on one of its threads.

    A thread cannot be ended from outside. An activity that is called off is told, by `current().cancelled`; if it still
    runs after the grace its thread is abandoned: another takes its place, and what it brings is fenced off. The threads
    are daemons and do not hold the process.
    """

    name = "thread"
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
        self._places = _NO_PLACES
        """All threads but those that are abandoned."""
        self._closed = False
        self._entry: Any = None
        """The worker, as its channel knows it."""
        self._is_furnished = False

    def _furnish(self) -> None:
        """Make what threads need, with the first of them: many workers wait long for their first attempt."""
        self._places = []
        self._runs = {name: _run_by(handler) for name, handler in self._handlers.items()}
        self._queue = self._runtime.create_queue()
        self._abandoned: Abandoned[Slot] = Abandoned(self._grace, self._name)
        self._lock = self._runtime.create_rlock()
        """For who is there and who is abandoned."""
        self._numbers = itertools.count(1)
        self._now = self._runtime.now
        self._is_furnished = True

    @property
    def abandoned(self) -> int:
        """How many threads run something that nobody waits for, with another in their place."""
        return len(self._abandoned) if self._is_furnished else 0

    def submit(self, attempt: Attempt) -> None:
        """Queue it. Called on the channel's turn, by one thread at a time."""
        if self._closed:
            return
        self._entry = attempt.entry
        places = self._places
        if places is _NO_PLACES:
            self._furnish()
            places = self._places
        self._queue.put(attempt)
        if len(places) < self._slots and len(places) < len(attempt.entry.attempts):
            self._add_thread()

    def nudge(self) -> None:
        """Wake an idle thread to look into the channel's tray."""
        self._queue.put(_NUDGE)

    def cancel(self, attempt: Attempt) -> None:
        """Tell it, and abandon its thread if it still runs after the grace. A queued attempt is passed over."""
        place = next((each for each in tuple(self._places) if each.work is attempt), None)
        if place is not None:
            place.called_off = True
            place.ring()
            self._runtime.call_later(self._grace.grace_s, lambda: self._give_up(place, attempt))

    def close(self) -> None:
        """Let every thread end after what it runs now; what is queued never begins."""
        self._closed = True
        if self._is_furnished:
            self._queue.put(None)

    def wake(self) -> None:
        """Tell all that run that they are cancelled: the worker has left, and what it held was given to others."""
        for place in self._all_places():
            place.ring()

    def wait_closed(self, timeout_s: float) -> bool:
        """Block until all threads have ended, at most so long; `False` if an activity still runs."""
        threads = [place.thread for place in self._all_places()]
        if not threads:
            return True
        deadline_s = self._now() + timeout_s
        others = [thread for thread in threads if thread.ident != threading.get_ident()]
        for thread in others:
            thread.join(max(0.0, deadline_s - self._now()))
        return not any(thread.is_alive() for thread in others)

    # --- who is there ---------------------------------------------------------------------------------------------

    def _all_places(self) -> tuple[Slot, ...]:
        return (*self._places, *self._abandoned.all()) if self._is_furnished else ()

    def _add_thread(self) -> None:
        with self._lock:
            problem = self._start_thread()
            is_alone = not self._places
        if problem is not None and is_alone:
            self._report.fatal(problem)
        # Else what is queued is for the threads that there are, and the next one tries again.

    def _start_thread(self) -> RuntimeError | None:
        """Start one more; give the error if the system has no more threads to give."""
        place = Slot(self._open_run)
        try:
            place.thread = self._runtime.start_thread(
                lambda: self._work(place), f"limen-{self._name}-{next(self._numbers)}"
            )
        except RuntimeError as error:
            return error
        self._places.append(place)
        return None

    def _give_up(self, place: Slot, attempt: Attempt) -> None:
        """Abandon a thread that goes on with what was called off, if that is borne; another is started in its place."""
        with self._lock:
            if self._closed or place.work is not attempt or place in self._abandoned:
                return
            if not self._abandoned.has_room() or self._start_thread() is not None:
                self._abandoned.keep(place, attempt)
                return
            self._places.remove(place)
            self._abandoned.add(place, attempt)
        self._report.returned(attempt, ExitReason.normal())

    def _ends_here(self, place: Slot) -> bool:
        """Say whether this thread was abandoned: then it ends, and makes room for another. Called by itself."""
        with self._lock:
            place.called_off = False
            was_abandoned = self._abandoned.ended(place)
            following = self._abandoned.next_kept()
        if following is not None:
            self._give_up(*following)
        return was_abandoned

    def _open_run(self, attempt: Attempt) -> LocalRun:
        """Make what an attempt's activity sees of it. Called by the activity."""
        return LocalRun(attempt, self._report)

    # --- on a thread ------------------------------------------------------------------------------------------------

    def _work(self, place: Slot) -> None:
        """What happens on a thread, from its first attempt to its last."""
        here.place = place
        try:
            self._run_all(place)
        finally:
            here.place = None

    def _run_all(self, place: Slot) -> None:
        # Whoever calls an attempt off claims it, and then looks for it at the places. So a thread says what it has
        # before it looks whether that is claimed, and that it is through before it looks whether it was found there.
        get, finished, runs, now = self._queue.get, self._report.finished, self._runs, self._now
        attempt: Any = get()
        while attempt is not None and not self._closed:
            if attempt is _NUDGE:
                attempt = self._report.look(self._entry) or get()
                continue
            place.work = attempt
            if attempt.claimed:
                place.work = None
                self._report.returned(attempt, ExitReason.normal())
                attempt = None
            else:
                attempt.started_s = now()
                conversation = attempt.conversation
                try:
                    run = runs.get(conversation.activity_type) or handler_for(runs, conversation.activity_type)
                    result: Any = run(conversation)
                except Exception as error:  # noqa: BLE001 - a failure of the activity, reported as such
                    result = failure(error)
                except BaseException as error:  # noqa: BLE001 - SystemExit and the like end this worker, and no other
                    self._leave(place, attempt, error)
                    return
                place.work = None
                attempt = finished(attempt, result)
            if attempt is None:
                conversation = result = place.run = None  # an idle thread keeps nothing alive
                if place.called_off and self._ends_here(place):
                    return
                attempt = get()
        self._queue.put(None)  # for the next thread

    def _leave(self, place: Slot, attempt: Attempt, error: BaseException) -> None:
        """End the worker; one that was abandoned ends alone."""
        place.work = None
        if place.called_off and self._ends_here(place):
            logger.warning("worker %s: an abandoned run of %r ended: %r", self._name, attempt.activity_type, error)
            return
        self._report.fatal(error, attempt)


_NUDGE = object()


def _run_by(handler: Handler) -> Callable[[Any], Completed]:
    """Give the handler's own way to run a conversation, or the general one."""
    runner: Callable[[], Callable[[Any], Completed]] | None = getattr(handler, "runner", None)
    return runner() if runner is not None else lambda conversation: Completed(handler(conversation.request))
