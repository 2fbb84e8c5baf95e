"""One call of a routing function, and the queue of calls that one function has.

Knows who waits, who runs and who is stuck; starts no thread and reads no clock.
"""

from __future__ import annotations

import _thread
import logging
from collections import deque
from collections.abc import Callable

import attrs

from ..messages.dispatch_errors import RouterCrashed, RouterFailed, RouterTimedOut, RouterUnavailable
from ..messages.pool import ConsumerStateView
from ..messages.routing import RoutingMessage
from .router_loader import LoadedRouter

__all__ = ["Chosen", "Lane", "OnAnswer", "RoutingAnswer", "RoutingCall", "RoutingFailed", "told"]

logger = logging.getLogger("limen")

PATIENCE_S = 0.02
"""How long a call may hold up those behind it; then they go ahead on another thread."""
WIDTH = 4
"""How many calls of one function run at a time at most, not counting those that are stuck."""


@attrs.frozen
class Chosen:
    """The function chose a worker, or nobody. Whether the worker was on offer is not known here."""

    worker_id: str | None


@attrs.frozen
class RoutingFailed:
    """The function gave no answer."""

    error: RouterFailed


RoutingAnswer = Chosen | RoutingFailed
OnAnswer = Callable[[RoutingAnswer], object]


@attrs.define(eq=False, kw_only=True)
class RoutingCall:
    """One call. Whoever claims it, the thread that runs it or the watchdog, gives its one answer."""

    loaded: LoadedRouter
    message: RoutingMessage
    views: tuple[ConsumerStateView, ...]
    limit_s: float
    on_answer: OnAnswer
    channel_name: str
    workflow_id: str
    started_s: float = 0.0
    overtaken: bool = False
    """Whether it has held up others for so long that they do not wait for it any more."""
    _unclaimed: _thread.LockType = attrs.field(init=False, factory=_thread.allocate_lock)

    def claim(self) -> bool:
        """Take the right to answer; `True` for the first caller only."""
        return self._unclaimed.acquire(blocking=False)

    @property
    def claimed(self) -> bool:
        """Whether the answer is settled."""
        return self._unclaimed.locked()

    @property
    def expires_s(self) -> float:
        """When it has taken too long."""
        return self.started_s + self.limit_s

    @property
    def patience_ends_s(self) -> float:
        """When those behind it go ahead."""
        return self.started_s + PATIENCE_S

    def looks_due(self) -> list[float]:
        """Say when somebody should look after it, while it runs."""
        due = [] if self.overtaken else [self.patience_ends_s]
        return due if self.claimed else [*due, self.expires_s]

    def evaluate(self) -> RoutingAnswer:
        """Call the function and make an answer of whatever comes of it."""
        try:
            chosen: object = self.loaded.function(self.message, self.views)
        except BaseException as error:  # noqa: BLE001 - not even SystemExit may end the thread
            return self._crashed(told(error), error)
        if chosen is not None and not isinstance(chosen, str):
            return self._crashed(f"it returned a {type(chosen).__name__}, not a worker's id or None", None)
        return Chosen(chosen)

    def answer(self, answer: RoutingAnswer) -> None:
        """Tell whoever asked. Claim first."""
        try:
            self.on_answer(answer)
        except BaseException:
            logger.exception("the answer of routing function %s was not taken", self.loaded.hash)

    def timed_out(self) -> RoutingFailed:
        """Make the answer for a function that took too long."""
        return RoutingFailed(
            RouterTimedOut(self.channel_name, self.workflow_id, self.loaded.hash, limit_s=self.limit_s)
        )

    def unavailable(self, why: str) -> RoutingFailed:
        """Make the answer for a function that could not be started."""
        return RoutingFailed(RouterUnavailable(self.channel_name, self.workflow_id, self.loaded.hash, why))

    def _crashed(self, detail: str, cause: BaseException | None) -> RoutingFailed:
        error = RouterCrashed(self.channel_name, self.workflow_id, self.loaded.hash, detail)
        error.__cause__ = cause
        return RoutingFailed(error)


class Lane:
    """The calls of one function."""

    __slots__ = ("running", "stuck", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[RoutingCall] = deque()
        self.running: list[RoutingCall] = []
        self.stuck: set[RoutingCall] = set()
        """Timed out, and still on their threads."""

    @property
    def is_open(self) -> bool:
        """Whether the next call need not wait."""
        return len(self.running) < WIDTH and all(call.overtaken for call in self.running)

    @property
    def is_empty(self) -> bool:
        """Whether nothing needs this lane any more."""
        return not (self.waiting or self.running or self.stuck)

    def over(self, call: RoutingCall) -> bool:
        """Take out a call that has returned; `True` if it was stuck."""
        if call in self.stuck:
            self.stuck.remove(call)
            return True
        self.running.remove(call)
        return False


def told(error: BaseException) -> str:
    """Give an error's text, even of one that has none to give."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the text comes from the user's class
        text = "no text"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
