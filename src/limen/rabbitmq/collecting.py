"""Results that nobody was there to take: found again by key, by whoever asks for them.

A result whose asker has gone lies in the results of its namespace for a week. It is looked at there and left, so that
whoever dies as he collects it can come again. The results of this process's own calls may be there too, if it was cut
off for long.
"""

from __future__ import annotations

import functools
import logging
from datetime import timedelta
from typing import Any

from ..activity import Activity
from ..actors.conversation import CLOSED, Conversation
from ..actors.runtime import runtime
from ..messages.activities import ActivityRequest
from ..messages.errors import DecodeError
from ..messages.payloads import Payload
from . import codec, topology
from ._session import Browse, Session
from .desk import Desk
from .io import BrokerIO
from .parcels import Delivery
from .requester import Requester

logger = logging.getLogger("limen")

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 3.0

_RESCUE_S = 30.0
"""How often a process looks whether one of its own results has gone astray."""


class Collected(Conversation):
    """Work that somebody has asked for before, as whoever collects its result sees it."""

    def __init__(self, activity: Activity[..., Any], channel: str, key: str, timeout_s: float) -> None:
        request = ActivityRequest(activity.name, Payload(b""), schedule_to_close_timeout=timedelta(seconds=timeout_s))
        super().__init__(runtime().new_id(), request, runtime().create_future())
        self.activity = activity
        self.name = codec.Work(channel, activity.name, key)


class Collecting:
    """What one process looks for. Runs on the I/O thread, but for `collect`; what is found is read on the desk."""

    def __init__(self, io: BrokerIO, desk: Desk, requester: Requester, namespace: str) -> None:
        self._io = io
        self._desk = desk
        self._requester = requester
        self._queue = topology.results_queue(namespace)
        self._session: Session | None = None
        self._wanted: tuple[Collected, ...] = ()
        self._pause_s = _FIRST_PAUSE_S
        self._is_looking = False
        self._seen = 0
        """How many results there were at the latest look for what has gone astray."""

    def collect(self, call: Collected, channel: str) -> None:
        """Have a result looked for until it is found or the time is up. Any thread; never blocks."""
        self._requester.ask_again(call, channel)
        self._io.do(functools.partial(self._want, call))

    def up(self, session: Session) -> None:
        """Look for what is wanted, and for what came while there was no connection; then now and then."""
        self._session, self._is_looking = session, False
        if self._wanted or (session.number > 1 and self._requester.is_waiting):
            self._look()
        self._io.later(_RESCUE_S, functools.partial(self._rescue, session))

    def down(self) -> None:
        """The connection is gone."""
        self._session = None

    # --- looking ------------------------------------------------------------------------------------------------

    def _want(self, call: Collected) -> None:
        self._wanted = (*self._wanted, call)
        self._pause_s = _FIRST_PAUSE_S
        self._look()

    def _look(self) -> None:
        session = self._session
        if session is not None and not self._is_looking:
            self._is_looking = True
            session.browse(self._queue, functools.partial(self._opened, session))

    def _opened(self, session: Session, found: Browse | str) -> None:
        """Take what lies there, or nothing if somebody else is looking at it."""
        self._is_looking = False
        if isinstance(found, Browse):
            self._desk.put(functools.partial(self._read, found.found))
            found.close()
        elif session.alive:
            logger.debug("results cannot be looked at now: %s", found)
        self._io.later(self._pause_s, self._look_again)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _look_again(self) -> None:
        self._wanted = tuple(each for each in self._wanted if each.phase is not CLOSED)
        if self._wanted:
            self._look()

    def _rescue(self, session: Session) -> None:
        """Look once more if anything has come: a result may not have been fetched in time."""

        def counted(_: int | None, messages: int) -> None:
            if messages != self._seen:
                self._seen = messages
                self._look()

        if session is not self._session:
            return
        if self._requester.is_waiting:
            session.look(self._queue.name, counted)
        self._io.later(_RESCUE_S, functools.partial(self._rescue, session))

    # --- finding: on the desk -----------------------------------------------------------------------------------

    def _read(self, found: list[Delivery]) -> None:
        for delivery in reversed(found):  # the latest of a key counts
            if delivery.content_type == codec.NEWS:
                continue
            try:
                outcomes = codec.read_outcomes(delivery.body)
            except DecodeError as error:
                logger.warning("a message in %s cannot be read: %s", self._queue.name, error)
                continue
            for outcome in outcomes:
                self._match(outcome)

    def _match(self, outcome: codec.Outcome) -> None:
        self._requester.take(outcome.conversation_id, outcome)
        for call in self._wanted:
            if call.name == outcome.work:
                self._requester.take(call.id, outcome)
