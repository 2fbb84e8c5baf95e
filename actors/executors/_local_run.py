"""An attempt in this process, on a thread or as a task, as its activity sees it."""

from __future__ import annotations

from typing import Any

from ..attempt import Attempt, Report
from ..runtime import runtime


class LocalRun:
    """Lives as long as somebody asks about the attempt, which may be longer than the attempt itself."""

    def __init__(self, attempt: Attempt, report: Report) -> None:
        self.work = attempt
        self.number = attempt.number
        self.worker_id = attempt.worker_id
        self.activity_type = attempt.activity_type
        self._conversation = attempt.conversation
        self._report = report
        self._bells: list[Any] = []

    @property
    def conversation_id(self) -> str:
        """The id of the request."""
        return str(self._conversation.id)

    @property
    def queue(self) -> str:
        """The task queue that it came by; empty where that is not known."""
        return str(self._conversation.queue)

    @property
    def deadline_s(self) -> float | None:
        """When its time is up: that of this attempt, or that of all together."""
        conversation, began_s = self._conversation, self.work.started_s
        if not conversation.has_limits or began_s is None:
            return None
        request = conversation.request
        limits = (
            (began_s, request.start_to_close_timeout),
            (conversation.accepted_s, request.schedule_to_close_timeout),
        )
        return min((since_s + limit.total_seconds() for since_s, limit in limits if limit is not None), default=None)

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its result any more, so that none that it brings can count."""
        return self.work.claimed

    @property
    def last_progress(self) -> bytes | None:
        """What the latest of the earlier attempts reported, packed."""
        progress = self._conversation.progress
        return progress.before(self.number) if progress is not None else None

    def wait_cancelled(self, timeout_s: float | None) -> bool:
        """Block until it is cancelled, at most so long; say whether it is."""
        bell = runtime().create_event()
        self._bells.append(bell)
        try:
            return self.cancelled or bool(bell.wait(timeout_s)) or self.cancelled
        finally:
            self._bells.remove(bell)

    def ring(self) -> None:
        """It is cancelled: wake whoever waits for that. Any thread; never blocks."""
        for bell in tuple(self._bells):
            bell.set()

    def report(self, packed: bytes) -> None:
        """Bring its progress to where the caller can see it, unless it does not count any more."""
        if not self.cancelled:
            self._report.progressed(self.work, packed)
