"""Requests that were given up, kept with their history for whoever looks after them.

Knows nothing of where they are kept, or how they are tried again.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from .activities import ActivityRequest
from .attempts import AttemptView
from .retry import Retry

__all__ = ["DeadLetter", "DeadLetters"]


@attrs.frozen(kw_only=True)
class DeadLetter:
    """One request that was given up: what was asked, what became of it, and why. A copy, safe to keep.

    Source of the term: Enterprise Integration Patterns, dead letter channel.
    """

    id: str
    """What `requeue` and `discard` take: the id of the conversation, and so of the handle that was told."""
    channel_name: str
    activity_type: str
    request: ActivityRequest
    """What is to be done, with its limits."""
    workflow_id: str
    priority: int
    key: str | None
    route_by: str | None
    retry: Retry | None
    max_crashes: int
    attempts: tuple[AttemptView, ...]
    """All tries in order, the latest hundred at most. After a requeue they are numbered from 1 again."""
    attempts_made: int
    """How many there were in all."""
    crashes: int
    """How many of them were charged with the death of their worker."""
    error: BaseException
    """Why it is here: what its caller was told."""
    at: datetime
    """When it came here, in UTC."""
    requeues: int = 0
    """How often it was taken out of here to be tried again, and came back."""

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """What went wrong with its attempts, in order: failures and crashes alike."""
        return tuple(each.error for each in self.attempts if each.error is not None)


class DeadLetters(tuple[DeadLetter, ...]):  # noqa: SLOT001 - a tuple cannot have any
    """The dead letters of one queue as they are now, the oldest first."""

    dropped: int = 0
    """How many have been lost so far, because there was no more room for them."""
