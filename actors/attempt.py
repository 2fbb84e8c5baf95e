"""One try at one activity by one incarnation of a worker, and the right to say how it went.

Exactly one party gets that right: the slot that ran it, or the channel when the worker died, time ran out or the
caller changed his mind. Whoever comes later is fenced off.
"""

from __future__ import annotations

from typing import Any, Protocol

from ..messages.activities import ActivityRequest, Completed, Failed
from ..messages.attempts import AttemptView
from ..messages.events import EventKind
from ..messages.lifecycle import ExitReason
from ..messages.payloads import Local, Payload

Handler = Any
"""`(request: ActivityRequest) -> Payload | Local`, or a coroutine function of that shape for the asyncio executor."""


Boxed = tuple[Any]
"""What a function returned, for a caller in this process: the object itself, in a box, and not a payload."""

HEARD: Any = object()
"""In place of an outcome that the channel has acted on before it was told."""


LOOK_AGAIN_S = 0.01
"""At least so long until an attempt that has not begun is looked at again."""
_INSTANT_S = 1e-6
"""Less is nothing: what a clock's arithmetic leaves over."""


class Attempt:
    """One try. Handed from the channel to a slot; compared by identity."""

    __slots__ = ("charged", "claimed", "conversation", "entry", "error", "number", "open", "outcome", "started_s")

    def __init__(self, conversation: Any, entry: Any, number: int) -> None:
        self.conversation = conversation
        self.entry = entry
        self.number = number
        """1 for the first."""
        self.open = True
        """There until somebody claims it, by deleting it: that is one step, and of several threads it lets one by."""
        self.claimed = False
        """Whether the outcome is decided, so that running it is of no more use."""
        self.started_s: float | None = None
        """When a slot began to run it, on the runtime's clock; `None` while it waits for one."""
        self.outcome: tuple[Completed | Failed, bool] | None = None
        """The result and whether the caller has it.

        Written before the channel is told: so it counts even if the worker dies, or the channel crashes, in between.
        """
        self.error: BaseException | None = None
        """Why it came to nothing, once that is known."""
        self.charged = False
        """Whether its request was charged with the crash that ended it."""

    @property
    def request(self) -> ActivityRequest:
        """What is to be done."""
        return self.conversation.request  # type: ignore[no-any-return]

    @property
    def is_current(self) -> bool:
        """Whether its request has no outcome so far, as far as the channel knows, and has been given to nobody else."""
        conversation = self.conversation
        return conversation.phase.value == "running" and conversation.attempts[-1] is self

    @property
    def activity_type(self) -> str:
        """What kind of activity it is."""
        return self.conversation.activity_type  # type: ignore[no-any-return]

    @property
    def worker_id(self) -> str:
        """The worker it was given to."""
        return self.entry.worker_id  # type: ignore[no-any-return]

    @property
    def incarnation(self) -> int:
        """The incarnation of that worker."""
        return self.entry.incarnation  # type: ignore[no-any-return]

    def view(self) -> AttemptView:
        """Show it: a copy."""
        return AttemptView(
            self.number, self.worker_id, self.incarnation, self.started_s is not None, self.error, self.charged
        )

    @property
    def has_begun(self) -> bool:
        """Whether it is known to have begun. A worker that fetches its own work has begun when it is handed over."""
        return self.started_s is not None or self.entry.executor is None

    def left_s(self, limit_s: float, now_s: float) -> float:
        """Give how much longer it may run, or when to look again if it has not begun; 0 when its time is up.

        One that lies behind another in a child process has not begun: it is not to pay for what the other takes.
        """
        if self.started_s is None:
            return 0.0 if self.has_begun else max(limit_s, LOOK_AGAIN_S)
        left_s = self.started_s + limit_s - now_s
        return left_s if left_s > _INSTANT_S else 0.0

    def claim(self) -> bool:
        """Take the right to decide the outcome; `True` for the first caller only. Any thread."""
        try:
            del self.open
        except AttributeError:
            return False
        self.claimed = True
        return True


class Report(Protocol):
    """What an executor tells of its work. Every method may be called on any thread and never blocks."""

    def finished(self, attempt: Attempt, result: Completed | Failed | Boxed) -> Attempt | None:
        """The activity returned, or raised an ordinary exception; its slot is free again.

        Unless an attempt is given back: that one is for the same slot, to be run next.
        """

    def look(self, entry: Any) -> Attempt | None:
        """A slot of this worker is idle and was nudged: let it do what the channel has to do.

        If an attempt is given back, that one is for the slot, to be run next.
        """

    def progressed(self, attempt: Attempt, packed: bytes) -> None:
        """The activity says how far it has got."""

    def crashed(self, attempt: Attempt, reason: ExitReason) -> None:
        """What ran this attempt died under it (a child process), the worker lives on; its slot is free again."""

    def returned(self, attempt: Attempt, reason: ExitReason) -> None:
        """The attempt never began to run and cannot begin here: hand it on, charge nobody."""

    def fatal(self, error: BaseException, culprit: Attempt | None = None) -> None:
        """The worker as a whole cannot go on; all it held is lost. `culprit`: the attempt it dies of, if known."""


class Postbox(Protocol):
    """Where an executor's news goes: the lasting address of a channel."""

    hearers: dict[EventKind, tuple[Any, ...]]
    """Those who follow its events, by kind."""

    def notice(self, message: object) -> None:
        """Say something ahead of the backlog. Any thread; never blocks."""

    def serve(self, entry: Any) -> Attempt | None:
        """Have what has come in entered into the channel's book, by this thread if it can be."""

    def turn_over(self, attempt: Attempt) -> Attempt | bool | None:
        """End an answered attempt and take the next one for its slot, if that can be done at once."""


class Runner(Protocol):
    """Takes attempts: an executor, or the desk of a worker that fetches its own."""

    def submit(self, attempt: Attempt) -> None:
        """Run it as soon as a slot is there. Any thread; never blocks; after `close` it does nothing."""

    def cancel(self, attempt: Attempt) -> None:
        """The outcome has been decided elsewhere: stop running it where that is possible. Any thread; never blocks."""


class Executor(Runner, Protocol):
    """Runs attempts in at most `slots` places at a time."""

    def close(self) -> None:
        """Take no more work, end what can be ended, free all resources. Any thread; never blocks; idempotent."""

    def wait_closed(self, timeout_s: float) -> bool:  # pyright: ignore[reportReturnType]  # a protocol has no body
        """Block until nothing of it is left, at most so long; `False` if something still runs."""


Output = Payload | Local
