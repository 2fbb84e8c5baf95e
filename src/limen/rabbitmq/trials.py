"""The trials of requests that run alone: noted at the broker before each begins, for who comes after a host that died.

A broker counts how often it got a request back, and that says less: it gets some back from consumers that were ended in
good order while a delivery was on its way. Runs on the I/O thread.
"""

from __future__ import annotations

from collections.abc import Callable

from . import topology
from ._ledger import Held
from ._session import CUT_OFF, Session, Then
from .io import BrokerIO
from .parcels import Parcel

NOTE = "application/vnd.limen.trial"


class Trials:
    """Notes and counts them. `session` gives the connection that requests come over now."""

    def __init__(self, io: BrokerIO, session: Callable[[], Session | None]) -> None:
        self._io = io
        self._session = session

    def count(self, held: Held, then: Callable[[int | None], object]) -> None:
        """Say how many trials of this request have begun and not come to an end; `None` if that cannot be known now."""
        session = self._session()
        if session is None:
            then(None)
            return
        session.look(_queue(held).name, lambda _, notes: then(notes if session.alive else None))

    def begin(self, held: Held, then: Then) -> None:
        """Note that a trial is about to begin; `then` is called when the broker has that, or with what went wrong."""
        session, queue = self._session(), _queue(held)
        if session is None:
            then(CUT_OFF)
            return

        def declared(problem: str | None) -> None:
            if problem is not None:
                then(problem)
                return
            self._io.publish(
                Parcel(
                    exchange="",
                    key=queue.name,
                    body=b"",
                    content_type=NOTE,
                    message_id=topology.short(held.name),
                    done=lambda unsent: then(None if unsent is None else str(unsent)),
                )
            )

        session.declare([], [queue], declared)

    def end(self, held: Held) -> None:
        """Forget all trials of a request: it has an outcome. If that is lost, the broker forgets them by itself."""
        session = self._session()
        if session is not None:
            session.delete(_queue(held).name)


def _queue(held: Held) -> topology.Queue:
    return topology.trial_queue(held.route.channel, held.name)
