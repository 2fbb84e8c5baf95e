"""One queue over the broker, as the face sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .._call import Call
from .._engine import Port
from ..actors import _orders as orders
from ..actors._views import rows_of
from ..messages.errors import NotOverBroker
from ._refusals import refuse
from .operations import Operations
from .requester import Asked


class Asker(Protocol):
    """Who sends requests and takes them back."""

    def submit(self, call: Call, channel: str) -> None:
        """Send a request to the broker."""

    def cancel(self, calls: Sequence[Asked]) -> None:
        """Give calls up."""

    def remember(self, channel: str, keys: int | None, ttl_s: float | None) -> None:
        """Remember so many ends of keyed work, for so long."""


class RabbitPort:
    """One queue over the broker: requests go there, orders about workers to the local channel."""

    def __init__(self, asker: Asker, operations: Operations, channel: str, local: Port) -> None:
        self._asker = asker
        self._operations = operations
        self._channel = channel
        self._local = local

    @property
    def session(self) -> RabbitPort:
        """Give itself: what is said to it is said here."""
        return self

    @property
    def local(self) -> Any:
        """Give the address of the local channel."""
        return self._local.session.local

    @property
    def closed(self) -> bool:
        """Whether the local channel is closed, and so this."""
        return self._local.closed

    def submit(self, conversation: Any) -> None:
        """Send a request."""
        self._asker.submit(conversation, self._channel)

    def hold_up_s(self) -> float:
        """Hold nobody up: it is the hosts that are full."""
        return 0.0

    def notice(self, message: object) -> None:
        """Take cancellations; all else is for the local channel."""
        match message:
            case orders.Cancel(conversation):
                self._asker.cancel([conversation])  # type: ignore[list-item]  # nobody makes another
            case orders.CancelAll(conversations):
                self._asker.cancel(conversations)  # type: ignore[arg-type]  # as above
            case _:
                self._local.session.notice(message)

    def ask(self, message: object) -> Any:
        """Have the local channel do it, unless it is for the queue as a whole.

        Raises `NotOverBroker` for what nobody could do who does not know of all workers.
        """
        refuse(message)
        match message:
            case orders.ListLetters() | orders.Discard() | orders.Requeue():
                return self._operations.letters(self._channel, message, self, self._local.session)
            case orders.SetPaused(paused=paused):
                return self._operations.pause(self._channel, paused=paused)
            case orders.Declare(kinds):
                return self._operations.declare(self._channel, kinds)
            case orders.ShowQueue():
                return self._operations.queue_row(self._channel)
            case orders.Remember():
                return self._asker.remember(self._channel, message.keys, message.ttl_s)
            case orders.Deploy() if not self._local.session.ask(orders.Snapshot(rows_of)):
                raise NotOverBroker("router", "chooses among the workers of its own process, and there are none yet")
            case _:
                return self._local.session.ask(message)
