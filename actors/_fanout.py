"""The subscribers of one channel, and the schema that everything published must meet."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from ..messages.channel import ChannelConfig
from ..messages.envelope import Envelope
from ..messages.schema import Schema
from . import _orders as orders
from .subscription import Inbox


class Fanout:
    """Puts each valid payload into every matching inbox. Used by one thread at a time: the channel's."""

    def __init__(self, config: ChannelConfig) -> None:
        self._config = config
        self._evolved: Schema | None = None
        self._inboxes: dict[int, Inbox] = {}

    def __len__(self) -> int:
        """Count the subscribers."""
        return len(self._inboxes)

    @property
    def schema(self) -> Schema:
        """The schema in force."""
        return self._evolved or self._config.schema

    def handle(self, message: object, _actor: Any) -> object:
        """Act on one of the fan-out's orders."""
        match message:
            case orders.Publish():
                return self._publish(message)
            case orders.Subscribe(inbox):
                self._inboxes[id(inbox)] = inbox
            case orders.Unsubscribe(inbox):
                self.remove(inbox)
            case orders.Evolve(evolve):
                self._evolved = evolve(self.schema)
        return None

    def remove(self, inbox: Inbox) -> None:
        """Deliver here no more; what is unread is discarded."""
        self._inboxes.pop(id(inbox), None)
        inbox.close()

    def close(self) -> None:
        """Forget every subscriber."""
        for inbox in list(self._inboxes.values()):
            self.remove(inbox)

    def _publish(self, message: orders.Publish) -> int:
        schema = self.schema
        envelope = Envelope(
            message_id=str(uuid.uuid4()),
            payload=schema.normalise(message.payload),
            schema_id=schema.id,
            publisher_id=message.publisher_id,
            timestamp=datetime.now(UTC),
            causal_context=message.causal_context,
        )
        return sum(inbox.offer(envelope) for inbox in list(self._inboxes.values()))
