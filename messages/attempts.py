"""One try at an activity, as whoever asked for it may see it."""

from __future__ import annotations

import attrs

__all__ = ["AttemptView"]


@attrs.frozen
class AttemptView:
    """One try: a copy, safe to keep."""

    number: int
    """1 for the first."""
    worker_id: str
    incarnation: int
    started: bool
    """Whether it is known to have begun to run."""
    error: BaseException | None = None
    """Why it came to nothing: what the activity raised, `ActivityTimedOut`, `ActivityCancelled`, or `WorkerCrashed`.

    `None` while it runs, where it has the result, and where it was handed on without anybody's fault.
    """
    charged: bool = False
    """Whether the request was charged with the crash of its worker; one that only stood by is not."""
    host: str = ""
    """Which process it was, where a broker lies between; empty in this process."""
