"""A channel as the rest of the house holds it: a lasting address for an actor that may come and go.

The actor starts on first use. If it crashes, the next use starts another on the same book, within a budget of
restarts. After `close` nothing starts any more. A channel that nobody holds a handle on ends by itself.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from pykka import ActorDeadError, ActorRef, Timeout
from pykka._envelope import Envelope as Posted

from ..messages.bus_errors import ChannelClosed, DeliveryFailed
from ..messages.channel import ChannelConfig
from ..messages.errors import LimenError
from ..messages.schema import Schema
from ..messages.supervision import RestartIntensity
from . import _orders as orders
from ._book import Book
from ._supervision import RestartWindow
from .channel import ChannelActor
from .conversation import Conversation
from .runtime import here, runtime
from .subscription import Inbox, Predicate, Subscription

COMMAND_TIMEOUT_S = 5.0
"""How long an order to a channel may take before it counts as failed."""

RESTARTS = RestartIntensity(max_restarts=8, within_s=60.0)
"""How often a channel's actor may crash before it is not started again until the window has passed."""

NEVER = RestartIntensity(max_restarts=0, within_s=1.0)
"""A channel that does not survive a crash."""


class ChannelSession(Book):
    """The lasting address. Whoever has something to say to a channel says it here."""

    def __init__(self, config: ChannelConfig, restarts: RestartIntensity, queue_limit: int) -> None:
        super().__init__(config, queue_limit)
        self.closed = False
        self._window = RestartWindow(restarts)
        self._lock = threading.Lock()
        self._ref: ActorRef[ChannelActor] | None = None

    def ref(self) -> ActorRef[ChannelActor]:
        """Give the live actor, started if need be. Raises `ChannelClosed`, or `DeliveryFailed` out of restarts."""
        ref = self._ref
        if ref is not None and not ref.actor_stopped.is_set():
            return ref
        with self._lock:
            if self.closed:
                raise ChannelClosed(f"channel {self.name} is closed")
            if self._ref is None or self._ref.actor_stopped.is_set():
                self._ref = self._start()
            return self._ref

    def ask(self, message: object, timeout: float = COMMAND_TIMEOUT_S) -> Any:
        """Give an order and wait for the answer. Raises what the order raises, `ChannelClosed`, `DeliveryFailed`."""
        try:
            return self.ref().ask(message, timeout=timeout)
        except ActorDeadError as error:
            if self.closed:
                raise ChannelClosed(f"channel {self.name} is closed") from error
            raise DeliveryFailed(f"channel {self.name} crashed before it handled the order") from error
        except Timeout as error:
            msg = f"channel {self.name} gave no answer to a {type(message).__name__} within {timeout:g} s"
            raise DeliveryFailed(msg) from error

    def notice(self, message: object) -> None:
        """Say something that goes ahead of the backlog. Never blocks; a closed channel does not hear it."""
        try:
            self.ref().actor_inbox.put_notice(message)  # type: ignore[attr-defined]
        except LimenError:
            return

    def submit(self, conversation: Conversation) -> None:
        """Hand in a request; its reply is answered whatever happens to the channel."""
        conversation.channel_name = self.name
        try:
            ref = self.ref()
        except LimenError as error:
            conversation.fail(error)
            return
        ref.actor_inbox.put(Posted(conversation, reply_to=conversation.reply))

    def close(self, timeout: float) -> None:
        """Close for good; wait for it unless this is an actor's thread."""
        with self._lock:
            already, self.closed = self.closed, True
            ref = self._ref
        if already or ref is None:
            return
        if here.mailbox is not None:
            ref.actor_inbox.put_notice(orders.Close())  # type: ignore[attr-defined]
            return
        try:
            ref.ask(orders.Close(), timeout=timeout)
        except (ActorDeadError, Timeout):
            return

    def let_go(self) -> None:
        """Close because nobody holds a handle any more. Only posts."""
        self.closed = True
        if self._ref is not None:
            self._ref.actor_inbox.put_notice(orders.Close())  # type: ignore[attr-defined]

    def _start(self) -> ActorRef[ChannelActor]:
        if self._ref is not None and self._window.passed_by(runtime().now()):
            limit = self._window.limit
            raise DeliveryFailed(
                f"channel {self.name} crashed more than {limit.max_restarts} times within {limit.within_s:g} s; "
                "it is not started again until that window has passed"
            )
        self.incarnation += 1
        try:
            return ChannelActor.start(self)
        except BaseException:
            self.incarnation -= 1
            raise


class ChannelHandle:
    """One channel. Copies are the same channel; making one starts nothing and never fails."""

    __slots__ = ("__weakref__", "session")

    def __init__(
        self, config: ChannelConfig, *, restarts: RestartIntensity = RESTARTS, queue_limit: int = 100_000
    ) -> None:
        self.session = ChannelSession(config, restarts, queue_limit)
        weakref.finalize(self, self.session.let_go).atexit = False

    def __repr__(self) -> str:
        """Name the channel only."""
        return f"<ChannelHandle {self.name}{' closed' if self.closed else ''}>"

    def __copy__(self) -> ChannelHandle:
        """Share the channel."""
        return self

    @property
    def name(self) -> str:
        """The channel's full name."""
        return self.session.name

    @property
    def config(self) -> ChannelConfig:
        """What the channel was made of."""
        return self.session.config

    @property
    def schema(self) -> Schema:
        """The schema in force: the configured one, or what it evolved into."""
        return self.session.fanout.schema

    @property
    def closed(self) -> bool:
        """Whether the channel is closed, for good."""
        return self.session.closed

    @property
    def subscriber_count(self) -> int:
        """How many inboxes are in the fan-out."""
        return len(self.session.fanout)

    def ref(self) -> ActorRef[ChannelActor]:
        """Give the live actor, started if need be, for `tell` and `ask`. Raises `ChannelClosed`, `DeliveryFailed`."""
        return self.session.ref()

    def subscribe(self, *, bound: int | None = None) -> Subscription:
        """Get an inbox that receives whatever is published from now on; with a bound, it refuses what is too much."""
        return self._subscribe(Inbox(bound=bound))

    def subscribe_filtered(self, predicate: Predicate, *, bound: int | None = None) -> Subscription:
        """Get an inbox that receives the envelopes for which `predicate(envelope)` is true."""
        return self._subscribe(Inbox(predicate=predicate, bound=bound))

    def publish(self, payload: bytes, *, publisher_id: str = "anonymous", causal_context: object | None = None) -> None:
        """Validate a payload and put it into every matching inbox before returning.

        Raises `SchemaMismatch`, and then nobody has received it; `ChannelClosed`.
        """
        self.publish_with_delivery(payload, publisher_id=publisher_id, causal_context=causal_context)

    def publish_with_delivery(
        self, payload: bytes, *, publisher_id: str = "anonymous", causal_context: object | None = None
    ) -> int:
        """Publish, and give the number of inboxes that received it."""
        return int(self.session.ask(orders.Publish(payload, publisher_id, causal_context)))

    def close(self, timeout: float = COMMAND_TIMEOUT_S) -> None:
        """Close every conversation, forget every subscriber and stop the actor. For good, and idempotent."""
        self.session.close(timeout)

    def _subscribe(self, inbox: Inbox) -> Subscription:
        self.session.ask(orders.Subscribe(inbox))
        return Subscription(inbox, self._unsubscribe)

    def _unsubscribe(self, inbox: Inbox) -> None:
        inbox.close()
        self.session.notice(orders.Unsubscribe(inbox))
