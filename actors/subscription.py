"""A subscriber's side of a channel: an inbox of its own, read without ever disturbing the channel."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from ..messages.envelope import Envelope

Predicate = Callable[[Envelope], bool]


class Inbox:
    """What the channel puts envelopes into. Any thread may put and take; order of arrival is kept."""

    __slots__ = ("__weakref__", "_changed", "_envelopes", "_waiters", "bound", "closed", "predicate")

    def __init__(self, *, predicate: Predicate | None = None, bound: int | None = None) -> None:
        self.predicate = predicate
        self.bound = bound
        """Unread envelopes it may hold; more are refused. `None` for no limit."""
        self.closed = False
        self._envelopes: deque[Envelope] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._waiters: list[Callable[[], object]] = []

    @property
    def depth(self) -> int:
        """Envelopes waiting to be read."""
        return len(self._envelopes)

    def offer(self, envelope: Envelope) -> bool:
        """Put an envelope in, unless the inbox is closed or full. Never blocks."""
        with self._changed:
            if self.closed or (self.bound is not None and len(self._envelopes) >= self.bound):
                return False
            self._envelopes.append(envelope)
            self._changed.notify()
            waiters, self._waiters = self._waiters, []
        _call(waiters)
        return True

    def try_take(self) -> Envelope | None:
        """Take the next envelope; `None` if there is none. Never blocks."""
        try:
            return self._envelopes.popleft()
        except IndexError:
            return None

    def take(self, timeout_s: float | None) -> Envelope | None:
        """Block for the next envelope; `None` when the time is up or the inbox is closed."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._envelopes and not self.closed:
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                self._changed.wait(left_s)
            return self._envelopes.popleft() if self._envelopes else None

    async def take_async(self) -> Envelope | None:
        """Wait for the next envelope without blocking the event loop; `None` when the inbox is closed."""
        loop = asyncio.get_running_loop()
        while True:
            envelope = self.try_take()
            if envelope is not None or self.closed:
                return envelope
            woken = loop.create_future()
            if self._add_waiter(lambda future=woken: loop.call_soon_threadsafe(_wake, future)):  # type: ignore[misc]
                await woken

    def close(self) -> None:
        """Take nothing more, discard what is unread, and wake all readers. Idempotent."""
        with self._changed:
            self.closed = True
            self._envelopes.clear()
            self._changed.notify_all()
            waiters, self._waiters = self._waiters, []
        _call(waiters)

    def _add_waiter(self, wake: Callable[[], object]) -> bool:
        with self._changed:
            if self._envelopes or self.closed:
                return False
            self._waiters.append(wake)
            return True


class Subscription:
    """A handle on one's place in the fan-out. Copies share it; when the last one is dropped, the place is given up."""

    __slots__ = ("__weakref__", "_finalizer", "_inbox")

    def __init__(self, inbox: Inbox, unsubscribe: Callable[[Inbox], object]) -> None:
        self._inbox = inbox
        self._finalizer = weakref.finalize(self, unsubscribe, inbox)
        self._finalizer.atexit = False

    @property
    def is_active(self) -> bool:
        """Whether the channel still delivers here."""
        return not self._inbox.closed

    @property
    def depth(self) -> int:
        """Envelopes waiting to be read."""
        return self._inbox.depth

    def try_next(self) -> Envelope | None:
        """Take the next envelope in publish order; `None` if there is none. Never blocks."""
        return self._inbox.try_take()

    def next(self, timeout: float | None = None) -> Envelope | None:
        """Block up to `timeout` seconds for the next envelope; `None` when time is up or the subscription is over."""
        return self._inbox.take(timeout)

    async def anext(self) -> Envelope | None:
        """Wait for the next envelope without blocking the loop; `None` when the subscription is over."""
        return await self._inbox.take_async()

    def unsubscribe(self) -> None:
        """Leave the fan-out; what is unread is discarded. Idempotent, does not block."""
        self._finalizer()

    def __copy__(self) -> Subscription:
        """Share the place."""
        return self

    def __enter__(self) -> Subscription:
        """Leave the fan-out at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the fan-out."""
        self.unsubscribe()


def _wake(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(None)


def _call(waiters: list[Callable[[], object]]) -> None:
    for wake in waiters:
        try:
            wake()
        except RuntimeError:  # the loop that waited has been closed
            continue
