"""What the tests of worker contexts share: steps to look at or to spoil, and participants of every kind."""

import asyncio
import multiprocessing
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import attrs
from linkkit import PATIENCE_S, Doer, ending
from pykka import ActorRef, ActorRegistry, ThreadingActor

from limen.actors import _core as core_module
from limen.actors import _orders as orders
from limen.actors import context as context_module
from limen.actors._channel_state import ChannelState
from limen.actors._core import Core
from limen.actors._fanout import Fanout
from limen.actors.blueprint import Blueprint
from limen.actors.channel import ChannelActor
from limen.actors.channel_session import ChannelSession
from limen.actors.context import WorkerContext
from limen.messages.activities import ActivityRequest, WorkerCapacity
from limen.messages.codec import decode_request, encode_request
from limen.messages.dispatch import DispatchRequest
from limen.messages.envelope import Envelope
from limen.messages.events import Event
from limen.messages.payloads import Payload

ONE = WorkerCapacity(1)
THREE = WorkerCapacity(3)
QUEUE = ("ns", "q")
NAME = "aion.dispatch.ns.q"


def listed(context: WorkerContext, name: str = NAME) -> list[str]:
    """Give the ids in a snapshot."""
    return [worker.worker_id for worker in context.workers_for_channel(name)]


def body(number: int) -> bytes:
    """Give a payload that a dispatch channel admits."""
    request = ActivityRequest("work", Payload(str(number).encode()))
    return encode_request(DispatchRequest(conversation_id=f"c-{number}", request=request))


def number_in(envelope: Envelope | None) -> int | None:
    """Give back the number of such a payload."""
    if envelope is None:
        return None
    given = decode_request(envelope.payload).request.input
    assert isinstance(given, Payload)
    return int(given.data)


def root_of(context: WorkerContext) -> ActorRef[Any]:
    """Give the root actor of a context that has been used."""
    root = context._core._root
    assert root is not None
    return root


def channel_actors() -> list[ActorRef[Any]]:
    """List the channel actors of this process."""
    return ActorRegistry.get_by_class(ChannelActor)


def events_of(context: WorkerContext, name: str = NAME) -> list[Event]:
    """Listen to a channel; what happens there is appended to the list."""
    events: list[Event] = []
    channel = context.find_channel(name)
    assert channel is not None
    channel.session.ask(orders.Listen(events.append))
    return events


def at_once(count: int, do: Callable[[int], Any]) -> list[Any]:
    """Call `do(number)` on so many threads at the same time; give what they return, raise what one raises."""
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait(PATIENCE_S)
        try:
            results[number] = do(number)
        except BaseException as error:  # noqa: BLE001 - it is raised on the test's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]
    return results


# --- steps ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Step:
    """A function of the house; with `message`, only its calls that carry such a message."""

    owner: Any
    function: str
    message: type | None = None

    def is_call(self, args: tuple[Any, ...]) -> bool:
        """Whether a call with these arguments is this step."""
        return self.message is None or any(isinstance(each, self.message) for each in args)


JOINING = {
    "validate": Step(context_module, "dispatch_channel"),
    "id": Step(Core, "next_worker_id"),
    "supervisor": Step(Core, "supervisor"),
    "spawn": Step(Blueprint, "__call__"),
    "session": Step(Core, "_channel"),
    "entry": Step(Blueprint, "make_first_entry"),
    "arm": Step(Blueprint, "arm"),
    "join": Step(ChannelSession, "ask", orders.Join),
    "subscribe": Step(Fanout, "add"),
    "insert": Step(ChannelState, "join"),
    "registration": Step(core_module, "WorkerRegistration"),
}
"""The steps of a registration, in order. The channel takes "subscribe" and "insert", both on the turn of "join"."""

LEAVING = {
    "inactive": Step(Blueprint, "retire"),
    "prune": Step(ChannelSession, "ask", orders.Leave),
    "unsubscribe": Step(Fanout, "remove"),
    "unwatch": Step(Blueprint, "let_go"),
    "terminate": Step(core_module, "_stop_participant"),
}
"""The steps of an `unregister`, in order."""


@contextmanager
def instead(step: Step, do: Callable[..., Any]) -> Iterator[None]:
    """Have `do(carry_on, *arguments)` called in place of the step; `carry_on()` takes it."""
    original = getattr(step.owner, step.function)

    def call(*args: Any, **kwargs: Any) -> Any:
        if not step.is_call(args):
            return original(*args, **kwargs)
        return do(lambda: original(*args, **kwargs), *args)

    with patch.object(step.owner, step.function, call):
        yield


@contextmanager
def recorded(steps: dict[str, Step]) -> Iterator[list[str]]:
    """Write down in which order the steps are taken."""
    order: list[str] = []

    def noting(name: str) -> Callable[..., Any]:
        def note(carry_on: Callable[[], Any], *_: Any) -> Any:
            order.append(name)
            return carry_on()

        return note

    with ExitStack() as patches:
        for name, step in steps.items():
            patches.enter_context(instead(step, noting(name)))
        yield order


def failing(step: Step, error: BaseException, *, done: bool = False) -> Any:
    """Have a step fail with this error; with `done`, after it has been taken."""

    def fail(carry_on: Callable[[], Any], *_: Any) -> Any:
        if done:
            carry_on()
        raise error

    return instead(step, fail)


# --- participants -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Participant:
    """Something that a worker's life may hang on, and ways to see it and to end it."""

    it: Any
    is_alive: Callable[[], bool]
    end: Callable[[], object]


@contextmanager
def linked_actor() -> Iterator[Participant]:
    """Start an actor of ours."""
    ref = Doer.start()
    with ending(ref):
        yield Participant(ref, ref.is_alive, lambda: ref.stop(block=False))


class Stock(ThreadingActor):
    """An actor that knows nothing of us, and calls what it is sent."""

    def on_receive(self, message: Any) -> Any:
        return message() if callable(message) else None


@contextmanager
def stock_actor() -> Iterator[Participant]:
    """Start an actor that is not ours."""
    ref = Stock.start()
    with ending(ref):
        yield Participant(ref, ref.is_alive, lambda: ref.stop(block=False))


@contextmanager
def process() -> Iterator[Participant]:
    """Start a process that ends when it is sent something."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    made = context.Process(target=theirs.recv)
    made.start()
    try:
        yield Participant(made, made.is_alive, lambda: ours.send(None))
    finally:
        made.kill()
        made.join()
        made.close()
        ours.close()
        theirs.close()


@contextmanager
def popen() -> Iterator[Participant]:
    """Start a command that ends with its stdin."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as made:
        assert made.stdin is not None
        try:
            yield Participant(made, lambda: made.poll() is None, made.stdin.close)
        finally:
            made.kill()


@contextmanager
def task() -> Iterator[Participant]:
    """Start an asyncio task on a loop of its own, which ends when it is told to."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> tuple[asyncio.Event, "asyncio.Task[bool]"]:
        over = asyncio.Event()
        return over, asyncio.create_task(over.wait())

    over, made = asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE_S)
    try:
        yield Participant(made, lambda: not made.done(), lambda: loop.call_soon_threadsafe(over.set))
    finally:
        loop.call_soon_threadsafe(over.set)
        asyncio.run_coroutine_threadsafe(asyncio.wait([made]), loop).result(PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


PARTICIPANTS: dict[str, Any] = {
    "linked": linked_actor,
    "stock": stock_actor,
    "process": process,
    "popen": popen,
    "task": task,
}
