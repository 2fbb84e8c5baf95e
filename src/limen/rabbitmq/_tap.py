"""The consumers of one queue: how its credit is put to the broker, who keeps to what he was told when each began.

The credit of a consumer cannot be changed. More is given by one more consumer, less by ending some; what an ended one
has delivered counts until it is acknowledged. Knows no connection.
"""

from __future__ import annotations

import attrs

_MOST = 4
"""How many consumers may be open before they are made into one."""


@attrs.frozen
class Open:
    """Begin a consumer that may have so many unacknowledged."""

    prefetch: int


@attrs.frozen
class Close:
    """End a consumer."""

    tag: str


class Tap:
    """What one queue's consumers are, and what they have delivered."""

    def __init__(self) -> None:
        self.open: dict[str, int] = {}
        """Prefetch by consumer tag."""
        self._closing: set[str] = set()
        self._held: dict[str, int] = {}

    @property
    def held(self) -> int:
        """How much has been delivered and not acknowledged."""
        return sum(self._held.values())

    @property
    def is_busy(self) -> bool:
        """Whether more may be delivered."""
        return bool(self.open or self._closing)

    def delivered(self, tag: str) -> None:
        """Count what has come."""
        self._held[tag] = self._held.get(tag, 0) + 1

    def acknowledged(self, tag: str) -> None:
        """Count what has been acknowledged."""
        left = self._held.get(tag, 0) - 1
        if left > 0 or tag in self.open:
            self._held[tag] = max(0, left)
        else:
            self._held.pop(tag, None)

    def opened(self, tag: str, prefetch: int) -> None:
        """A consumer is being begun."""
        self.open[tag] = prefetch
        self._held.setdefault(tag, 0)

    def closing(self, tag: str) -> None:
        """A consumer is being ended; it may deliver a little more."""
        self.open.pop(tag, None)
        self._closing.add(tag)

    def closed(self, tag: str) -> None:
        """It delivers no more."""
        self.open.pop(tag, None)
        self._closing.discard(tag)
        if not self._held.get(tag):
            self._held.pop(tag, None)

    def steps(self, limit: int) -> list[Open | Close]:
        """Say what is to be done so that at most `limit` are unacknowledged, and as many can be."""
        if self._closing:
            return []  # what it still delivers is not known yet
        orphans = sum(count for tag, count in self._held.items() if tag not in self.open)
        room = limit - orphans - sum(self.open.values())
        if room < 0 or (room > 0 and len(self.open) >= _MOST):
            return self._closed_for(-room, everything=room > 0 or limit == 0)
        if room > 0 and (not self.open or not orphans or room * 4 >= limit):
            return [Open(room)]
        return []

    def _closed_for(self, excess: int, *, everything: bool) -> list[Open | Close]:
        """End consumers until that much credit is gone, those first that use least of theirs."""
        by_use = sorted(self.open, key=lambda tag: self._held.get(tag, 0) - self.open[tag])
        steps: list[Open | Close] = []
        gone = 0
        for tag in by_use:
            if gone >= excess and not everything:
                break
            steps.append(Close(tag))
            gone += self.open[tag] - self._held.get(tag, 0)
        return steps
