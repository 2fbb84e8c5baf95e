"""The subscribers of one channel, and the schema that everything published must meet."""

from __future__ import annotations

from typing import Any, Protocol

from ..messages.channel import ChannelConfig, Delivery
from ..messages.dispatch import AckStatus
from ..messages.envelope import Envelope
from ..messages.schema import Schema
from . import _orders as orders
from ._filters import Filter
from ._round import Round, Taken, delivery


class Receiver(Protocol):
    """An inbox, or what has one."""

    @property
    def filter(self) -> Filter | None:
        """What says which envelopes it wants; `None` for all."""

    @property
    def closed(self) -> bool:
        """Whether it takes no more."""
        ...

    @property
    def depth(self) -> int:
        """Envelopes waiting to be read."""
        ...

    def offer(self, envelope: Envelope) -> AckStatus | None:
        """Put an envelope in, and say how that was taken; `None` if it is closed."""

    def close(self) -> None:
        """Take nothing more and discard what is unread."""


class Fanout:
    """Puts each envelope into every matching inbox. Changed by one thread at a time: the channel's."""

    def __init__(self, config: ChannelConfig) -> None:
        self._config = config
        self._configured: Schema | None = None
        self._evolved: Schema | None = None
        self._inboxes: dict[int, Receiver] = {}

    def __len__(self) -> int:
        """Count the subscribers. Any thread."""
        return sum(not inbox.closed for inbox in list(self._inboxes.values()))

    @property
    def schema(self) -> Schema:
        """The schema in force. Any thread; the first use may compile it, and raises what that raises."""
        if self._evolved is not None:
            return self._evolved
        if self._configured is None:
            self._configured = self._config.schema
        return self._configured

    @property
    def unread(self) -> int:
        """Count what lies in the subscribers' inboxes."""
        return sum(inbox.depth for inbox in list(self._inboxes.values()))

    def handle(self, message: object) -> Any:
        """Act on one of the fan-out's orders, unless whoever gave it has given it up."""
        match message:
            case orders.Unsubscribe(inbox):
                self.remove(inbox)
            case orders.Publish() if message.claim():
                return self._publish(message)
            case orders.Subscribe(inbox) if message.claim():
                self.add(inbox)
            case orders.Evolve() if message.claim():
                return self._evolve(message)
        return None

    def add(self, inbox: Receiver) -> None:
        """Deliver here, too, from now on."""
        self._inboxes[id(inbox)] = inbox

    def remove(self, inbox: Receiver) -> None:
        """Deliver here no more; what is unread is discarded."""
        self._inboxes.pop(id(inbox), None)
        inbox.close()

    def close(self) -> None:
        """Forget every subscriber. Never blocks, so that a finaliser may call it once the channel is gone."""
        for inbox in list(self._inboxes.values()):
            self.remove(inbox)

    def _publish(self, message: orders.Publish) -> Delivery | Round | None:
        """Deliver to all that do not filter, and then ask the filters. `None`: that schema is no longer in force."""
        if message.schema is not self.schema:
            return None
        taken: list[Taken] = []
        filtering: list[Any] = []
        for inbox in list(self._inboxes.values()):
            if inbox.filter is None:
                taken.append(inbox.offer(message.envelope))
            elif not inbox.closed:
                filtering.append(inbox)
        return Round(message.envelope, taken, filtering) if filtering else delivery(taken)

    def _evolve(self, message: orders.Evolve) -> bool:
        """Put a schema in force; `False` if the one it grew from is no longer."""
        if message.old is not self.schema:
            return False
        self._evolved = message.new
        return True
