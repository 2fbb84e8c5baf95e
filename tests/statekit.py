"""What the tests of a channel's core share: workers and requests as values, and a shell that only takes notes."""

from collections import deque
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from limen.actors._channel_state import ChannelState
from limen.actors._decisions import Alarm, Ask, CallOff, Close, Decision, Enter, Note, Pause
from limen.actors._gates import Gate
from limen.actors.attempt import Attempt
from limen.actors.conversation import Conversation
from limen.actors.entry import Origin, WorkerEntry
from limen.actors.recorder import Recorder
from limen.actors.runtime import runtime
from limen.messages.activities import ActivityRequest, Completed, WorkerCapacity
from limen.messages.lifecycle import Down, ExitReason
from limen.messages.payloads import Payload
from limen.messages.retry import Retry

CHANNEL = "aion.dispatch.shop.media"
DONE = Completed(Payload(b"done"))
CRASH = ExitReason.from_error(RuntimeError("boom"))
NORMAL = ExitReason.normal()


def make_request(kind: str = "encode", **limits_s: float) -> ActivityRequest:
    """Ask for an activity; limits are given in seconds, by their names without `_timeout`."""
    limits: dict[str, Any] = {f"{name}_timeout": timedelta(seconds=value) for name, value in limits_s.items()}
    return ActivityRequest(kind, **limits)


def make_conversation(
    name: str = "c-1",
    kind: str = "encode",
    *,
    priority: int = 0,
    key: str | None = None,
    route_by: str | None = None,
    retry: Retry | None = None,
    max_crashes: int = 3,
    recorder: Recorder | None = None,
    dead_letter: bool = False,
    plain: bool = False,
    **limits_s: float,
) -> Conversation:
    """Make a request as a channel takes it in. `plain` ones may be swapped into a slot."""
    made = Conversation(
        name,
        make_request(kind, **limits_s),
        runtime().create_future(),
        channel_name=CHANNEL,
        priority=priority,
        key=key,
        route_by=route_by,
        retry=retry,
        max_crashes=max_crashes,
        recorder=recorder,
        dead_letter=dead_letter,
    )
    made.is_plain = plain and recorder is None and key is None and not limits_s
    return made


class Taker:
    """Takes whatever is delivered."""

    def submit(self, attempt: Attempt) -> None:
        """Do nothing with it."""

    def cancel(self, attempt: Attempt) -> None:
        """Do nothing more."""


def make_worker(
    name: str = "worker-1",
    slots: int = 1,
    *types: str,
    prefetch: int = 0,
    supervised: bool = False,
    origin: Origin | None = None,
    incarnation: int = 1,
) -> WorkerEntry:
    """Make a worker that takes whatever is delivered to it."""
    return WorkerEntry(
        name,
        incarnation,
        WorkerCapacity(slots, types),
        f"participant of {name}",
        Taker(),
        origin=origin,
        executor=cast("Any", SimpleNamespace(prefetch=prefetch)) if prefetch else None,
        supervised=supervised,
    )


def die(entry: WorkerEntry, reason: ExitReason = CRASH) -> None:
    """Write down that a worker's participant has ended, as its watch does."""
    entry.active = False
    entry.exited = Down(entry.participant, reason, 0.0)


class Notebook:
    """A book with a shell that carries nothing out, and writes down what it was to carry out."""

    def __init__(self, *, queue_limit: int = 100_000) -> None:
        self.state = ChannelState(CHANNEL, queue_limit=queue_limit)
        self.handed: list[Attempt] = []
        """All attempts handed over, in order."""
        self.closed: list[tuple[Conversation, Completed | BaseException]] = []
        self.notes: list[str] = []
        self.called_off: list[Attempt] = []
        self.pauses: deque[Conversation] = deque()
        self.asks: list[Ask] = []
        self.alarms: list[Gate] = []
        """Gates at which somebody is to look when their next token is there."""
        self.now_s = 0.0
        self.entered: list[Conversation] = []
        """Requests whose callers waited for room, and need not any longer."""

    def do(self, decided: Iterable[Decision]) -> list[Any]:
        """Write down what was decided, and what has become possible by it, and give it."""
        decisions = [*decided, *self.state.settle()]
        for each in decisions:
            match each:
                case Attempt():
                    self.handed.append(each)
                case Close(conversation, outcome):
                    self.closed.append((conversation, outcome))
                    if conversation.claim is not None:
                        keep = isinstance(outcome, Completed)
                        self.do(self.state.share(conversation, outcome, self.now_s, keep=keep))
                case Note(_, operation):
                    self.notes.append(str(operation.kind))
                case CallOff(attempt):
                    self.called_off.append(attempt)
                case Pause(conversation):
                    self.pauses.append(conversation)
                case Ask():
                    self.asks.append(each)
                case Alarm(gate):
                    self.alarms.append(gate)
                case Enter(conversation):
                    self.entered.append(conversation)
        return decisions

    def join(self, *entries: WorkerEntry) -> None:
        """Add workers."""
        for entry in entries:
            self.do(self.state.join(entry))

    def submit(self, *conversations: Conversation) -> None:
        """Hand in requests."""
        for conversation in conversations:
            self.do(self.state.submit(conversation))

    def crash(self, entry: WorkerEntry, reason: ExitReason = CRASH) -> list[Any]:
        """Let a worker die, and the book hear of it."""
        die(entry, reason)
        return self.do(self.state.leave(entry, reason, vacancy=entry.comes_back))

    def outcome(self, conversation: Conversation) -> Any:
        """Give the one outcome; `None` if there is none. More than one is an error."""
        outcomes = [outcome for each, outcome in self.closed if each is conversation]
        assert len(outcomes) < 2, "two outcomes"
        return outcomes[0] if outcomes else None

    def running_on(self, conversation: Conversation) -> str | None:
        """Name the worker that has it now."""
        held = [each for entry in self.state.candidates for each in entry.attempts if each.conversation is conversation]
        return held[-1].worker_id if held else None


def started(*attempts: Attempt) -> None:
    """Let slots begin to run these."""
    for attempt in attempts:
        attempt.started_s = 1.0


def names(conversations: Iterable[Conversation]) -> list[str]:
    """Name them, in order."""
    return [each.id for each in conversations]
