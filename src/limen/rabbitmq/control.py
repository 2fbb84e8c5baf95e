"""What processes say to each other over a broker, apart from requests and outcomes: to all of a namespace, or to one.

Nothing of it is kept: whoever is not there does not hear it. Runs on the I/O thread, but for `say`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from ..messages.errors import DecodeError
from . import codec, topology
from ._session import Session, Then
from .io import BrokerIO
from .parcels import Delivery, Done, Parcel

logger = logging.getLogger("limen")

Handler = Callable[[dict[str, Any]], object]


class Control:
    """One process's place in the conversation. `on` says who is told of each kind of message."""

    def __init__(self, io: BrokerIO, namespace: str, process: str) -> None:
        self._io = io
        self._namespace = namespace
        self._process = process
        self._handlers: dict[str, Handler] = {}
        self.address = ""
        """The queue under which this process is reached now."""

    def on(self, kind: str, handler: Handler) -> None:
        """Have this called with each message of a kind. What it raises is logged."""
        self._handlers[kind] = handler

    # --- the connection -----------------------------------------------------------------------------------------

    def queue(self, session: Session) -> topology.Queue:
        """Give the queue for a connection, to be declared."""
        return topology.control_queue(self._namespace, self._process, session.number)

    def up(self, session: Session, then: Then) -> None:
        """Listen on a new connection."""
        self.address = self.queue(session).name
        lost = functools.partial(self._io.broken, session, "the control queue was deleted")
        heard = functools.partial(self._heard, session)
        session.consume(self.address, self.address, 0, heard, on_lost=lost, then=then)

    def _heard(self, session: Session, delivery: Delivery) -> None:
        session.acknowledge(delivery.tag)
        try:
            said = codec.read_document(delivery.body, codec.CONTROL)
        except DecodeError as error:
            logger.warning("a message in %s cannot be read: %s", delivery.queue, error)
            return
        kind = said.get("kind")
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is not None:  # else it is of another version
            handler(said)

    # --- saying something ---------------------------------------------------------------------------------------

    def say(self, kind: str, /, then: Done | None = None, **fields: Any) -> None:
        """Say something to all processes of the namespace, this one included. Any thread; never blocks.

        `then` is called when the broker has it: whoever is told of anything from then on hears this first.
        """
        parcel = self._parcel(topology.CONTROL, topology.short(self._namespace), kind, fields)
        parcel.done = then
        self._io.publish(parcel)

    def tell(self, address: str, kind: str, /, then: Done, **fields: Any) -> None:
        """Say something to one process; `then` is told of an `Unroutable` if that one is gone."""
        parcel = self._parcel("", address, kind, fields)
        parcel.mandatory, parcel.done = True, then
        self._io.publish(parcel)

    @staticmethod
    def _parcel(exchange: str, key: str, kind: str, fields: dict[str, Any]) -> Parcel:
        return Parcel(
            exchange=exchange,
            key=key,
            body=codec.write_document(codec.CONTROL, kind=kind, **fields),
            content_type=codec.CONTROL,
            message_id=kind,
            persistent=False,
            mandatory=False,
        )
