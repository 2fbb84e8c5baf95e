"""Runs users' routing functions off everybody's thread, so that none can hold up or break another.

A function that takes too long cannot be ended: its thread is written off, counted, and replaced. Calls of one function
take turns; where one holds up the others, they go ahead on another thread. Different functions never wait for each
other. Knows nothing of channels: an answer is a call of `on_answer`.
"""

from __future__ import annotations

import _thread
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any

import attrs

from ..messages.pool import ConsumerStateView
from ..messages.routing import RoutingMessage
from ._routing_calls import Chosen, Lane, OnAnswer, RoutingAnswer, RoutingCall, RoutingFailed
from .router_loader import LoadedRouter
from .runtime import Timer, runtime

__all__ = ["Chosen", "RouterRunner", "RoutingAnswer", "RoutingFailed", "RunnerCounts", "router_runner"]

logger = logging.getLogger("limen")

MAX_IDLE = 2
"""Threads that are kept for a moment when there is nothing to do."""

_Hand = SimpleQueue[RoutingCall | None]
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


class RouterRunner:
    """Runs routing functions. One for a process is enough: see `router_runner`.

    No method ever waits for a lock: events are queued, and handled one at a time by whichever thread finds nobody
    handling them. So it may be used from a finaliser or a signal handler that broke into the runner itself.
    """

    def __init__(self, *, max_stuck: int = 16, max_stuck_in_all: int = 64, idle_s: float = 2.0) -> None:
        """`max_stuck` bounds the stuck threads of one function, `max_stuck_in_all` those of all of them."""
        self._max_stuck = max_stuck
        self._max_stuck_in_all = max_stuck_in_all
        self._idle_s = idle_s
        self._events: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._turn = _thread.allocate_lock()
        self._answers: deque[tuple[RoutingCall, RoutingAnswer]] = deque()
        self._lanes: dict[str, Lane] = {}
        self._idle: list[_Hand] = []
        self._threads = self._stuck = self._late = self._started = 0
        self._closed = False
        self._timer: Timer | None = None
        self._watch_s = 0.0

    def evaluate(
        self,
        loaded: LoadedRouter,
        message: RoutingMessage,
        views: Iterable[ConsumerStateView],
        limit_s: float | None,
        on_answer: OnAnswer,
        *,
        channel_name: str = "",
        workflow_id: str = "",
    ) -> None:
        """Have the function called, and `on_answer` called exactly once with what came of it. Never blocks.

        `on_answer` runs on a thread of the runner, on the timer thread, or, when nothing can be started, on this one
        before this method returns. It must not block. The limit counts from the moment the function has a thread;
        `None` takes the one it was loaded with. The two names only go into errors.
        """
        call = RoutingCall(
            loaded=loaded,
            message=message,
            views=tuple(views),
            limit_s=loaded.limit_s if limit_s is None else limit_s,
            on_answer=on_answer,
            channel_name=channel_name,
            workflow_id=workflow_id,
        )
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

    def _asked(self, call: RoutingCall) -> None:
        lane = self._lanes.setdefault(call.loaded.hash, Lane())
        lane.waiting.append(call)
        self._advance(call.loaded.hash)

    def _returned(self, what: tuple[RoutingCall, _Hand]) -> None:
        """The function has returned, and the thread is free."""
        call, hand = what
        if self._lanes[call.loaded.hash].over(call):
            self._stuck -= 1
            self._late += 1
            logger.warning("routing function %s returned late; its result is ignored", call.loaded.hash)
        self._idle.append(hand)
        self._advance(call.loaded.hash)
        if hand in self._idle and (self._closed or len(self._idle) > MAX_IDLE):
            self._end(hand)

    def _idled(self, hand: _Hand) -> None:
        """A thread has waited long enough; it may have got a call in the last instant."""
        if hand in self._idle:
            self._end(hand)

    def _watched(self, _: None) -> None:
        """Look at all that runs: write off what has taken too long, and let nobody be held up."""
        self._timer = None
        now = runtime().now()
        for hashed, lane in list(self._lanes.items()):
            for call in [each for each in lane.running if not each.claimed and each.expires_s <= now]:
                if call.claim():
                    self._write_off(lane, call)
            for call in lane.running:
                call.overtaken = call.overtaken or call.patience_ends_s <= now
            self._advance(hashed)
        due = [at_s for lane in self._lanes.values() for call in lane.running for at_s in call.looks_due()]
        if due:
            self._watch_by(min(due))

    def _close_asked(self, _: None) -> None:
        self._closed = True
        for hand in list(self._idle):
            self._end(hand)
        for hashed in list(self._lanes):
            self._advance(hashed)

    # --- what they do -------------------------------------------------------------------------------------------

    def _advance(self, hashed: str) -> None:
        """Start what waits and may start; answer what cannot."""
        lane = self._lanes[hashed]
        while lane.waiting and (lane.is_open or self._closed):
            call = lane.waiting.popleft()
            refusal = self._begin(lane, call)
            if refusal:
                self._answers.append((call, call.unavailable(refusal)))
        if lane.is_empty:
            del self._lanes[hashed]

    def _begin(self, lane: Lane, call: RoutingCall) -> str:
        """Give the call a thread, or say why there is none."""
        if self._closed:
            return "the router runner is closed"
        if len(lane.stuck) >= self._max_stuck:
            return f"{len(lane.stuck)} earlier calls of it are stuck"
        refusal = "" if self._idle else self._grow()
        if not refusal:
            call.started_s = runtime().now()
            lane.running.append(call)
            self._watch_by(min(call.looks_due()))
            self._idle.pop().put(call)
        return refusal

    def _grow(self) -> str:
        """Add an idle thread, or say why there is none."""
        if self._stuck >= self._max_stuck_in_all:
            return f"{self._stuck} threads are stuck in routing functions"
        self._started += 1
        hand: _Hand = SimpleQueue()
        name = f"limen-router-{self._started}"
        try:
            threading.Thread(target=self._serve, args=(hand,), name=name, daemon=True).start()
        except RuntimeError as error:
            return str(error)
        self._threads += 1
        self._idle.append(hand)
        return ""

    def _end(self, hand: _Hand) -> None:
        self._idle.remove(hand)
        self._threads -= 1
        hand.put(None)

    def _write_off(self, lane: Lane, call: RoutingCall) -> None:
        lane.running.remove(call)
        lane.stuck.add(call)
        self._stuck += 1
        logger.warning(
            "routing function %s is stuck: no answer within %g s; its thread is replaced, %d are stuck now",
            call.loaded.hash,
            call.limit_s,
            self._stuck,
        )
        self._answers.append((call, call.timed_out()))

    def _watch_by(self, at_s: float) -> None:
        """See that the watchdog looks at this time at the latest."""
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

    def _next(self, hand: _Hand) -> RoutingCall | None:
        try:
            return hand.get(timeout=self._idle_s)
        except Empty:
            self._post(self._idled, hand)
            return hand.get()


_shared: RouterRunner | None = None
_making = threading.RLock()


def router_runner() -> RouterRunner:
    """Give the runner that this process shares; a forked child gets one of its own."""
    global _shared  # noqa: PLW0603 - one for a process is the point
    with _making:
        if _shared is None:
            _shared = RouterRunner()
        return _shared


def _forget_parent() -> None:
    """Start afresh in a forked child, which has none of its parent's threads."""
    global _shared, _making
    _shared, _making = None, threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
