"""What operators set on a channel while it works: pauses, limits, the bound. Called on the channel's turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..messages.events import EventKind
from ..messages.limits import Limit
from ..messages.pressure import PressurePolicy
from . import _orders as orders
from ._announcing import Announcer
from ._book import Book
from ._decisions import Decision
from ._gates import Gate
from ._policing import Policing
from .runtime import runtime

DEFAULT_BOUND = 100_000
"""How many requests may wait on a channel of which nothing else was said."""


class Settings:
    """Puts them in force. What follows from that is decided by the book, and carried out by the channel."""

    def __init__(self, book: Book, announcer: Announcer, notice_later: Callable[[float, object], Any]) -> None:
        self._book = book
        self._state = book.state
        self._announcer = announcer
        self._notice_later = notice_later

    def put(self, message: orders.Setting) -> Iterable[Decision]:
        """Put a setting in force. The channel is kept alive while there is any."""
        state = self._state
        state.now_s = runtime().now()
        match message:
            case orders.SetPaused():
                decided = self._pause() if message.paused else self._resume()
            case orders.SetLimit(activity_type, limit):
                decided = self._limit(activity_type, limit)
            case orders.SetBound(waiting):
                decided = state.bound(DEFAULT_BOUND if waiting is None else waiting, is_set=waiting is not None)
            case orders.SetPolicies(policies):
                decided = self._police(policies)
            case _:
                raise TypeError(f"no such setting: {type(message).__name__}")
        self._book.keeper = (message.keeper or self._book.keeper) if state.restrained else None
        return decided

    def set_alarm(self, gate: Gate) -> None:
        """Have the gate looked at again when its next token is there."""
        assert gate.bucket is not None, "only a rate makes one wait for time"
        gate.drop_timer()
        delay_s = max(0.0, gate.bucket.opens_at_s - runtime().now())
        gate.timer = self._notice_later(delay_s, orders.TokenDue(gate))

    def drop_alarms(self) -> None:
        """Have no gate looked at again."""
        for gate in self._state.gates.values():
            gate.drop_timer()

    def _pause(self) -> Iterable[Decision]:
        if not self._state.paused:
            self._state.pause()
            self._announcer.tell_all(EventKind.PAUSED)
        return ()

    def _resume(self) -> Iterable[Decision]:
        if not self._state.paused:
            return ()
        self._announcer.tell_all(EventKind.RESUMED)
        return self._state.unpause()

    def _police(self, policies: tuple[PressurePolicy, ...]) -> Iterable[Decision]:
        policing = self._book.policing or Policing(self._book.name)
        self._announcer.tell_of_pressure(policing.look(self._state.serving(None), self._state.now_s))
        self._announcer.tell_of_pressure(policing.replace(policies, self._state.now_s))
        self._book.policing = policing if policies else None
        self._state.police(on=bool(policies))
        return ()

    def _limit(self, activity_type: str, limit: Limit | None) -> Iterable[Decision]:
        before = self._state.gates.get(activity_type)
        if before is not None:
            before.drop_timer()
        return self._state.limit(activity_type, limit)
