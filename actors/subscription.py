"""A subscriber's side of a channel: an inbox of its own, read without ever disturbing the channel."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any, Protocol, Self

from pykka import Timeout

from ..messages.bus_errors import SubscriptionFailed
from ..messages.dispatch import AckStatus
from ..messages.envelope import Envelope
from ..messages.errors import InvalidCapacity
from ._filters import Filter, Predicate
from .runtime import Reply, offer, runtime

__all__ = ["Inbox", "Predicate", "Subscription"]


_NOTHING: deque[Envelope] = deque(maxlen=0)
"""What an inbox holds that was never given anything."""

_making = threading.Lock()
"""Held for an assignment and nothing else, so that neither a signal handler nor the collector can come back here."""


class Inbox:
    """What envelopes are put into, in order. Any thread may read; one at a time may put.

    No lock is held while anything is done, so that a finaliser may close it in the middle of anything. How nothing is
    missed without one: a reader looks again after it has put itself down as waiting, a putter looks for waiting readers
    after its put.
    """

    __slots__ = ("__weakref__", "_deferrable", "_envelopes", "_readers", "bound", "closed", "filter")

    def __init__(self, *, predicate: Predicate | None = None, bound: int | None = None, defer: int = 0) -> None:
        """Accept `bound` unread envelopes (`None`: any number), defer as many as `defer` more, and reject the rest."""
        if not (bound is None or (type(bound) is int and bound > 0)) or defer or type(defer) is not int:
            _check_bounds(bound, defer)
        self.filter = Filter(predicate) if predicate is not None else None
        self.bound = bound
        self.closed = False
        self._deferrable = defer
        self._envelopes = _NOTHING
        self._readers: list[Reply[None]] | None = None

    @property
    def depth(self) -> int:
        """Envelopes waiting to be read."""
        return len(self._envelopes)

    def offer(self, envelope: Envelope) -> AckStatus | None:
        """Put an envelope in, and say how that was taken; `None` if the inbox is closed. Never blocks.

        A deferred envelope is in the inbox like any other: the word is for the publisher, who should slow down.
        """
        if self.closed:
            return None
        status = self._status()
        if status is AckStatus.REJECTED:
            return status
        self._put(envelope)
        self._wake_readers()
        return status if self._is_kept() else None

    def try_take(self) -> Envelope | None:
        """Take the next envelope; `None` if there is none. Never blocks."""
        try:
            return self._envelopes.popleft()
        except IndexError:
            return None

    def take(self, timeout_s: float | None) -> Envelope | None:
        """Block for the next envelope; `None` when the time is up or the inbox is closed."""
        now = runtime().now
        deadline_s = None if timeout_s is None else now() + timeout_s
        while (envelope := self.try_take()) is None and not self.closed:
            left_s = None if deadline_s is None else deadline_s - now()
            if left_s is not None and left_s <= 0:
                return None
            reader = self._put_down()
            try:
                reader.get(timeout=left_s)
            except Timeout:
                continue
            finally:
                self._strike_out(reader)
        return envelope

    async def take_async(self) -> Envelope | None:
        """Wait for the next envelope without blocking the event loop; `None` when the inbox is closed."""
        while (envelope := self.try_take()) is None and not self.closed:
            reader = self._put_down()
            try:
                await reader
            finally:
                self._strike_out(reader)
        return envelope

    def close(self) -> None:
        """Take nothing more, discard what is unread, and wake all readers. Idempotent, never blocks."""
        self.closed = True
        self._envelopes.clear()
        self._wake_readers()

    def _put(self, envelope: Envelope) -> None:
        """Keep an envelope. Most inboxes are never given any, so what holds them is made for the first one."""
        if self._envelopes is _NOTHING:
            self._envelopes = deque((envelope,))
        else:
            self._envelopes.append(envelope)

    def _is_kept(self) -> bool:
        """Look again after a put: an inbox that was closed meanwhile keeps nothing."""
        if self.closed:
            self._envelopes.clear()
        return not self.closed

    def _status(self) -> AckStatus:
        over = 0 if self.bound is None else len(self._envelopes) + 1 - self.bound
        if over <= 0:
            return AckStatus.ACCEPTED
        return AckStatus.DEFERRED if over <= self._deferrable else AckStatus.REJECTED

    def _put_down(self) -> Reply[None]:
        """Put a reader down as waiting; if there is something to see by now, it is woken already."""
        reader: Reply[None] = runtime().create_future()
        made: list[Reply[None]] = []
        with _making:
            if self._readers is None:
                self._readers = made
        self._readers.append(reader)
        if self._envelopes or self.closed:
            offer(reader, None)
        return reader

    def _strike_out(self, reader: Reply[None]) -> None:
        assert self._readers is not None, "it was put down there"
        try:
            self._readers.remove(reader)
        except ValueError:  # it was woken, or is about to be
            return

    def _wake_readers(self) -> None:
        """Wake all that wait now: one of them gets it, the others look and wait again."""
        readers = self._readers
        for _ in range(len(readers) if readers is not None else 0):
            try:
                offer(readers.pop(0), None)  # type: ignore[union-attr]  # else there is no round
            except IndexError:
                return


class Post(Protocol):
    """How a subscription says that it is over."""

    def unsubscribe(self, inbox: Inbox) -> None:
        """Take the inbox out of the fan-out."""

    def forsake(self, inbox: Inbox) -> None:
        """Do the same from a finaliser."""


class Subscription:
    """A handle on one's place in the fan-out. Copies share it; when the last one is dropped, the place is given up.

    All methods may be called on any thread.
    """

    __slots__ = ("__weakref__", "_finalizer", "_inbox", "_post")

    def __init__(self, inbox: Inbox, post: Post) -> None:
        self._inbox = inbox
        self._post = post
        self._finalizer = weakref.finalize(self, post.forsake, inbox)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        """Show depth and state only."""
        return f"<Subscription depth={self.depth} active={self.is_active}>"

    @property
    def is_active(self) -> bool:
        """Whether the channel still delivers here."""
        return not self._inbox.closed

    @property
    def depth(self) -> int:
        """Envelopes waiting to be read."""
        return self._inbox.depth

    @property
    def problem(self) -> SubscriptionFailed | None:
        """The first time the predicate gave no answer: it raised (see `__cause__`), or took too long."""
        return self._inbox.filter.problem if self._inbox.filter is not None else None

    @property
    def failures(self) -> int:
        """Messages missed because the predicate gave no answer."""
        return self._inbox.filter.failures if self._inbox.filter is not None else 0

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
        """Leave the fan-out; what is unread is discarded and readers are woken. Idempotent, does not wait."""
        if self._finalizer.detach() is not None:
            self._post.unsubscribe(self._inbox)

    def __copy__(self) -> Subscription:
        """Share the place."""
        return self

    def __enter__(self) -> Self:
        """Leave the fan-out at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the fan-out."""
        self.unsubscribe()


def _check_bounds(bound: Any, defer: Any) -> None:
    for name, value, least in (("bound", bound, 1), ("defer", defer, 0)):
        if value is None and name == "bound":
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidCapacity(name, f"must be an int of {least} or more, not {value!r}")
    if bound is None and defer:
        raise InvalidCapacity("defer", "has no meaning without a bound")
