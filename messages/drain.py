"""What a drain leaves undone, by name: so that nothing is lost silently."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Literal

import attrs

from .errors import ConfigError

__all__ = ["DrainReport", "Fate", "Unfinished", "Waiting", "check_drain"]

Waiting = Literal["fail", "run"]
"""What becomes of requests that have not begun when their dispatcher drains."""


def check_drain(drain: object, waiting: object) -> None:
    """Raise `ConfigError` unless these are settings of a drain."""
    if not isinstance(drain, (int, float)) or not drain >= 0:
        raise ConfigError("drain", f"must be a number of seconds, 0 or more, not {drain!r}")
    if waiting not in {"fail", "run"}:
        raise ConfigError("waiting", f"must be 'fail' or 'run', not {waiting!r}")


_SHOWN = 10
"""How many requests a report's text names."""


class Fate(StrEnum):
    """What became of a request that a drain left undone."""

    HANDED_ON = "handed_on"
    """Another worker has it, or will: its caller waits on, and gets the result."""
    FAILED = "failed"
    """Its caller got an error that says why."""


@attrs.frozen(kw_only=True)
class Unfinished:
    """One request that had no outcome when its worker, or its dispatcher, left."""

    conversation_id: str
    """The id of its handle."""
    activity_type: str
    queue: str
    stage: str
    """What it was doing: `waiting`, `routing`, `running`, or `paused` between two tries."""
    attempts: int
    """How often it had been given to a worker; 0: nothing of it has been done."""
    worker_id: str | None = None
    """The worker that had it last."""
    fate: Fate

    def __str__(self) -> str:
        where = f"on {self.worker_id}, attempt {self.attempts}" if self.worker_id else "not begun"
        return f"{self.activity_type} {self.conversation_id} in {self.queue}: {self.stage}, {where}; {self.fate}"


@attrs.frozen(kw_only=True)
class DrainReport:
    """How a drain ended."""

    unfinished: tuple[Unfinished, ...] = ()
    """What did not run, or did not finish: all of it, in the order in which it would have been served."""
    took_s: float = 0.0
    is_over: bool = True
    """False when whoever drained may not wait, being an actor: then the drain has only begun."""

    @property
    def is_complete(self) -> bool:
        """Whether everything was done."""
        return self.is_over and not self.unfinished

    @property
    def not_begun(self) -> tuple[Unfinished, ...]:
        """Those of which nothing has been done."""
        return tuple(each for each in self.unfinished if not each.attempts)

    @property
    def interrupted(self) -> tuple[Unfinished, ...]:
        """Those that had begun: some of their work may have been done."""
        return tuple(each for each in self.unfinished if each.attempts)

    def __str__(self) -> str:
        """Say in a few lines what is left, and name the first of it."""
        if not self.is_over:
            return "the drain goes on"
        if not self.unfinished:
            return f"drained in {self.took_s:.1f} s; nothing is left"
        counts = ", ".join(f"{n} {stage}" for stage, n in Counter(each.stage for each in self.unfinished).items())
        more = len(self.unfinished) - _SHOWN
        lines = [f"drained in {self.took_s:.1f} s; {len(self.unfinished)} not finished ({counts}):"]
        lines += [f"  {each}" for each in self.unfinished[:_SHOWN]]
        return "\n".join(lines + [f"  and {more} more"] * (more > 0))
