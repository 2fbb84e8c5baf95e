"""Counting what happens, from the event stream alone."""

from __future__ import annotations

from collections import Counter

from .. import Event, EventKind, EventStream

NOTABLE = frozenset({EventKind.REGISTERED, EventKind.CRASHED, EventKind.REDISPATCHED})
"""What is worth a line of its own."""


class Tally:
    """What the events have said so far."""

    def __init__(self, events: EventStream) -> None:
        self._events = events
        self._counts: Counter[tuple[EventKind, str | None]] = Counter()
        self.moved: list[Event] = []
        """Every re-dispatch."""
        self.crashed: list[Event] = []

    def follow(self, timeout_s: float = 0.0) -> list[Event]:
        """Count what has happened, waiting for the first of it at most so long; give what is notable, in order."""
        notable = []
        while (event := self._events.next(timeout=timeout_s)) is not None:
            timeout_s = 0.0
            self._counts[event.kind, event.activity_type] += 1
            if event.kind is EventKind.CRASHED:
                self.crashed.append(event)
            if event.kind is EventKind.REDISPATCHED:
                self.moved.append(event)
            if event.kind in NOTABLE:
                notable.append(event)
        return notable

    def count(self, kind: EventKind, activity_type: str | None = None) -> int:
        """Say how often something has happened, to one activity or to any."""
        if activity_type is not None:
            return self._counts[kind, activity_type]
        return sum(count for (counted, _), count in self._counts.items() if counted is kind)

    @property
    def results(self) -> int:
        """Files that have been measured."""
        return self.count(EventKind.FINISHED, "measure")

    @property
    def done(self) -> int:
        """Files with an outcome."""
        return self.results + self.failed

    @property
    def failed(self) -> int:
        """Files with which an activity failed."""
        return self.count(EventKind.FAILED)
