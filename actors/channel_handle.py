"""A channel as the rest of the house holds it: a lasting address for an actor that may come and go.

The actor starts on first use. If it crashes, the next use starts another with the same book and subscribers, within
a budget of restarts. After `close` nothing starts any more.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from pykka import ActorDeadError, ActorRef, Timeout
from pykka._envelope import Envelope as Posted

from ..messages.bus_errors import ChannelClosed, DeliveryFailed
from ..messages.channel import ChannelConfig
from ..messages.errors import LimenError
from ..messages.events import Event
from . import _orders as orders
from ._channel_state import ChannelState
from ._fanout import Fanout
from .channel import ChannelActor
from .conversation import Conversation
from .router_loader import RoutingSlot
from .runtime import runtime
from .subscription import Inbox, Predicate, Subscription

COMMAND_TIMEOUT_S = 5.0
"""How long an order to a channel may take before it counts as failed."""


class ChannelHandle:
    """One channel. Copies are the same channel; making one starts nothing and never fails."""

    def __init__(
        self,
        config: ChannelConfig,
        *,
        max_restarts: int = 8,
        within_s: float = 60.0,
        queue_limit: int = 100_000,
        parent_urn: str | None = None,
    ) -> None:
        self.config = config
        self.name = str(config.name)
        self.state = ChannelState(self.name, queue_limit=queue_limit)
        self.fanout = Fanout(config)
        self.routing_slot = RoutingSlot(self.state.router)
        self.listeners: tuple[Callable[[Event], object], ...] = ()
        self.incarnation = 0
        """How many actors have served this channel so far."""
        self.closed = False
        self._max_restarts = max_restarts
        self._within_s = within_s
        self._restarts: deque[float] = deque()
        self._parent_urn = parent_urn
        self._lock = threading.Lock()
        self._ref: ActorRef[ChannelActor] | None = None

    def __repr__(self) -> str:
        """Name the channel only."""
        return f"<ChannelHandle {self.name}{' closed' if self.closed else ''}>"

    def __copy__(self) -> ChannelHandle:
        """Share the channel."""
        return self

    # --- the actor ----------------------------------------------------------------------------------------------

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

    def _start(self) -> ActorRef[ChannelActor]:
        if self._ref is not None:
            self._count_restart()
        self.incarnation += 1
        try:
            return ChannelActor.start(self)
        except BaseException:
            self.incarnation -= 1
            raise

    def _count_restart(self) -> None:
        now_s = runtime().now()
        while self._restarts and self._restarts[0] <= now_s - self._within_s:
            self._restarts.popleft()
        if len(self._restarts) >= self._max_restarts:
            raise DeliveryFailed(
                f"channel {self.name} crashed {len(self._restarts)} times within {self._within_s:g} s; "
                "it is not started again until that window has passed"
            )
        self._restarts.append(now_s)

    # --- orders -------------------------------------------------------------------------------------------------

    def ask(self, message: object, timeout: float = COMMAND_TIMEOUT_S) -> Any:
        """Give an order and wait for the answer.

        Raises what the order raises; `ChannelClosed`, `DeliveryFailed` when the channel is gone or too slow.
        """
        try:
            return self.ref().ask(message, timeout=timeout)
        except ActorDeadError as error:
            raise self._dead(error) from error
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

    # --- the bus ------------------------------------------------------------------------------------------------

    def subscribe(self, *, bound: int | None = None) -> Subscription:
        """Get an inbox that receives whatever is published from now on."""
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
        return int(self.ask(orders.Publish(payload, publisher_id, causal_context)))

    @property
    def subscriber_count(self) -> int:
        """How many inboxes are in the fan-out."""
        return len(self.fanout)

    def close(self, timeout: float = COMMAND_TIMEOUT_S) -> None:
        """Close every conversation, forget every subscriber and stop the actor. For good, and idempotent."""
        with self._lock:
            already, self.closed = self.closed, True
            ref = self._ref
        if already or ref is None:
            return
        try:
            ref.ask(orders.Close(), timeout=timeout)
        except (ActorDeadError, Timeout):
            return

    def _subscribe(self, inbox: Inbox) -> Subscription:
        self.ask(orders.Subscribe(inbox))
        return Subscription(inbox, self._unsubscribe)

    def _unsubscribe(self, inbox: Inbox) -> None:
        inbox.close()
        self.notice(orders.Unsubscribe(inbox))

    def _dead(self, error: ActorDeadError) -> LimenError:
        if self.closed:
            return ChannelClosed(f"channel {self.name} is closed")
        return DeliveryFailed(f"channel {self.name} crashed before it handled the order: {error}")
