"""A conversation: one dispatched request from the moment it is accepted to its one outcome.

A value in the channel's book, not an actor: a thousand outstanding dispatches cost a thousand of these. Only its
channel changes it; `reply` alone is shared.
"""

from __future__ import annotations

import copy
import zlib
from enum import Enum
from queue import Full
from typing import TYPE_CHECKING, Any, Self

from pykka import ActorDeadError

from ..messages.activities import ActivityRequest, Completed, Failed
from ..messages.attempts import AttemptView
from ..messages.bus_errors import ChannelClosed, DeliveryFailed
from ..messages.errors import ChannelLifecycleError, WorkerCrashed
from ..messages.operations import ActivityState, Operation, OperationKind
from ..messages.pressure import PressureSignal
from ..messages.retry import Retry
from ._progress import Progress
from .attempt import Attempt
from .recorder import Recorder
from .runtime import Reply, offer_error, runtime

if TYPE_CHECKING:
    from ..messages.dead_letters import DeadLetter


class Phase(Enum):
    """Where a conversation stands. Each has one outcome, and `CLOSED` is the end of all of them."""

    NEW = "new"
    WAITING = "waiting"
    """For a slot."""
    ROUTING = "routing"
    """A user's routing function has been asked."""
    RUNNING = "running"
    """With a worker."""
    PAUSED = "paused"
    """Between two tries."""
    JOINED = "joined"
    """With others, under a key: the work that all of them wait for stands elsewhere."""
    CLOSED = "closed"


NEW, WAITING, ROUTING, RUNNING, PAUSED, JOINED, CLOSED = Phase
"""The phases under names of their own: to look one up in its class costs as much as to make an object."""


class Conversation:
    """One request and what has become of it so far. Fields that most never change are defaults of the class."""

    channel: Any = None
    """The handle that keeps the channel alive while this is open."""
    channel_name = ""
    workflow_id = "aion-dispatch"
    priority = 0
    key: str | None = None
    """What names the work: it is done once for all who ask for it."""
    digest: bytes | None = None
    """Stands for the arguments, where there is a key."""
    route_by: str | None = None
    """What a router may go by: requests of one such key belong together."""
    retry: Retry | None = None
    max_crashes = 3
    recorder: Recorder | None = None
    dead_letter = False
    """Whether it is kept among the dead letters too when it has failed for the last time, not only as poison."""
    letter: DeadLetter | None = None
    """The dead letter that it was requeued from."""
    keeps_letter = True
    """Whether the channel keeps it when it is given up; else whoever gave it to the channel does."""
    follows: Conversation | None = None
    """The work that is done for this caller and perhaps others, where there is a key."""
    claim: Any = None
    """Of such work: its place among the keys."""
    joined_id: str | None = None
    """The caller who came first with this key."""
    past: tuple[AttemptView, ...] | None = None
    """The attempts of work that had ended when this caller came."""
    phase = NEW
    arrival = 0
    accepted_s: float | None = None
    """When it came in; not noted for one that is plain while nobody listens."""
    attempts: tuple[Attempt, ...] = ()
    errors: tuple[BaseException, ...] = ()
    """What its failed attempts raised, in order."""
    crashes = 0
    last_crash: BaseException | None = None
    excluded: tuple[tuple[str, int], ...] = ()
    """Dead incarnations that held it: (worker id, incarnation)."""
    timers: tuple[Any, ...] = ()
    """For the limits on the whole of it."""
    resumes_s = 0.0
    """When its present pause is over, on the runtime's clock."""
    try_timer: Any = None
    """For the limit on the present attempt, or the pause before the next."""
    progress: Progress | None = None
    """What its attempts have reported, if any has."""
    suspect = False
    """Whether it was with a worker that died of one of several: it runs alone until it is known which."""
    waits_for: Any = None
    """The one worker whose slot it waits for, if the router chose it or it has to run alone."""
    admitted = False
    """Whether it is past the limits of its activity type, and has no attempt that stands for it there."""
    wait_s: float | None = None
    """How long its caller waits for room, where no more may wait; `None`: not at all."""
    entered: Any = None
    """What he waits for: a reply, set when there is room for it, or none is needed any more."""
    room_timer: Any = None
    """For the end of that wait."""
    is_outside = False
    """Whether he waits for room now."""
    signal: PressureSignal | None = None
    """What became of it on its arrival, on a channel where that is noted."""
    patience_over = False
    """Whether `schedule_to_start`, for which it waits even where nobody serves it, has passed."""
    args: tuple[Any, ...] | None = None
    """The arguments as a function takes them, where they never left this process: these, and `kwargs`."""
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - nobody adds to it
    is_told = False
    """Whether listeners have been told of its outcome."""
    is_plain = False
    """Whether it may lie in the channel's tray while all slots are taken: it has no limit and no record."""

    def __init__(
        self,
        conversation_id: str,
        request: ActivityRequest,
        reply: Reply[Completed],
        *,
        channel_name: str = "",
        workflow_id: str = "aion-dispatch",
        priority: int = 0,
        key: str | None = None,
        route_by: str | None = None,
        retry: Retry | None = None,
        max_crashes: int = 3,
        recorder: Recorder | None = None,
        dead_letter: bool = False,
    ) -> None:
        self.id = conversation_id
        self.request = request
        self.activity_type = request.activity_type
        self.reply = reply
        self.channel_name = channel_name
        self.workflow_id = workflow_id
        self.priority = priority
        if key is not None:
            self.name_work(key, request.input)
        self.route_by = key if route_by is None else route_by
        self.retry = retry
        self.max_crashes = max_crashes
        self.recorder = recorder
        self.dead_letter = dead_letter

    def name_work(self, key: str, arguments: object) -> None:
        """Let it be done once for all who ask for this, on the thread of whoever asks."""
        from ._digests import digest

        self.key, self.digest = key, digest(arguments)

    def again(self) -> Self:
        """Give the same request as if it had just been made, without reply and channel."""
        twin = copy.copy(self)
        for name in _PROGRESS:
            vars(twin).pop(name, None)
        twin.is_plain = False
        if self.claim is not None:
            twin.recorder = self.claim.scribe.recorder if self.claim.scribe is not None else None
        return twin

    @property
    def value(self) -> Any:
        """What its reply has as its value."""
        return self.reply.value

    def open_reply(self) -> None:
        """Give a request that was made `again` a reply of its own."""
        self.reply = runtime().create_future()

    def work_for(self, recorder: Recorder) -> Conversation:
        """Make what is to be done for this caller and others of his key."""
        work = self.again()
        work.arrival, work.channel, work.letter = self.arrival, self.channel, self.letter
        work.open_reply()
        work.entered = self.entered  # who waits for room waits for it
        work.recorder = recorder
        work.is_told = True  # of the end, each caller's listeners are
        return work

    @property
    def work(self) -> Conversation:
        """What runs for it: the request itself, but where there is a key."""
        return self if self.follows is None else self.follows

    @property
    def has_limits(self) -> bool:
        """Whether time may run out for it."""
        request = self.request
        return (
            request.start_to_close_timeout is not None
            or request.schedule_to_close_timeout is not None
            or request.schedule_to_start_timeout is not None
        )

    @property
    def is_direct(self) -> bool:
        """Whether a slot may answer the caller itself, before the channel has heard of it."""
        return self.recorder is None

    @property
    def is_patient(self) -> bool:
        """Whether it waits although nobody could serve it now."""
        return not self.patience_over and self.has_limits and self.request.schedule_to_start_timeout is not None

    @property
    def in_line(self) -> bool:
        """Whether it waits for any slot that serves it, not for one worker in particular."""
        return self.phase is WAITING and self.waits_for is None

    @property
    def uncharged(self) -> int:
        """How many of its attempts came to nothing without anybody's fault, the latest included."""
        return len(self.attempts) - self.crashes - len(self.errors)

    def was_called_off_for(self, why: BaseException) -> bool:
        """Whether it ended so while a worker had it."""
        attempts = self.work.attempts
        return bool(attempts) and attempts[-1].error is why

    def history(self) -> tuple[AttemptView, ...]:
        """Show the attempts so far, in order."""
        return tuple(each.view() for each in self.work.attempts) if self.past is None else self.past

    @property
    def failures(self) -> tuple[BaseException, ...]:
        """What failed attempts raised, in order."""
        if self.past is None:
            return self.work.errors
        return tuple(each.error for each in self.past if each.error and not isinstance(each.error, WorkerCrashed))

    @property
    def charges(self) -> int:
        """How many crashes it was charged with."""
        return self.work.crashes if self.past is None else sum(each.charged for each in self.past)

    @property
    def queue(self) -> str:
        """The task queue it is on."""
        name: str = self.channel_name or getattr(self.channel, "name", "")
        return name.rpartition(".")[2]

    def note_progress(self, number: int, packed: bytes) -> Progress:
        """Keep what the attempt of this number reports. Any thread."""
        progress = self.progress
        if progress is None:
            progress = self.__dict__.setdefault("progress", Progress())
        progress.note(number, packed)
        return progress

    def rank(self) -> tuple[int, int]:
        """Give its place among those that wait: higher priority first, then the order of arrival."""
        return (-self.priority, self.arrival)

    def is_before(self, other: Conversation) -> bool:
        """Whether it comes before another that waits."""
        if self.priority != other.priority:
            return self.priority > other.priority
        return self.arrival < other.arrival

    def chance(self) -> float:
        """Give a number from 0 to 1 that places a pause within its jitter: by this request, not by luck."""
        return zlib.crc32(f"{self.id}/{len(self.errors)}".encode()) / 0xFFFFFFFF

    def answer(self, result: Any) -> None:
        """Give the caller the result. Raises `queue.Full` if somebody has done so."""
        self.reply.set(result)

    def settle(self, result: Completed) -> None:
        """Give the caller the result, unless there is an outcome already. Whoever does so holds the attempt's claim."""
        try:
            self.answer(result)
        except Full:
            return

    def fail(self, error: BaseException) -> None:
        """Give the caller the error, unless there is an outcome already."""
        offer_error(self.reply, error)

    def result(self, timeout: float | None = None) -> Completed:
        """Block for the result, at most `timeout` seconds. Raises the error, or `pykka.Timeout`.

        Where the channel was closed, or died before it had heard of the request, that is a `ChannelLifecycleError`.
        """
        try:
            return self.reply.get(timeout=timeout)
        except (ActorDeadError, ChannelClosed, DeliveryFailed) as error:
            name = self.channel_name or getattr(self.channel, "name", "")
            raise ChannelLifecycleError(name, str(error)) from error

    def drop_timers(self) -> None:
        """Let no limit and no pause come to an end any more."""
        self.drop_try_timer()
        self.drop_room_timer()
        if self.timers:
            for timer in self.timers:
                timer.cancel()
            self.timers = ()

    def drop_room_timer(self) -> None:
        """Do so for the wait for room."""
        if self.room_timer is not None:
            self.room_timer.cancel()
            self.room_timer = None

    def drop_try_timer(self) -> None:
        """Do so for the present attempt or pause."""
        if self.try_timer is not None:
            self.try_timer.cancel()
            self.try_timer = None

    def operation(
        self,
        kind: OperationKind,
        attempt: Attempt | None = None,
        *,
        state: ActivityState | None = None,
        result: Completed | Failed | None = None,
        message: str | None = None,
        retryable: bool | None = None,
    ) -> Operation:
        """Say what just happened, and in which attempt, for the record."""
        return Operation(
            kind=kind,
            conversation_id=self.id,
            channel_name=self.channel_name,
            worker_id=attempt.worker_id if attempt is not None else None,
            incarnation=attempt.incarnation if attempt is not None else None,
            attempt=attempt.number if attempt is not None else None,
            state=state,
            result=result,
            message=message,
            retryable=retryable,
        )


_PROGRESS = (
    "accepted_s",
    "admitted",
    "arrival",
    "attempts",
    "channel",
    "claim",
    "crashes",
    "entered",
    "errors",
    "excluded",
    "follows",
    "is_outside",
    "is_told",
    "joined_id",
    "last_crash",
    "letter",
    "past",
    "patience_over",
    "phase",
    "progress",
    "reply",
    "resumes_s",
    "room_timer",
    "signal",
    "suspect",
    "timers",
    "try_timer",
    "waits_for",
)
"""What becomes of a request, as against what was asked for."""
