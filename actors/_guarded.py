"""Runs users' functions off everybody's thread, so that none can hold up or break another.

A function that takes too long cannot be ended: its thread is written off, counted, and replaced. Calls with one key
take turns; where one holds up the others, they go ahead on another thread. Calls with different keys never wait for
each other for longer than that moment. Knows nothing of channels: an answer is a call of `on_answer`.
"""

from __future__ import annotations

import _thread
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Hashable
from queue import Empty
from typing import Any, Generic, TypeVar

import attrs

from ._guarded_calls import GuardedCall, Lane
from .runtime import Queue, Timer, runtime

__all__ = ["GuardedRunner", "OnePerProcess", "RunnerCounts"]

MAX_IDLE = 2
"""Threads that are kept for a moment when there is nothing to do."""

T = TypeVar("T")

_Hand = Queue
"""What a thread takes its calls from; None ends it."""


@attrs.frozen
class RunnerCounts:
    """What the runner has to report."""

    threads: int
    """All that there are, stuck ones included."""
    stuck: int
    """Threads inside a function that has taken too long."""
    late: int
    """Results that came after their time, and were ignored."""


class GuardedRunner:
    """Runs guarded calls. One for a process and a kind of function is enough: see `OnePerProcess`.

    No method ever waits for a lock: events are queued, and handled one at a time by whichever thread finds nobody
    handling them. So it may be used from a finaliser or a signal handler that broke into the runner itself.
    """

    serves = "functions"
    """What it runs, for its errors."""
    thread_name = "limen-guarded"

    def __init__(
        self,
        *,
        max_stuck: int = 16,
        max_stuck_in_all: int = 64,
        max_active: float = math.inf,
        idle_s: float = 2.0,
    ) -> None:
        """`max_stuck` bounds the stuck threads of one key, `max_stuck_in_all` those of all of them.

        `max_active` bounds the calls that run at a time, not counting those that have held up others for a moment.
        """
        self._max_stuck = max_stuck
        self._max_stuck_in_all = max_stuck_in_all
        self._max_active = max_active
        self._idle_s = idle_s
        self._events: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._turn = _thread.allocate_lock()
        self._answers: deque[tuple[GuardedCall, Any]] = deque()
        self._lanes: dict[Hashable, Lane] = {}
        self._held: dict[Hashable, None] = {}
        """Lanes that wait until fewer calls are active, in order."""
        self._idle: list[_Hand] = []
        self._active = self._threads = self._stuck = self._late = self._started = 0
        self._closed = False
        self._timer: Timer | None = None
        self._watch_s = 0.0

    def submit(self, call: GuardedCall) -> None:
        """Have the function called, and `on_answer` called exactly once with what came of it. Never blocks.

        `on_answer` runs on a thread of the runner, on the timer thread, or, when nothing can be started, on this one
        before this method returns. It must not block.
        """
        self._post(self._asked, call)

    def counts(self) -> RunnerCounts:
        """Report threads, and results that came too late."""
        return RunnerCounts(self._threads, self._stuck, self._late)

    def close(self) -> None:
        """End idle threads now and busy ones when they are done; refuse what waits and what comes. Does not wait."""
        self._post(self._close_asked, None)

    # --- events -------------------------------------------------------------------------------------------------

    def _post(self, handle: Callable[[Any], None], what: Any) -> None:
        """Queue an event, handle all there are unless somebody does, and tell the answers that came of them."""
        self._events.append((handle, what))
        while self._events and self._turn.acquire(blocking=False):
            try:
                while self._events:
                    each, argument = self._events.popleft()
                    each(argument)
            finally:
                self._turn.release()
        while self._answers:
            try:
                call, answer = self._answers.popleft()
            except IndexError:  # another thread tells it
                return
            call.answer(answer)

    def _asked(self, call: GuardedCall) -> None:
        lane = self._lanes.get(call.key)
        if lane is None:
            lane = self._lanes[call.key] = Lane(call.width)
        lane.waiting.append(call)
        self._advance(call.key)
        if lane.waiting:
            self._watch_by(lane.waiting[0].expires_s)

    def _returned(self, what: tuple[GuardedCall, _Hand]) -> None:
        """The function has returned, and the thread is free."""
        call, hand = what
        if self._lanes[call.key].over(call):
            self._stuck -= 1
            self._late += 1
            call.note_late()
        elif not call.overtaken:
            self._active -= 1
        self._idle.append(hand)
        self._advance(call.key)
        self._advance_held()
        if hand in self._idle and (self._closed or len(self._idle) > MAX_IDLE):
            self._end(hand)

    def _idled(self, hand: _Hand) -> None:
        """A thread has waited long enough; it may have got a call in the last instant."""
        if hand in self._idle:
            self._end(hand)

    def _watched(self, _: None) -> None:
        """Look at all there is: write off what has taken too long, and let nobody be held up."""
        self._timer = None
        now = runtime().now()
        for key, lane in list(self._lanes.items()):
            self._watch_lane(lane, now)
            self._advance(key)
        self._advance_held()
        due = [at_s for lane in self._lanes.values() for call in lane.running for at_s in call.looks_due()]
        due += [lane.waiting[0].expires_s for lane in self._lanes.values() if lane.waiting]
        if due:
            self._watch_by(min(due))

    def _watch_lane(self, lane: Lane, now: float) -> None:
        for call in [each for each in lane.running if not each.claimed and each.expires_s <= now]:
            if call.claim():
                self._write_off(lane, call)
        for call in lane.running:
            if not call.overtaken and call.patience_ends_s <= now:
                call.overtaken = True
                self._active -= 1
        for call in lane.pop_expired(now):
            call.claim()
            self._answers.append((call, call.timed_out()))

    def _close_asked(self, _: None) -> None:
        self._closed = True
        for hand in list(self._idle):
            self._end(hand)
        for key in list(self._lanes):
            self._advance(key)

    # --- what they do -------------------------------------------------------------------------------------------

    def _advance(self, key: Hashable) -> None:
        """Start what waits and may start; answer what cannot."""
        lane = self._lanes[key]
        while lane.waiting and (lane.is_open or self._closed):
            if self._active >= self._max_active and not self._closed:
                self._held[key] = None
                return
            call = lane.waiting.popleft()
            refusal = self._begin(lane, call)
            if refusal:
                self._answers.append((call, call.unavailable(refusal)))
        if lane.is_empty:
            del self._lanes[key]

    def _advance_held(self) -> None:
        """Let those go on that waited for others' calls to end."""
        while self._held and self._active < self._max_active:
            key = next(iter(self._held))
            del self._held[key]
            if key in self._lanes:
                self._advance(key)

    def _begin(self, lane: Lane, call: GuardedCall) -> str:
        """Give the call a thread, or say why there is none."""
        if self._closed:
            return f"the runner of {self.serves} is closed"
        max_stuck = self._max_stuck if call.max_stuck is None else call.max_stuck
        if len(lane.stuck) >= max_stuck:
            return f"{len(lane.stuck)} earlier calls of it are stuck"
        refusal = "" if self._idle else self._grow()
        if not refusal:
            call.started_s = runtime().now()
            lane.running.append(call)
            self._active += 1
            self._watch_by(min(call.looks_due()))
            self._idle.pop().put(call)
        return refusal

    def _grow(self) -> str:
        """Add an idle thread, or say why there is none."""
        if self._stuck >= self._max_stuck_in_all:
            return f"{self._stuck} threads are stuck in {self.serves}"
        self._started += 1
        hand: _Hand = runtime().create_queue()
        name = f"{self.thread_name}-{self._started}"
        try:
            runtime().start_thread(lambda: self._serve(hand), name)
        except RuntimeError as error:
            return str(error)
        self._threads += 1
        self._idle.append(hand)
        return ""

    def _end(self, hand: _Hand) -> None:
        self._idle.remove(hand)
        self._threads -= 1
        hand.put(None)

    def _write_off(self, lane: Lane, call: GuardedCall) -> None:
        lane.running.remove(call)
        lane.stuck.add(call)
        self._stuck += 1
        if not call.overtaken:
            self._active -= 1
        call.note_stuck(self._stuck)
        self._answers.append((call, call.timed_out()))

    def _watch_by(self, at_s: float) -> None:
        """See that the watchdog looks at this time at the latest."""
        if at_s == math.inf:
            return
        if self._timer is not None:
            if self._watch_s <= at_s:
                return
            self._timer.cancel()
        self._watch_s = at_s
        self._timer = runtime().call_later(at_s - runtime().now(), lambda: self._post(self._watched, None))

    # --- on the threads -----------------------------------------------------------------------------------------

    def _serve(self, hand: _Hand) -> None:
        while self._serve_one(hand):
            pass

    def _serve_one(self, hand: _Hand) -> bool:
        """Run one call, and keep nothing of it while waiting for the next; `False` at the end of the thread."""
        call = self._next(hand)
        if call is None:
            return False
        answer = call.evaluate()
        if call.claim():
            call.answer(answer)
        self._post(self._returned, (call, hand))
        return True

    def _next(self, hand: _Hand) -> GuardedCall | None:
        try:
            call: GuardedCall | None = hand.get(timeout=self._idle_s)
        except Empty:
            self._post(self._idled, hand)
            call = hand.get()
        return call


class OnePerProcess(Generic[T]):
    """Gives the one that this process shares, made when it is first asked for.

    A forked child gets its own, and so does each runtime that is installed in place of the standard one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._making = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def __call__(self) -> T:
        with self._making:
            shared = runtime().shared
            if self not in shared:
                shared[self] = self._make()
            made: T = shared[self]
            return made

    def _forget(self) -> None:
        """In a forked child: whoever held the lock is not there."""
        self._making = threading.RLock()
