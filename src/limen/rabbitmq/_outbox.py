"""What has been given to the broker and what is yet to be: the core of the I/O thread's publishing.

A window of parcels is under way, unconfirmed; the others wait in order. Nothing that wants to be confirmed is forgotten
before it is, or before its time is up. Knows no connection, clock or thread.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable

import attrs

from .parcels import NotConfirmed, Parcel, Unroutable

Settled = tuple[Parcel, "Unroutable | NotConfirmed | None"]
"""A parcel, and why the broker does not have it; `None` if it has."""


@attrs.define
class Outbox:
    """The parcels of one connection after another."""

    window: int = 1024
    """How many may be unconfirmed at a time."""
    waiting: deque[Parcel] = attrs.field(factory=deque)
    """Any thread may append."""
    _unconfirmed: OrderedDict[int, Parcel] = attrs.field(factory=OrderedDict)
    """By the number under which the broker will confirm them."""
    _sent: int = 0

    def __len__(self) -> int:
        return len(self.waiting) + len(self._unconfirmed)

    @property
    def unconfirmed(self) -> int:
        """How many the broker has been sent and has not confirmed."""
        return len(self._unconfirmed)

    def next(self) -> Parcel | None:
        """Take the next one to be sent; `None` while there is none, or too many are under way."""
        if not self.waiting or len(self._unconfirmed) >= self.window:
            return None
        parcel = self.waiting.popleft()
        parcel.returned = False
        parcel.sent += 1
        self._sent += 1
        self._unconfirmed[self._sent] = parcel
        return parcel

    def confirmed(self, number: int, *, multiple: bool) -> list[Settled]:
        """The broker has these, or has given them back before it said so."""
        return [(parcel, _verdict(parcel)) for parcel in self._take(number, multiple=multiple)]

    def refused(self, number: int, *, multiple: bool) -> None:
        """The broker could not take these: they are to be sent again."""
        self._again(self._take(number, multiple=multiple))

    def returned(self, message_id: str | None, exchange: str, key: str) -> None:
        """The broker has no queue for this one. Its confirmation is yet to come."""
        for parcel in self._unconfirmed.values():
            if (parcel.message_id, parcel.exchange, parcel.key) == (message_id, exchange, key) and not parcel.returned:
                parcel.returned = True
                return

    def lost(self) -> list[Parcel]:
        """The connection is gone: what was under way comes first on the next. Gives those that nobody waits for."""
        parcels = list(self._unconfirmed.values())
        self._unconfirmed.clear()
        self._sent = 0
        dropped = [each for each in parcels if each.done is None]
        self._again(each for each in parcels if each.done is not None)
        return dropped

    def overdue(self, now_s: float, reason: str) -> list[Settled]:
        """Give up what has waited for too long; what was sent and is confirmed after all finds nobody."""
        late = [each for each in self.waiting if each.deadline_s <= now_s]
        if late:
            kept = [each for each in self.waiting if each.deadline_s > now_s]
            self.waiting.clear()
            self.waiting.extend(kept)
        for number, parcel in list(self._unconfirmed.items()):
            if parcel.deadline_s <= now_s and parcel.done is not None:
                # Its number stays taken, so that the confirmation finds its like.
                self._unconfirmed[number] = attrs.evolve(parcel, done=None)
                late.append(parcel)
        return [(parcel, NotConfirmed(reason, parcel.sent > 0)) for parcel in late]

    def parcels(self) -> list[Parcel]:
        """List all that the broker is not known to have."""
        return [*self.waiting, *self._unconfirmed.values()]

    def next_deadline_s(self) -> float:
        """Say when the first of them will be late."""
        pending = (*self.waiting, *self._unconfirmed.values())
        return min((each.deadline_s for each in pending if each.done is not None), default=float("inf"))

    def _take(self, number: int, *, multiple: bool) -> list[Parcel]:
        if not multiple:
            parcel = self._unconfirmed.pop(number, None)
            return [] if parcel is None else [parcel]
        taken = []
        while self._unconfirmed and next(iter(self._unconfirmed)) <= number:
            taken.append(self._unconfirmed.popitem(last=False)[1])
        return taken

    def _again(self, parcels: Iterable[Parcel]) -> None:
        self.waiting.extendleft(reversed(list(parcels)))


def _verdict(parcel: Parcel) -> Unroutable | None:
    return Unroutable(parcel.exchange, parcel.key) if parcel.returned else None
