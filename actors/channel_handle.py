"""`ChannelHandle`: one channel, as its users hold it.

Publishing, validating and evolving happen on the caller's thread as far as they can; the channel itself only fans out.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pykka import ActorRef, Timeout

from ..messages.channel import ChannelConfig, Delivery
from ..messages.envelope import ANONYMOUS, Envelope
from ..messages.limits import Limit
from ..messages.pool import QueueRow
from ..messages.restarts import RestartIntensity
from ..messages.schema import Schema
from . import _orders as orders
from ._round import Round
from .channel import ChannelActor
from .channel_session import COMMAND_TIMEOUT_S, NEVER, RESTARTS, ChannelSession
from .runtime import runtime
from .subscription import Inbox, Predicate, Subscription

__all__ = ["COMMAND_TIMEOUT_S", "NEVER", "RESTARTS", "ChannelHandle", "ChannelSession"]


class ChannelHandle:
    """One channel. Copies are the same channel; making one starts nothing and never fails.

    `restarts`: how often a crashed channel may come back; `RESTARTS` by default, or `NEVER`. A channel that nobody
    holds a handle on ends by itself, and so do its subscriptions.
    """

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
        """How many inboxes are in the fan-out; 0 while the channel cannot be reached."""
        return len(self.session.fanout) if self.session.is_reachable else 0

    def ref(self) -> ActorRef[ChannelActor]:
        """Give the live actor, started if need be, for `tell` and `ask`. Raises `ChannelClosed`, `DeliveryFailed`."""
        return self.session.ref()

    # --- subscribing --------------------------------------------------------------------------------------------

    def subscribe(self, *, bound: int | None = None, defer: int = 0) -> Subscription:
        """Get an inbox that receives whatever is published from now on.

        With a `bound`, an inbox that holds so many unread messages defers the next `defer` ones, which it holds too,
        and rejects what is more; publishers are told by `Delivery`. Blocks until the channel knows the inbox.
        Raises `ChannelClosed`, `DeliveryFailed`, `InvalidCapacity`.
        """
        return self._subscribe(Inbox(bound=bound, defer=defer))

    def subscribe_filtered(self, predicate: Predicate, *, bound: int | None = None, defer: int = 0) -> Subscription:
        """Get an inbox that receives the envelopes for which `predicate(envelope)` is true.

        The predicate runs on a helper thread, for one envelope at a time and in publish order. Where it raises, or
        has no answer 1 s after the publish, this subscriber misses that message (`Subscription.problem`).
        Otherwise as `subscribe`.
        """
        return self._subscribe(Inbox(predicate=predicate, bound=bound, defer=defer))

    def _subscribe(self, inbox: Inbox) -> Subscription:
        try:
            self.session.ask(orders.Subscribe(inbox))
        except BaseException:
            self.session.unsubscribe(inbox)
            raise
        return Subscription(inbox, self.session)

    # --- publishing ---------------------------------------------------------------------------------------------

    def publish(self, payload: bytes, *, publisher_id: str = ANONYMOUS, causal_context: object | None = None) -> None:
        """Validate a payload, fill in defaults, and put it into every matching inbox before returning.

        Blocks until the filters, if any, have answered: at most about a second. Raises `SchemaMismatch`, and then
        nobody has received it; `ChannelClosed`; `DeliveryFailed`.
        """
        self.publish_with_delivery(payload, publisher_id=publisher_id, causal_context=causal_context)

    def publish_with_delivery(
        self, payload: bytes, *, publisher_id: str = ANONYMOUS, causal_context: object | None = None
    ) -> Delivery:
        """Publish, and tell how many inboxes received it: `int(delivery)`, or look into it."""
        self.session.check_open()
        began_s = runtime().now()
        while True:
            schema = self.schema
            envelope = Envelope(
                message_id=runtime().new_id(),
                payload=schema.normalise(payload),
                schema_id=schema.id,
                publisher_id=publisher_id,
                timestamp=datetime.fromtimestamp(runtime().wall_time(), UTC),
                causal_context=causal_context,
            )
            done = self.session.ask(orders.Publish(envelope, schema, began_s))
            if done is not None:
                return self._end_of(done)

    def _end_of(self, done: Delivery | Round) -> Delivery:
        if isinstance(done, Delivery):
            return done
        try:
            return done.reply.get(timeout=COMMAND_TIMEOUT_S)
        except Timeout:  # far beyond what filters are given: the count is then of what is known
            return done.so_far()

    # --- the queue ----------------------------------------------------------------------------------------------

    def queue(self) -> QueueRow:
        """Show who waits, what runs, what is limited. Raises `ChannelClosed`, `DeliveryFailed`, as all of these."""
        row: QueueRow = self.session.ask(orders.ShowQueue())
        return row

    def pause(self) -> None:
        """Let nothing start until `resume`: what runs goes on, what waits keeps its place. Idempotent."""
        self.session.ask(orders.SetPaused(paused=True))

    def resume(self) -> None:
        """Let requests start again, in their order. Idempotent."""
        self.session.ask(orders.SetPaused(paused=False))

    def limit(self, activity_type: str, limit: Limit | None) -> None:
        """Put a limit on an activity type in force; `None` lifts it."""
        self.session.ask(orders.SetLimit(activity_type, limit))

    def bound(self, waiting: int | None) -> None:
        """Let so many requests wait; `None`: as many as by default, and without signals."""
        self.session.ask(orders.SetBound(waiting))

    # --- changing and ending ------------------------------------------------------------------------------------

    def evolve(self, field: str, field_schema: Mapping[str, Any], default: Any) -> Schema:
        """Require one more field from now on, filled with `default` where it is absent; give the new schema.

        Subscribers stay. What passed before still does. Raises `EvolutionRefused`, and then the schema stays too.
        """
        self.session.check_open()
        while True:
            old = self.schema
            new = old.evolve(field, field_schema, default)
            if self.session.ask(orders.Evolve(old, new)):
                return new

    def close(self, timeout: float = COMMAND_TIMEOUT_S) -> None:
        """Close every conversation, forget every subscriber and stop the actor. For good, and idempotent.

        Blocks until it is done, at most `timeout` seconds; on an actor's own thread it only says so.
        """
        self.session.close(timeout)
