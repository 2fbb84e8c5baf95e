"""Ways for requests that the broker gave back, because there is no queue for them. Runs on the I/O thread."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from ..actors.conversation import Conversation
from . import topology
from ._session import Session
from .control import Control
from .io import BrokerIO
from .parcels import Parcel
from .topology import Lane, Route

logger = logging.getLogger("limen")

_RETRY_S = 0.2
"""The pause after a queue could not be made."""


class Ways:
    """Finds or makes queues for one process. `session` gives the connection that it has now."""

    def __init__(self, io: BrokerIO, control: Control, session: Callable[[], Session | None]) -> None:
        self._io = io
        self._control = control
        self._session = session
        self._homeless: set[str] = set()
        """Ids of requests for which a queue is being found or made."""

    def seeks(self, request_id: str) -> bool:
        """Whether a way is being found for this request now, so that it is nowhere."""
        return request_id in self._homeless

    def find(self, call: Conversation, route: Route, parcel: Parcel, nobody: Callable[[], object]) -> None:
        """Make the queue that is missing if somebody serves the type, or the caller waits for that; else say so."""

        def there_is_none() -> None:
            self._homeless.discard(parcel.message_id)
            nobody()

        self._homeless.add(parcel.message_id)
        session = self._session()
        if session is None:
            self._send_again(parcel)
        elif call.request.schedule_to_start_timeout is not None:
            self._make(session, route, parcel)
        elif route.lane is Lane.NORMAL:
            there_is_none()
        else:

            def looked(consumers: int | None, _: int) -> None:
                if consumers is None and session.alive:
                    there_is_none()
                else:
                    self._make(session, route, parcel)

            session.look(route.normal.key, looked)

    def _make(self, session: Session, route: Route, parcel: Parcel) -> None:
        """Declare a queue, have hosts take from it, and send the request again."""

        def made(problem: str | None) -> None:
            if problem is not None:
                logger.warning("queue %s could not be made: %s", route.key, problem)
            self._io.later(0.0 if problem is None else _RETRY_S, functools.partial(self._send_again, parcel))
            if route.lane:
                self.announce(route)

        if session.alive:
            session.declare([], [topology.dead_queue(route.channel), route.normal.queue, route.queue], made)
        else:
            self._send_again(parcel)

    def _send_again(self, parcel: Parcel) -> None:
        self._io.publish(parcel)
        self._homeless.discard(parcel.message_id)

    def announce(self, route: Route) -> None:
        """Tell all hosts of a queue that is new."""
        self._control.say("lane", channel=route.channel, activity_type=route.activity_type, lane=str(route.lane))
