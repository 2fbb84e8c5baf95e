"""Asks subscribers' predicates, off the channel's turn and each apart from the others.

A predicate that raises, or has no answer in time, costs its own subscriber that message and nobody anything else.
While a call of it is stuck it is not asked again. Knows nothing of channels or inboxes.
"""

from __future__ import annotations

import _thread
import logging
from collections.abc import Callable
from typing import ClassVar

import attrs

from ..messages.bus_errors import SubscriptionFailed
from ..messages.envelope import Envelope
from ._guarded import GuardedRunner, OnePerProcess
from ._guarded_calls import GuardedCall
from .runtime import runtime

Predicate = Callable[[Envelope], bool]
Verdict = bool | SubscriptionFailed
"""Whether the subscriber wants it, or why that could not be learned."""

LIMIT_S = 1.0
"""How long after the publish a predicate may take to answer."""

logger = logging.getLogger("limen")


class Filter:
    """One subscriber's predicate, and what has gone wrong with it so far."""

    __slots__ = ("_lock", "failures", "predicate", "problem")

    def __init__(self, predicate: Predicate) -> None:
        if not callable(predicate):
            raise TypeError(f"a predicate is a function of an envelope, not a {type(predicate).__name__}")
        self.predicate = predicate
        self.failures = 0
        """Messages about which it gave no answer."""
        self.problem: SubscriptionFailed | None = None
        """The first of them."""
        self._lock = _thread.allocate_lock()

    def ask(self, envelope: Envelope, on_verdict: Callable[[Verdict], object]) -> None:
        """Have `on_verdict` called once, in the order of asking, within the limit or a little after. Never blocks."""
        call = FilterCall(
            filter=self, envelope=envelope, asked_s=runtime().now(), limit_s=LIMIT_S, on_answer=on_verdict
        )
        filter_runner().submit(call)

    def failed(self, problem: SubscriptionFailed) -> None:
        """Count a message about which it gave no answer; report the first."""
        with self._lock:
            self.failures += 1
            first, self.problem = self.problem is None, self.problem or problem
        if first:
            logger.warning("a subscriber misses messages: %s", problem, exc_info=problem.__cause__)


@attrs.define(eq=False, kw_only=True)
class FilterCall(GuardedCall):
    """One question to one predicate. Its limit counts from the publish, because the publisher waits for it."""

    max_stuck: ClassVar[int | None] = 1

    filter: Filter
    envelope: Envelope
    asked_s: float

    @property
    def key(self) -> Filter:
        """Only the same subscriber's questions take turns, which keeps its messages in order."""
        return self.filter

    @property
    def title(self) -> str:
        """Name it."""
        return "a subscriber's filter"

    @property
    def expires_s(self) -> float:
        """When it has taken too long."""
        return self.asked_s + self.limit_s

    def evaluate(self) -> Verdict:
        """Ask, and make a verdict of whatever comes of it."""
        try:
            return bool(self.filter.predicate(self.envelope))
        except BaseException as error:  # noqa: BLE001 - not even SystemExit may end the thread
            problem = SubscriptionFailed(f"its filter raised {type(error).__name__}")
            problem.__cause__ = error
            return problem

    def timed_out(self) -> SubscriptionFailed:
        """Make the verdict for a predicate that took too long."""
        return SubscriptionFailed(f"its filter gave no answer within {self.limit_s:g} s of the publish")

    def unavailable(self, why: str) -> SubscriptionFailed:
        """Make the verdict for a predicate that could not be asked."""
        return SubscriptionFailed(f"its filter could not be asked: {why}")

    def note_stuck(self, stuck: int) -> None:
        """Leave the report to the filter, which makes it once."""

    def note_late(self) -> None:
        """Leave it."""


class FilterRunner(GuardedRunner):
    """Asks predicates: a few at a time, for a publish may ask thousands."""

    serves = "subscribers' filters"
    thread_name = "limen-pool-filter"


filter_runner = OnePerProcess(lambda: FilterRunner(max_active=4))
"""Gives the runner that this process shares; a forked child gets one of its own."""
