"""One queue over the broker, as the face sees it."""

from __future__ import annotations

from typing import Any, Protocol

from .._call import Call
from .._engine import Port
from ..actors import _orders as orders
from ..messages.errors import ConfigError
from .operations import Operations
from .requester import Asked


class Asker(Protocol):
    """Who sends requests and takes them back."""

    def submit(self, call: Call, channel: str) -> None:
        """Send a request to the broker."""

    def cancel(self, call: Asked) -> None:
        """Give a call up."""


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
        """Take a cancellation; all else is for the local channel."""
        if isinstance(message, orders.Cancel):
            self._asker.cancel(message.conversation)  # type: ignore[arg-type]  # nobody makes another
        else:
            self._local.session.notice(message)

    def ask(self, message: object) -> Any:
        """Have the local channel do it, unless it is for the queue as a whole."""
        match message:
            case orders.ListLetters() | orders.Discard() | orders.Requeue():
                return self._operations.letters(self._channel, message, self)
            case orders.SetPaused(paused=paused):
                return self._operations.pause(self._channel, paused=paused)
            case orders.ShowQueue():
                return self._operations.queue_row(self._channel)
            case orders.SetBound(waiting=waiting) if waiting is not None:
                raise ConfigError("waiting", "a broker bounds its queues by a policy: max-length and reject-publish")
            case _:
                return self._local.session.ask(message)
