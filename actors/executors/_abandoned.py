"""What a worker has given up and what goes on all the same: how much of that it bears, and who waits to be let go.

Decides and counts. Guarded by whoever owns it.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Generic, TypeVar

from ...messages.grace import Grace
from ..attempt import Attempt

logger = logging.getLogger("limen")

T = TypeVar("T", bound=Hashable)


class Abandoned(Generic[T]):
    """The runs of one worker that were called off and did not end in time, by what runs them."""

    def __init__(self, grace: Grace, worker_id: str) -> None:
        self._grace = grace
        self._worker_id = worker_id
        self._running: dict[T, None] = {}
        self._kept: dict[T, Attempt] = {}
        """Those that would be abandoned if there was room. They have their slots."""

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, runner: T) -> bool:
        return runner in self._running

    def all(self) -> tuple[T, ...]:
        """Give all that are abandoned and have not ended."""
        return tuple(self._running)

    def has_room(self) -> bool:
        """Whether one more may be abandoned."""
        return len(self._running) < self._grace.max_abandoned

    def add(self, runner: T, attempt: Attempt) -> None:
        """Abandon it: its slot is free for another."""
        self._running[runner] = None
        logger.warning(
            "worker %s: activity %r goes on %g s after it was called off; it is abandoned, and its slot is free (%d of "
            "at most %d such runs)",
            self._worker_id,
            attempt.activity_type,
            self._grace.grace_s,
            len(self._running),
            self._grace.max_abandoned,
        )

    def keep(self, runner: T, attempt: Attempt) -> None:
        """Leave it its slot, for there is no room."""
        self._kept[runner] = attempt
        logger.error(
            "worker %s: activity %r goes on %g s after it was called off, and %d such runs are abandoned already: it "
            "keeps its slot until it, or one of those, ends",
            self._worker_id,
            attempt.activity_type,
            self._grace.grace_s,
            len(self._running),
        )

    def ended(self, runner: T) -> bool:
        """Forget one that has ended; say whether it was abandoned."""
        self._kept.pop(runner, None)
        return self._running.pop(runner, self) is None

    def next_kept(self) -> tuple[T, Attempt] | None:
        """Give the one that has kept its slot longest, if it may be abandoned now."""
        if not self._kept or not self.has_room():
            return None
        runner = next(iter(self._kept))
        return runner, self._kept.pop(runner)
