"""What the tests of dispatch share: contexts with workers in them, requests, and recorders that fail on demand."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from linkkit import PATIENCE_S
from pykka import ActorRef
from statekit import make_conversation, make_request

from limen.actors.attempt import Boxed
from limen.actors.channel_handle import ChannelHandle
from limen.actors.channel_session import ChannelSession
from limen.actors.context import WorkerContext
from limen.actors.conversation import Conversation
from limen.actors.default import DispatchContext, dispatch_activity
from limen.actors.linking import order_exit
from limen.actors.recorder import MemoryRecorder
from limen.actors.registration import WorkerRegistration
from limen.actors.runtime import runtime
from limen.messages.activities import ActivityRequest, Completed, Failed, WorkerCapacity
from limen.messages.envelope import Envelope
from limen.messages.lifecycle import ExitReason
from limen.messages.operations import Operation, OperationKind
from limen.messages.payloads import Payload

NS, QUEUE = "shop", "media"
CHANNEL = "aion.dispatch.shop.media"
ENCODE = make_request("encode")


def echo(request: ActivityRequest) -> Payload:
    """Give back what is given."""
    assert isinstance(request.input, Payload)
    return request.input


@contextmanager
def context_with(*workers: dict[str, Any]) -> Iterator[WorkerContext]:
    """Open a context with such workers in it; each is what `add_worker` takes."""
    with WorkerContext() as context:
        registrations = [add_worker(context, **worker) for worker in workers]
        yield context
        del registrations


def add_worker(
    context: WorkerContext, handler: Callable[..., Any] | None = echo, *, slots: int = 1, **options: Any
) -> WorkerRegistration:
    """Register a worker for `encode`; without a handler it fetches its own work."""
    handlers = None if handler is None else {"encode": handler}
    return context.register_worker(NS, QUEUE, WorkerCapacity(slots, ("encode",)), handlers=handlers, **options)


def dispatch(
    context: WorkerContext, request: ActivityRequest = ENCODE, *, timeout: float = PATIENCE_S, **parts: Any
) -> Completed:
    """Dispatch and wait."""
    return dispatch_activity(NS, QUEUE, request, DispatchContext(worker_pool=context, **parts), timeout=timeout)


def submit(context: WorkerContext, conversation: Conversation | None = None, **options: Any) -> Conversation:
    """Dispatch and do not wait."""
    conversation = conversation or make_conversation(**options)
    context.submit(NS, QUEUE, conversation)
    return conversation


def error_of(conversation: Conversation) -> Any:
    """Wait for the error of a dispatch that fails."""
    try:
        result = conversation.result(PATIENCE_S)
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        return error
    raise AssertionError(f"it gave {result}")


def fetch(worker: WorkerRegistration) -> Envelope:
    """Wait for the next envelope of a worker that fetches its own work."""
    envelope = worker.next(PATIENCE_S)
    assert envelope is not None, "nothing came"
    return envelope


def channel_of(context: WorkerContext) -> ChannelHandle:
    """Give the channel, which is there."""
    channel = context.find_channel(CHANNEL)
    assert channel is not None
    return channel


def session_of(context: WorkerContext) -> ChannelSession:
    """Give the address of the channel."""
    return channel_of(context).session


def data_of(completed: Completed) -> bytes:
    """Give the bytes of a result."""
    assert isinstance(completed.output, Payload)
    return completed.output.data


def crash(participant: ActorRef[Any], error: BaseException | None = None) -> None:
    """End an actor with an error, and see it gone."""
    order_exit(participant, ExitReason.from_error(error or RuntimeError("boom")))
    assert participant.actor_stopped.wait(PATIENCE_S)


class Stuck:
    """An activity that holds until it is let go; counts how many hold at the same time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.running = self.peak = 0
        self._lock = threading.Lock()

    def __call__(self, _: ActivityRequest) -> Payload:
        with self._lock:
            self.running += 1
            self.peak = max(self.peak, self.running)
        self.begun.release()
        try:
            assert self.go_on.wait(PATIENCE_S)
        finally:
            with self._lock:
                self.running -= 1
        return Payload(b"done")

    def wait_begun(self, count: int = 1) -> None:
        """Block until so many have begun."""
        for _ in range(count):
            assert self.begun.acquire(timeout=PATIENCE_S)


@contextmanager
def stuck() -> Iterator[Stuck]:
    """Give an activity that holds, until the end of the block at the latest."""
    made = Stuck()
    try:
        yield made
    finally:
        made.go_on.set()


class FailingRecorder(MemoryRecorder):
    """Fails to keep operations of one kind, as often as told; all the time by default."""

    def __init__(self, kind: OperationKind, error: BaseException | None = None, times: int = 1_000) -> None:
        super().__init__()
        self.tried: list[OperationKind] = []
        self._kind, self._times = kind, times
        self._error = error or OSError("disk full")

    def record(self, operation: Operation) -> None:
        """Keep it, or fail."""
        self.tried.append(operation.kind)
        if operation.kind is self._kind and self._times:
            self._times -= 1
            raise self._error
        super().record(operation)


def kinds(recorder: MemoryRecorder) -> list[str]:
    """Name the operations on record, in order."""
    return [str(each.kind) for each in recorder.operations()]


class Notes:
    """A report that keeps what it is told, and gives a slot what is in `following` to run next.

    One that looks gets what is in `found`.
    """

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, Any]] = []
        self.following: list[Any] = []
        self.found: list[Any] = []
        self._changed = threading.Condition()

    def finished(self, attempt: Any, result: Completed | Failed | Boxed) -> Any:
        """Keep it."""
        following = self.following.pop(0) if self.following else None
        self._tell("finished", attempt, result)
        return following

    def look(self, entry: Any) -> Any:
        """Keep it."""
        self._tell("look", None, entry)
        return self.found.pop(0) if self.found else None

    def progressed(self, attempt: Any, packed: bytes) -> None:
        """Keep it."""
        self._tell("progressed", attempt, packed)

    def crashed(self, attempt: Any, reason: ExitReason) -> None:
        """Keep it."""
        self._tell("crashed", attempt, reason)

    def returned(self, attempt: Any, reason: ExitReason) -> None:
        """Keep it."""
        self._tell("returned", attempt, reason)

    def fatal(self, error: BaseException, culprit: Any = None) -> None:
        """Keep it."""
        self._tell("fatal", culprit, error)

    def wait(self, count: int = 1) -> list[tuple[str, Any, Any]]:
        """Block until so much has been told; give all of it."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= count, PATIENCE_S)
            return list(self.told)

    def _tell(self, what: str, attempt: Any, detail: Any) -> None:
        with self._changed:
            self.told.append((what, attempt, detail))
            self._changed.notify_all()


def settle() -> None:
    """Let the runtime's timers come round once, so that whatever was posted before has been handled."""
    done = threading.Event()
    runtime().call_later(0.0, done.set)
    assert done.wait(PATIENCE_S)
