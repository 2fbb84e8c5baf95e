"""One guarded call of a function of the user's, and the lane in which the calls of one function wait for each other.

Knows who waits, who runs and who is stuck; starts no thread and reads no clock.
"""

from __future__ import annotations

import _thread
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

import attrs

__all__ = ["PATIENCE_S", "GuardedCall", "Lane", "told"]

logger = logging.getLogger("limen")

PATIENCE_S = 0.02
"""How long a call may hold up others; then they go ahead on another thread."""


@attrs.define(eq=False, kw_only=True)
class GuardedCall(ABC):
    """One call. Whoever claims it, the thread that runs it or the watchdog, gives its one answer."""

    width: ClassVar[int] = 1
    """How many calls of one function run at a time at most, not counting those that are stuck."""
    max_stuck: ClassVar[int | None] = None
    """How many calls of one function may be stuck before it is refused; `None` leaves it to the runner."""

    limit_s: float
    on_answer: Callable[[Any], object]
    started_s: float = math.inf
    """When it got its thread."""
    overtaken: bool = False
    """Whether it has held up others for so long that they do not wait for it any more."""
    _unclaimed: _thread.LockType = attrs.field(init=False, factory=_thread.allocate_lock)

    @property
    @abstractmethod
    def key(self) -> Hashable:
        """Say whose calls take turns with this one."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Name the function, for the log."""

    @abstractmethod
    def evaluate(self) -> Any:
        """Call the function and make an answer of whatever comes of it. Raises nothing."""

    @abstractmethod
    def timed_out(self) -> Any:
        """Make the answer for a function that took too long."""

    @abstractmethod
    def unavailable(self, why: str) -> Any:
        """Make the answer for a function that could not be started."""

    def note_stuck(self, stuck: int) -> None:
        """Take note that it is written off; so many are stuck now in all."""
        logger.warning(
            "%s is stuck: no answer within %g s; its thread is replaced, %d are stuck now",
            self.title,
            self.limit_s,
            stuck,
        )

    def note_late(self) -> None:
        """Take note that it returned after it was written off."""
        logger.warning("%s returned late; its result is ignored", self.title)

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

    def answer(self, answer: Any) -> None:
        """Tell whoever asked. Claim first."""
        try:
            self.on_answer(answer)
        except BaseException:
            logger.exception("the answer of %s was not taken", self.title)


class Lane:
    """The calls of one function."""

    __slots__ = ("_width", "running", "stuck", "waiting")

    def __init__(self, width: int) -> None:
        self._width = width
        self.waiting: deque[Any] = deque()
        self.running: list[Any] = []
        self.stuck: set[Any] = set()
        """Timed out, and still on their threads."""

    @property
    def is_open(self) -> bool:
        """Whether the next call need not wait."""
        return len(self.running) < self._width and all(call.overtaken for call in self.running)

    @property
    def is_empty(self) -> bool:
        """Whether nothing needs this lane any more."""
        return not (self.waiting or self.running or self.stuck)

    def over(self, call: Any) -> bool:
        """Take out a call that has returned; `True` if it was stuck."""
        if call in self.stuck:
            self.stuck.remove(call)
            return True
        self.running.remove(call)
        return False

    def pop_expired(self, now_s: float) -> list[Any]:
        """Take out the calls that have waited for too long."""
        expired = []
        while self.waiting and self.waiting[0].expires_s <= now_s:
            expired.append(self.waiting.popleft())
        return expired


def told(error: BaseException) -> str:
    """Give an error's text, even of one that has none to give."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the text comes from the user's class
        text = "no text"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
