"""One call of a routing function, and the two kinds of answer that it may give."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs

from ..messages.dispatch_errors import RouterCrashed, RouterFailed, RouterTimedOut, RouterUnavailable
from ..messages.pool import ConsumerStateView
from ..messages.routing import RoutingMessage
from ._guarded_calls import GuardedCall, told
from .router_loader import LoadedRouter

__all__ = ["WIDTH", "Chosen", "OnAnswer", "RoutingAnswer", "RoutingCall", "RoutingFailed", "told"]

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
class RoutingCall(GuardedCall):
    """One call. Its limit counts from the moment it has a thread."""

    width: ClassVar[int] = WIDTH

    loaded: LoadedRouter
    message: RoutingMessage
    views: tuple[ConsumerStateView, ...]
    channel_name: str
    workflow_id: str

    @property
    def key(self) -> str:
        """Equal functions take turns."""
        return self.loaded.hash

    @property
    def title(self) -> str:
        """Name it by its hash."""
        return f"routing function {self.loaded.hash}"

    def evaluate(self) -> RoutingAnswer:
        """Call the function and make an answer of whatever comes of it."""
        try:
            chosen: object = self.loaded.function(self.message, self.views)
        except BaseException as error:  # noqa: BLE001 - not even SystemExit may end the thread
            return self._crashed(told(error), error)
        if chosen is not None and not isinstance(chosen, str):
            return self._crashed(f"it returned a {type(chosen).__name__}, not a worker's id or None", None)
        return Chosen(chosen)

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
