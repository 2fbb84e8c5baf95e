"""Activities in child processes: one at a time in each, and a child's death costs no more than the one it ran.

One thread reads what all children say and notices their deaths, by event. Whoever submits writes to an idle child
directly. Children are started in the background, from a fork server where there is one, and one more than there are
slots is kept warm. Limits: the fork server has the environment it was started with; the user's main module must be
importable; one argument or result is smaller than 2 GiB.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any

from ...messages.activities import Failed
from ...messages.errors import UnpicklableError
from ...messages.grace import DEFAULT, Grace
from ...messages.lifecycle import ExitReason
from ...messages.supervision import RestartIntensity
from ...messages.supervision_errors import ChildStartFailed, SupervisorGaveUp
from .._supervision import RestartWindow
from ..attempt import Attempt, Handler, Report
from ..runtime import Timer, runtime
from . import _child
from ._begun import Begun
from ._children import SHARES_MEMORY, Child, ChildExited, ChildRow, ChildStarted, check_can_start
from ._crew import Crew, Entry
from ._framing import frame
from ._lines import Lines
from ._packing import (
    Item,
    RemoteTraceback,
    as_unpicklable,
    pack_attempt,
    packs_quickly,
    pickle_handlers,
    unpack_outcome,
)
from ._starter import FAILED_STARTS, Starter

__all__ = ["ChildExited", "ChildRow", "ChildStarted", "ProcessExecutor", "RemoteTraceback"]

logger = logging.getLogger("limen")

OnChildEvent = Callable[[ChildStarted | ChildExited], object]

_HANG_UP_S = 0.2
"""How long a child whose line is gone has until it is killed. Usually it is dead, and we are about to hear."""
_STUCK_S = 0.01
"""When a child has been with one activity for so long, what waits behind it is taken back."""
_PROGRESS_S = 0.05
"""How long after a child's report of progress it may send another."""
_TICK_S = 0.005
_PREFETCH = 256
"""How many short activities more than there are slots are accepted, for each slot."""
_REFILL = RestartIntensity(max_restarts=50, within_s=10.0)
"""How many deaths of children a worker survives."""


class ProcessExecutor:
    """Runs each attempt in one of `slots` child processes.

    Raises `UnpicklableError` at once for a handler that cannot travel to a child, such as a lambda. A child that is
    told to end by SIGTERM is killed after the grace, which also ends one that is stopped. `refill` bounds how
    often children are replaced; beyond it the worker as a whole fails with `SupervisorGaveUp`. `on_child_event` is
    called on the executor's thread and must not block.
    """

    name = "process"

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        slots: int,
        report: Report,
        name: str,
        *,
        grace: Grace = DEFAULT,
        refill: RestartIntensity = _REFILL,
        on_child_event: OnChildEvent | None = None,
    ) -> None:
        check_can_start()
        self._pickled = pickle_handlers(handlers)
        self._kinds = {activity_type: type(handler).__name__ for activity_type, handler in handlers.items()}
        self._numbers = {activity_type: number for number, activity_type in enumerate(handlers)}
        self._report = report
        self._name = name
        self._grace_s = grace.grace_s
        self._restarts = RestartWindow(refill)
        self._on_child_event = on_child_event
        self._now = runtime().now
        self.prefetch = 0
        """How many attempts beyond the slots are welcome; more than 0 only while all activities are short."""
        self._crew = Crew(slots, self._numbers)
        self._lock = threading.Lock()
        self._closed = False
        self._failed = False
        self._killing: Timer | None = None
        self._newcomers: deque[Child] = deque()
        self._telling = 0
        """The reader, while it tells of results: what it is given meanwhile is sent together."""
        self._watches = False
        """Whether something waits inside a child, behind what it runs."""
        self._begun = Begun(self._crew.positions) if SHARES_MEMORY else None
        self._lines = Lines()
        self._starter = Starter(
            name,
            self._crew,
            self._lock,
            start=self._start_child,
            landed=self._landed,
            done=self._lines.wake,
            failed=self._fail,
        )
        self._reader = threading.Thread(target=self._read, name=f"limen-process-{name}", daemon=True)
        self._reader.start()
        _living.add(self)
        self._starter.start_lacking()

    # --- what the worker and the channel call: any thread, never blocks -----------------------------------------------

    def submit(self, attempt: Attempt) -> None:
        """Run it as soon as a slot is there. After `close` it does nothing."""
        number = self._numbers.get(attempt.activity_type)
        if number is None:
            self._finish(attempt, Failed(KeyError(attempt.activity_type)))
            return
        request = attempt.request
        item = pack_attempt(attempt, request, number) if packs_quickly(request) else None
        with self._lock:
            if self._closed:
                return
            crew = self._crew
            if item is not None and crew.idle and not crew.waiting and get_ident() != self._telling:
                child = crew.idle.pop()
                is_sent = self._send(child, [attempt], frame((child.next_number, [item])))
            else:
                crew.waiting.append((attempt, item))
                is_sent = not crew.idle
        if not is_sent:
            self._lines.wake()

    def cancel(self, attempt: Attempt) -> None:
        """Drop it if it waits, end the child that runs it. It is reported as returned or crashed, to free its slot.

        One that waits inside a child is asked back, and looked after again a moment later: it may have begun meanwhile.
        """
        with self._lock:
            waited = self._crew.remove_waiting(attempt)
            child = None if waited else self._crew.holder(attempt)
            if child is not None and not child.ending:
                self._stop(child, attempt)
        if waited:
            self._report.returned(attempt, ExitReason.killed("cancelled"))
        self._starter.start_lacking()

    def _stop(self, child: Child, attempt: Attempt) -> None:
        """Stop an attempt that a child has. With the lock."""
        number = child.running()
        if (child.first() if number is None else child.sent[number]) is not attempt:
            if not child.recalled:
                child.recall()
            runtime().call_later(_STUCK_S, lambda: self.cancel(attempt))
            return
        child.cancelled = attempt
        child.ending = True
        self._crew.withdraw(child)
        child.call_off()
        child.terminate()
        runtime().call_later(self._grace_s, lambda: self._kill(child))

    def children(self) -> tuple[ChildRow, ...]:
        """Describe the child processes now alive, the spare included."""
        with self._lock:
            return self._crew.rows()

    def close(self) -> None:
        """Take no more work and end the children: idle ones at once, busy ones by SIGTERM, the rest by SIGKILL."""
        with self._lock:
            if self._closed:
                return
            self._closed = self._starter.closed = True
            self.prefetch = 0
            self._crew.waiting.clear()
            self._crew.idle.clear()
            for child in self._crew.children:
                child.dismiss()
            if self._crew.children or self._starter.is_busy:
                self._killing = runtime().call_later(self._grace_s, self._kill_all)
        self._lines.wake()

    def wait_closed(self, timeout_s: float) -> bool:
        """Block until all children, threads and files are gone, at most so long; `False` if some are left."""
        if self._reader is not threading.current_thread():
            self._reader.join(timeout_s)
        return not self._reader.is_alive()

    # --- starting children: see `_starter` ----------------------------------------------------------------------------

    def _start_child(self, name: str, position: int) -> Child:
        return Child.start(name, self._pickled, self._begun, position, self._name)

    def _landed(self, child: Child) -> None:
        """Take in a child that was just started. With the lock."""
        self._crew.children.add(child)
        self._newcomers.append(child)
        if self._closed:
            child.dismiss()

    # --- the reader ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:
            logger.exception("the reader of %s failed", self._name)
            self._fail(error)
            self._kill_all()
        finally:
            self._clean_up()

    def _turn(self) -> bool:
        """Wait for something to happen and deal with it; `False` when all is over."""
        for child, happening in self._lines.wait(_TICK_S if self._watches else None):
            if child not in self._crew.children:
                continue  # its end came first
            if happening == "said":
                self._listen(child)
            elif happening == "ended":
                self._died(child)
            else:
                self._flush(child)
        if self._watches:
            self._take_back_stuck()
        return self._attend() if self._lines.attention else True

    def _attend(self) -> bool:
        """Deal with what other threads left for this one; `False` when all is over."""
        self._lines.attention = False
        while self._newcomers:
            self._lines.add(self._newcomers.popleft())
        self._pump()
        self._lines.await_rooms()
        with self._lock:
            return not self._closed or bool(self._crew.children) or self._starter.is_busy

    def _flush(self, child: Child) -> None:
        with self._lock:
            flushed = child.flush()
        if flushed:
            self._lines.room_made(child)

    def _listen(self, child: Child) -> None:
        try:
            messages = child.incoming.receive()
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self._line_lost(child)
            return
        results = []
        for message in messages:
            if type(message) is list:
                results += message
            elif message[0] == _child.PROGRESS:
                self._progressed(child, *message[1:])
            else:
                self._heed(child, message)
        if results:
            self._results(child, results)

    # --- what children say --------------------------------------------------------------------------------------------

    def _heed(self, child: Child, message: Any) -> None:
        if type(message) is list:
            self._results(child, message)
            return
        self._lines.attention = True
        match message:
            case (_child.READY,):
                self._ready(child)
            case (_child.RETURNED, numbers):
                with self._lock:
                    self._crew.take_back(child, numbers, self._now())
            case (_child.DYING, _, type_name, text):
                child.last_words = (type_name, text)
            case (_child.UNFIT, activity_type, _, text):
                error = UnpicklableError("activity", self._kinds[activity_type], activity_type)
                error.__cause__ = RemoteTraceback(text)
                self._fail(error)

    def _ready(self, child: Child) -> None:
        with self._lock:
            self._starter.failures = 0
            self._crew.ready(child)
        self._tell(ChildStarted(child.pid))

    def _progressed(self, child: Child, number: int, packed: bytes) -> None:
        """Take a report, and ask for the next one after a moment, so that they never pile up."""
        attempt = child.sent.get(number)
        if attempt is not None:
            self._report.progressed(attempt, packed)
        runtime().call_later(_PROGRESS_S, child.ask_progress)

    def _results(self, child: Child, results: list[Any]) -> None:
        """Give the child its next work first, then tell of what it has done."""
        crew = self._crew
        with self._lock:
            attempts = crew.settle(child, results, self._now())
            self.prefetch = _PREFETCH * crew.slots if crew.pace.is_steady and not self._closed else 0
        if crew.waiting:
            self._pump()
        self._telling = get_ident()
        finished = self._report.finished
        following = []
        for attempt, (_, _, kind, body, more) in zip(attempts, results, strict=True):
            if attempt is None:
                continue
            try:
                after = finished(attempt, unpack_outcome(kind, body, more, attempt))
            except Exception:
                logger.exception("a result of %s was not taken", self._name)
            else:
                if after is not None:
                    following.append((after, None))
        self._telling = 0
        if following:
            with self._lock:
                crew.waiting.extend(following)
        self._pump()

    def _finish(self, attempt: Attempt, result: Failed) -> None:
        """Tell that an attempt failed before it got to a child."""
        after = self._report.finished(attempt, result)
        if after is None:
            return
        with self._lock:
            self._crew.waiting.append((after, None))
        self._lines.wake()

    # --- handing out work ---------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Give what waits to those that can take it."""
        while self._crew.waiting:
            with self._lock:
                dropped = self._crew.drop_decided()
                picked = self._crew.pick()
            for attempt in dropped:
                self._report.returned(attempt, ExitReason.normal())
            if picked is None:
                return
            self._give(*picked)

    def _give(self, child: Child, entries: list[Entry]) -> None:
        attempts, items = self._pack(entries)
        pieces = self._frame(child, attempts, items)
        with self._lock:
            if self._closed:
                return
            if child.ending or not child.hears:
                self._crew.put_back(attempts)
            elif attempts:
                self._send(child, attempts, pieces)
            else:
                self._crew.free(child, self._now())

    def _pack(self, entries: list[Entry]) -> tuple[list[Attempt], list[Item]]:
        attempts, items = [], []
        for attempt, packed in entries:
            try:
                item = packed or pack_attempt(attempt, attempt.request, self._numbers[attempt.activity_type])
            except BaseException as error:  # noqa: BLE001 - a pickle of the user's may raise anything
                self._finish(attempt, Failed(as_unpicklable(error, attempt)))
            else:
                attempts.append(attempt)
                items.append(item)
        return attempts, items

    def _frame(self, child: Child, attempts: list[Attempt], items: list[Item]) -> list[bytes]:
        try:
            return frame((child.next_number, items))
        except ValueError as error:  # 2 GiB or more
            for attempt in attempts:
                self._finish(attempt, Failed(as_unpicklable(error, attempt)))
            attempts.clear()
            return []

    def _send(self, child: Child, attempts: list[Attempt], pieces: list[bytes]) -> bool:
        """Send; `False` if the reader has to see to the rest. With the lock, by whoever the child is given to."""
        self._crew.hold(child, attempts, self._now())
        if len(child.sent) > 1:
            self._watches = True
        if child.write(pieces):
            return True
        self._lines.await_room(child)
        return False

    def _take_back_stuck(self) -> None:
        """Ask for what waits behind an activity that takes longer than such activities did so far."""
        now_s = time.monotonic()
        with self._lock:
            holding = [child for child in self._crew.serving if len(child.sent) > 1]
            self._watches = bool(holding)
            for child in holding:
                number = child.running()
                if number is None or number != child.seen or child.recalled:
                    child.seen, child.seen_s = number, now_s
                elif now_s - child.seen_s > _STUCK_S:
                    child.holds_long = True
                    child.recall()

    # --- deaths -------------------------------------------------------------------------------------------------------

    def _line_lost(self, child: Child) -> None:
        """Give it no more; its death is near, and if it is not, we see to it."""
        self._lines.line_lost(child)
        with self._lock:
            child.hears = False
            self._crew.withdraw(child)
        self._lines.attention = True
        if sys.platform == "win32":
            child.join(self._grace_s)
            self._died(child)
            return
        # Its successor waits for the news of its death: the fork server would be busy forking, and tell us later.
        runtime().call_later(_HANG_UP_S, lambda: self._kill(child))

    def _died(self, child: Child) -> None:
        with self._lock:
            child.hears = False
        with contextlib.suppress(EOFError, OSError):
            for message in child.messages():
                if type(message) is tuple and message[0] == _child.PROGRESS:
                    self._progressed(child, *message[1:])
                else:
                    self._heed(child, message)
        reason = child.exit_reason()
        with self._lock:
            guilty = self._crew.bury(child)
            activity_type = guilty.activity_type if guilty is not None else None
        self._lines.remove(child)
        child.release()
        self._pump()
        if guilty is not None and not self._closed:
            cancelled = guilty is child.cancelled
            self._report.crashed(guilty, ExitReason.killed("cancelled") if cancelled else reason)
        self._tell(ChildExited(child.pid, reason, activity_type))
        if not child.ending:
            self._count_death(child, reason)
        self._starter.start_lacking()
        self._lines.attention = True

    def _count_death(self, child: Child, reason: ExitReason) -> None:
        if not child.ready:
            self._starter.failures += 1
        if self._starter.failures >= FAILED_STARTS:
            self._fail(ChildStartFailed(self._name, str(reason)))
        limit = self._restarts.limit
        if self._restarts.passed_by(self._now()):
            self._fail(SupervisorGaveUp(self._name, str(reason), limit.max_restarts, limit.within_s))

    def _kill(self, child: Child) -> None:
        with self._lock:
            if child in self._crew.children:
                child.kill()

    def _kill_all(self) -> None:
        with self._lock:
            for child in self._crew.children:
                child.kill()
            if self._starter.is_busy:
                self._killing = runtime().call_later(self._grace_s, self._kill_all)

    def _fail(self, error: BaseException) -> None:
        """Give up as a whole."""
        with self._lock:
            if self._failed or self._closed:
                return
            self._failed = True
        try:
            self._report.fatal(error)
        finally:
            self.close()

    def _tell(self, event: ChildStarted | ChildExited) -> None:
        if self._on_child_event is None:
            return
        try:
            self._on_child_event(event)
        except Exception:
            logger.exception("a listener failed to take an event of a child process")

    # --- the end ------------------------------------------------------------------------------------------------------

    def _clean_up(self) -> None:
        if self._killing is not None:
            self._killing.cancel()
        self._free_files()

    def _free_files(self) -> None:
        self._lines.close()
        if self._begun is not None:
            self._begun.close()

    def _leave_to_parent(self) -> None:
        """Let go of everything in a forked copy of this process: the children are not its own."""
        self._lock = threading.Lock()
        self._closed = True
        self._starter.leave_to_parent(self._lock)
        for child in self._crew.children:
            child.close_lines()
        self._crew.children.clear()
        self._free_files()


_living: weakref.WeakSet[ProcessExecutor] = weakref.WeakSet()


def _leave_all_to_parent() -> None:
    for executor in list(_living):
        executor._leave_to_parent()  # noqa: SLF001 - this module's own
    _living.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parent)
