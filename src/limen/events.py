"""`EventStream`: what happens on an application's channels, as it happens, for one reader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Self

from .actors._patience import wait_patiently
from .actors.runtime import runtime
from .messages.events import Event


class EventStream:
    """A bounded buffer of events. A reader that is too slow loses the oldest, and `dropped` counts them.

    Each event goes to one reader. Any thread may read, and close.
    """

    def __init__(self, size: int, on_close: Callable[[EventStream], object]) -> None:
        self.dropped = 0
        self.listener = self.put
        """What channels call: one object, by which they know it again."""
        self._events: deque[Event] = deque()
        self._size = size
        self._changed = runtime().create_condition()
        self._closed = False
        self._on_close = on_close

    def put(self, event: Event) -> None:
        """Take an event. Called on a channel's turn; never blocks."""
        with self._changed:
            if self._closed:
                return
            if len(self._events) >= self._size:
                self._events.popleft()
                self.dropped += 1
            self._events.append(event)
            self._changed.notify()

    def next(self, timeout: float | None = None) -> Event | None:
        """Block up to `timeout` seconds for the next event; `None` when time is up or the stream is closed."""
        with self._changed:
            wait_patiently(self._wait, timeout)
            return self._events.popleft() if self._events else None

    def _wait(self, timeout: float | None) -> bool:
        if not self._events and not self._closed:
            self._changed.wait(timeout)
        return bool(self._events) or self._closed

    def close(self) -> None:
        """Take no more events; a reader gets what is buffered, and then the end. Idempotent."""
        with self._changed:
            already, self._closed = self._closed, True
            self._changed.notify_all()
        if not already:
            self._on_close(self)

    def __iter__(self) -> Iterator[Event]:
        """Go through the events as they come, until the stream is closed."""
        while (event := self.next()) is not None:
            yield event

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
