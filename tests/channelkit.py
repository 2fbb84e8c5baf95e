"""What the tests of channels share: how to make one, to crash it, and to see into its subscriptions."""

import gc
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from limen.actors.channel import ChannelActor
from limen.actors.channel_handle import ChannelHandle
from limen.actors.linking import kill
from limen.actors.runtime import Reply, runtime
from limen.actors.subscription import Subscription
from limen.messages.channel import ChannelConfig, ChannelMode
from limen.messages.envelope import Envelope
from limen.messages.schema import Schema

WAIT_S = 10.0
ORDER = {
    "type": "object",
    "properties": {"id": {"type": "integer"}, "currency": {"type": "string", "default": "EUR"}},
    "required": ["id", "currency"],
}
"""A schema with a default."""


def make_config(name: str = "orders", definition: Any = ORDER) -> ChannelConfig:
    """Configure a channel."""
    return ChannelConfig(name=name, schema=Schema.compile(definition), mode=ChannelMode.EPHEMERAL)


def order(number: int) -> bytes:
    """Give a payload that the schema admits, apart from the default."""
    return json.dumps({"id": number}).encode()


def make_envelope() -> Envelope:
    """Give an envelope such as nobody publishes."""
    return Envelope(message_id="m-1", payload=order(0), schema_id="s", timestamp=datetime.now(UTC))


def number(envelope: Envelope | None) -> Any:
    """Give back the number of an order."""
    return json.loads(envelope.payload)["id"] if envelope is not None else None


def numbers(subscription: Subscription) -> list[Any]:
    """Read all that is there."""
    return [number(envelope) for envelope in iter(subscription.try_next, None)]


def crash(handle: ChannelHandle) -> None:
    """Kill the channel's actor, and see it gone."""
    ref = handle.ref()
    kill(ref)
    assert ref.actor_stopped.wait(WAIT_S)


def later(function: Callable[[], Any]) -> Reply[Any]:
    """Run a function on a thread of its own, and give the future of its result."""
    reply: Reply[Any] = runtime().create_future()

    def run() -> None:
        try:
            reply.set(function())
        except Exception as error:  # noqa: BLE001 - the test asks for it
            reply.set_exception(error)

    threading.Thread(target=run).start()
    return reply


def wait_until(condition: Callable[[], bool]) -> None:
    """Block until it holds; looked at by the runtime's timers."""
    done: Reply[None] = runtime().create_future()

    def look() -> None:
        if condition():
            done.set()
        else:
            runtime().call_later(0.001, look)

    look()
    done.get(timeout=WAIT_S)


def collect() -> None:
    """Let what was dropped go."""
    gc.collect()


class Gate:
    """Holds up whoever comes through until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self._entered = threading.Semaphore(0)

    def __call__(self, *_: object) -> bool:
        self._entered.release()
        assert self.opened.wait(WAIT_S)
        return True

    def wait_entered(self) -> None:
        """Block until somebody is held up."""
        assert self._entered.acquire(timeout=WAIT_S)


@contextmanager
def gate() -> Iterator[Gate]:
    """Give a gate that is open at the end at the latest."""
    made = Gate()
    try:
        yield made
    finally:
        made.opened.set()


def let_channels_be_told_functions(monkeypatch: Any) -> None:
    """Have a channel call every function that it is sent, on its turn."""
    handle_order = ChannelActor.on_receive

    def on_receive(actor: ChannelActor, message: Any) -> Any:
        return message() if callable(message) else handle_order(actor, message)

    monkeypatch.setattr(ChannelActor, "on_receive", on_receive)
