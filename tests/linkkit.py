"""Actors that do what a test tells them, and ways to hear of their end."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from pykka import ActorRef

from limen.actors.links import LinkedActor, notify, post
from limen.actors.watching import watch
from limen.messages.lifecycle import Down

PATIENCE_S = 20.0
"""How long a test waits for what must come. Only a failure takes as long."""


class Doer(LinkedActor):
    """Calls the functions it is sent with itself, keeps the notices it gets, and gives back anything else."""

    def __init__(self, heard: "queue.SimpleQueue[Any] | None" = None, **hooks: Callable[[], object]) -> None:
        super().__init__()
        self.heard: queue.SimpleQueue[Any] = queue.SimpleQueue() if heard is None else heard
        self.hooks = hooks

    def on_start(self) -> None:
        """Run the hook of this name."""
        self.hooks.get("on_start", lambda: None)()

    def on_stop(self) -> None:
        """Run the hook of this name."""
        self.hooks.get("on_stop", lambda: None)()

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        """Run the hook of this name."""
        self.hooks.get("on_failure", lambda: None)()

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Down):
            self.heard.put(message)
            return None
        return message(self) if callable(message) else message


class PooledDoer(Doer):
    """The same without a thread."""

    never_blocks: ClassVar[bool] = True


class Trapper(Doer):
    """The same, told of its links' ends instead of ending with them."""

    traps_exits: ClassVar[bool] = True


class PooledTrapper(Trapper):
    """The same without a thread."""

    never_blocks: ClassVar[bool] = True


DOERS: dict[str, Any] = {"thread": Doer, "pooled": PooledDoer}
TRAPPERS: dict[str, Any] = {"thread": Trapper, "pooled": PooledTrapper}


def raising(error: BaseException) -> Callable[..., Any]:
    """Give a function that raises, for a hook or as a message."""

    def fail(*_: Any) -> None:
        raise error

    return fail


class Hold:
    """A message whose handler begins, and does not return before it is let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> bool:
        self.begun.set()
        return self.go_on.wait(PATIENCE_S)

    def put_into(self, ref: ActorRef[Any]) -> None:
        """Have an actor hold; returns when its handler has begun. This thread does not run it."""
        post(ref, self)
        self.wait()

    def wait(self) -> None:
        """Wait until the handler has begun."""
        assert self.begun.wait(PATIENCE_S)

    def let_go(self) -> None:
        """Let the handler return."""
        self.go_on.set()


def ask(ref: ActorRef[Any], message: Any) -> Any:
    """Ask, with the patience of a test."""
    return ref.ask(message, block=True, timeout=PATIENCE_S)


def heard_of(ref: ActorRef[Any]) -> "queue.SimpleQueue[Any]":
    """Watch an actor; what is told of its end comes out of this queue."""
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch(ref, heard.put)
    return heard


def started_watched(doer: type[Doer], **hooks: Callable[[], object]) -> "tuple[ActorRef[Any], queue.SimpleQueue[Any]]":
    """Start an actor that is watched before it breathes."""
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def watch_it(actor: Doer) -> None:
        watch(actor.actor_ref, heard.put)

    return doer._launch(watch_it, (), hooks), heard


def soon(heard: "queue.SimpleQueue[Any]") -> Any:
    """Wait for the next thing that is heard."""
    return heard.get(timeout=PATIENCE_S)


def settle(ref: ActorRef[Any]) -> None:
    """Wait until an actor has handled all that it has been sent up to now, notices included."""
    ref.ask(lambda _: None, timeout=PATIENCE_S)


def tell_now(ref: ActorRef[Any], message: object) -> None:
    """Send a message that overtakes."""
    assert notify(ref, message)


@contextmanager
def ending(*refs: ActorRef[Any]) -> Iterator[None]:
    """Stop these actors at the end, whatever happens."""
    try:
        yield
    finally:
        for ref in refs:
            ref.stop(timeout=PATIENCE_S)
