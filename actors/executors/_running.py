"""What executors of all kinds have in common: finding the handler, and what a failure comes to."""

from __future__ import annotations

from collections.abc import Mapping

from ...messages.activities import Failed
from ...messages.errors import TerminalError
from ..attempt import Handler


def failure(error: Exception) -> Failed:
    """Make the result of an activity that raised."""
    return Failed(error, retryable=getattr(type(error), "retryable", False) is True)


def handler_for(handlers: Mapping[str, Handler], activity_type: str) -> Handler:
    """Find who does this kind of activity. Raises `TerminalError`: a worker may be offered what it cannot do."""
    handler = handlers.get(activity_type)
    if handler is None:
        known = ", ".join(handlers) or "none"
        raise TerminalError(f"this worker has no handler for {activity_type!r}; it has {known}")
    return handler
