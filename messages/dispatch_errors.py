"""Why a dispatch gave its caller no result."""

from .error_base import LimenError, derived

__all__ = [
    "ActivityFailed",
    "ActivityTimedOut",
    "DispatchFailed",
    "KeyConflict",
    "LoadShed",
    "NoWorkersAvailable",
    "PoisonActivity",
    "QueueFull",
    "RecorderFailed",
    "RouterCrashed",
    "RouterFailed",
    "RouterTimedOut",
    "RouterUnavailable",
    "ScheduleToCloseTimedOut",
    "ScheduleToStartTimedOut",
    "StartToCloseTimedOut",
    "UnknownDeadLetter",
    "UnknownWorkerSelected",
]


class DispatchFailed(LimenError):
    """The request has no result and will get none; `__cause__` holds the error below it, if there is one."""

    channel_name: str
    workflow_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} (channel {self.channel_name}, for {self.workflow_id})"


class NoWorkersAvailable(DispatchFailed):
    """No worker of the pool may serve the request."""

    activity_type: str
    served: tuple[str, ...] = ()
    """What the pool's workers serve; empty when there are no workers."""
    reason: str = ""
    """Why nobody was left, when there is more to say than that nobody serves the activity."""
    message: str = derived()

    def _text(self) -> str:
        served = ", ".join(dict.fromkeys(self.served)) or "nothing"
        why = self.reason or f"the pool serves {served}"
        return f"NoWorkersAvailable: no worker for activity {self.activity_type!r}; {why}"


class ActivityTimedOut(DispatchFailed):
    """One of the request's time limits ran out; each limit has an error of its own below this one."""

    retryable = True

    limit: str
    """Which limit: `schedule_to_start`, `start_to_close` or `schedule_to_close`."""
    activity_type: str
    worker_id: str | None
    """The worker that had it; None when none had started it."""
    elapsed_s: float
    limit_s: float
    message: str = derived()

    def _text(self) -> str:
        where = f"on worker {self.worker_id}" if self.worker_id else "before any worker started it"
        spent = f"{self.elapsed_s:.3f} s, limit {self.limit_s:.3f} s"
        return f"activity {self.activity_type!r} ran out of {self.limit} {where}: {spent}"


class ScheduleToStartTimedOut(ActivityTimedOut):
    """No worker had begun with the request in time."""


class StartToCloseTimedOut(ActivityTimedOut):
    """One attempt took too long. What ran it was told, and ended where that is possible."""


class ScheduleToCloseTimedOut(ActivityTimedOut):
    """The request as a whole took too long, its waiting and all its attempts included."""


class QueueFull(DispatchFailed):
    """The channel rejected the request, as many are already waiting as may wait."""

    retryable = True

    activity_type: str
    waiting: int
    message: str = derived()

    def _text(self) -> str:
        return f"activity {self.activity_type!r} was rejected: {self.waiting} requests already wait; try again later"


class LoadShed(QueueFull):
    """The channel rejected the request, as its priority is below what is taken under the present pressure."""

    priority: int = 0
    score: float = 0.0
    """How full the channel's workers were, from 0 to 1."""

    def _text(self) -> str:
        return (
            f"activity {self.activity_type!r} was rejected: priority {self.priority} is not taken now that the workers "
            f"are {self.score:.0%} full; try again later, or with a higher priority"
        )


class KeyConflict(DispatchFailed):
    """The key stands for a request of the same activity with other arguments; nothing was run for this one."""

    activity_type: str
    key: str
    message: str = derived()

    def _text(self) -> str:
        return f"key {self.key!r} of activity {self.activity_type!r} stands for a request with other arguments"


class PoisonActivity(DispatchFailed):
    """The request killed every worker that it was given to, as often as it may; it is not given to another."""

    activity_type: str
    crashes: int
    last_worker_id: str | None = None
    message: str = derived()

    def _text(self) -> str:
        last = f", last {self.last_worker_id}" if self.last_worker_id else ""
        return f"activity {self.activity_type!r} crashed {self.crashes} workers{last}; it will not be given to another"


class UnknownDeadLetter(LimenError, LookupError):
    """A channel has no dead letter of this id: it never had, or it was requeued, discarded or dropped meanwhile."""

    channel_name: str
    letter_id: str

    def __str__(self) -> str:
        return f"channel {self.channel_name} has no dead letter {self.letter_id!r}; dead_letters(…) lists what it has"


class UnknownWorkerSelected(DispatchFailed):
    """The router chose a worker that was not on offer."""

    worker_id: str
    offered: tuple[str, ...] = ()
    message: str = derived()

    def _text(self) -> str:
        offered = ", ".join(self.offered) or "none"
        return f"the router chose the unknown worker {self.worker_id!r}; on offer: {offered}"


class RouterFailed(DispatchFailed):
    """The channel's routing function gave no answer."""

    function_hash: str
    detail: str = ""
    message: str = derived()

    def _text(self) -> str:
        return f"routing function {self.function_hash} failed: {self.detail or 'no answer'}"


class RouterCrashed(RouterFailed):
    """The routing function raised."""

    def _text(self) -> str:
        return f"routing function {self.function_hash} crashed: {self.detail or 'no text'}"


class RouterTimedOut(RouterFailed):
    """The routing function took longer than it may."""

    limit_s: float = 0.0

    def _text(self) -> str:
        return f"routing function {self.function_hash} timed out after {self.limit_s:g} s"


class RouterUnavailable(RouterFailed):
    """The routing function could not be started."""

    def _text(self) -> str:
        return f"routing function {self.function_hash} could not start: {self.detail or 'no text'}"


class ActivityFailed(DispatchFailed):
    """The activity raised, and is not tried again; `__cause__` is what it raised."""

    activity_type: str
    worker_id: str
    cause_type: str
    cause: str
    attempts: int = 1
    message: str = derived()

    def _text(self) -> str:
        tries = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"activity {self.activity_type!r} failed on {self.worker_id}{tries}: {self.cause_type}: {self.cause}"


class RecorderFailed(DispatchFailed):
    """An operation could not be recorded, so the dispatch was given up; `__cause__` is the recorder's error."""

    operation: str
    ran: bool
    """Whether the activity had run, wholly or in part, by then."""
    message: str = derived()

    def _text(self) -> str:
        ran = "had run by then" if self.ran else "had not begun"
        return f"the operation {self.operation} could not be recorded; the activity {ran}"
