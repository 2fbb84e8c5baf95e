"""`current()`: what an activity may know of itself while it runs, and say of how far it has got."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from .actors._current import Run, current_run
from .actors._progress import pack, unpack
from .actors.runtime import runtime
from .messages.errors import NoCurrentActivity

_logger = logging.getLogger("limen.activity")


class ActivityContext:
    """One attempt at one activity, as the activity sees it. May be given to other threads of the activity's.

    Its fields stay readable after the end of the attempt; by then it is `cancelled`, and progress is not kept.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def __repr__(self) -> str:
        """Name the activity, the request and the attempt."""
        return f"<ActivityContext {self.activity_type} {self.conversation_id} attempt {self.attempt}>"

    @property
    def attempt(self) -> int:
        """1 for the first attempt; a retry and a new start after a crash count."""
        return self._run.number

    @property
    def conversation_id(self) -> str:
        """The id of the request, the same for all its attempts: `handle.id`."""
        return self._run.conversation_id

    @property
    def activity_type(self) -> str:
        """The name of the activity."""
        return self._run.activity_type

    @property
    def queue(self) -> str:
        """The queue that it was dispatched to."""
        return self._run.queue

    @property
    def worker_id(self) -> str:
        """The worker that runs it."""
        return self._run.worker_id

    @property
    def deadline_s(self) -> float | None:
        """When `start_to_close` or `schedule_to_close` runs out, by `time.monotonic`; `None` without such a limit."""
        return self._run.deadline_s

    @property
    def remaining_s(self) -> float | None:
        """How many seconds are left until then, 0 when none are; `None` without a limit."""
        deadline_s = self._run.deadline_s
        return None if deadline_s is None else max(0.0, deadline_s - runtime().now())

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more: cancelled, out of time, or its worker has left.

        Once it is, no result counts, whatever is returned. An activity on a thread goes on all the same, until it looks
        here and returns.
        """
        return self._run.cancelled

    def wait_cancelled(self, timeout: float | None = None) -> bool:
        """Block until it is cancelled, at most `timeout` seconds; say whether it is.

        Blocks the thread: in a coroutine await something instead, and see `CancelledError`.
        """
        return self._run.wait_cancelled(timeout)

    def progress(self, details: object) -> None:
        """Say how far it has got: `handle.progress()` shows it, and the next attempt finds it in `last_progress`.

        The latest word counts; reports in quick succession may be left out. `details` is plain data, or what cattrs
        makes plain, of at most 64 KiB as JSON. Does not block. Raises `InvalidProgress`; what was said before stands.
        """
        self._run.report(pack(details, self._run.activity_type))

    @property
    def last_progress(self) -> Any:
        """What the latest of the earlier attempts reported, as plain data: where to go on. `None` if nothing."""
        return unpack(self._run.last_progress)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger `limen.activity`; what it logs has the activity, the ids, the attempt and the queue as `extra`."""
        extra: dict[str, object] = {
            "activity_type": self.activity_type,
            "conversation_id": self.conversation_id,
            "attempt": self.attempt,
            "worker_id": self.worker_id,
            "queue": self.queue,
        }
        return _Adapter(_logger, extra)


class _Adapter(logging.LoggerAdapter[logging.Logger]):
    """Keeps what a call gives as `extra`, beside its own."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put both together."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


def current() -> ActivityContext:
    """Give what the activity that calls this may know of itself: on its thread, in its task, in its process.

    Works in all that the activity calls, and in tasks that it starts (`asyncio.to_thread` too). On a thread that it
    starts itself there is none: give that thread this object. Raises `NoCurrentActivity` where no activity runs.
    """
    run = current_run()
    if run is None:
        raise NoCurrentActivity
    return ActivityContext(run)
