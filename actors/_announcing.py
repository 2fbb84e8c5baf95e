"""What a channel tells those who follow its events. Called on the channel's turn."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..messages.events import Event, EventKind
from . import _orders as orders
from ._book import Book
from .attempt import Attempt
from .conversation import Conversation
from .entry import WorkerEntry

logger = logging.getLogger("limen")


class Announcer:
    """Calls every listener with every event, in order. What one of them raises is logged."""

    def __init__(self, book: Book, now: Callable[[], float]) -> None:
        self._book = book
        self._now = now

    def listen(self, message: orders.Listen) -> None:
        """Add a listener, or take one off."""
        others = tuple(each for each in self._book.listeners if each != message.listener)
        self._book.listeners = (*others, message.listener) if message.on else others

    def tell_of(self, kind: EventKind, attempt: Attempt, detail: str = "") -> None:
        """Tell what became of an attempt."""
        if self._book.listeners:
            self.tell(kind, attempt.entry, detail, attempt)

    def tell_about(self, kind: EventKind, conversation: Conversation, detail: str = "") -> None:
        """Tell what became of a request that no worker has."""
        if self._book.listeners:
            self._call_all(
                Event(
                    kind=kind,
                    channel_name=self._book.name,
                    at_s=self._now(),
                    conversation_id=conversation.id,
                    activity_type=conversation.activity_type,
                    detail=detail,
                )
            )

    def tell(self, kind: EventKind, entry: WorkerEntry, detail: str = "", attempt: Attempt | None = None) -> None:
        """Tell what became of a worker."""
        if not self._book.listeners:
            return
        event = Event(
            kind=kind,
            channel_name=self._book.name,
            at_s=self._now(),
            worker_id=entry.worker_id,
            incarnation=entry.incarnation,
            conversation_id=attempt.conversation.id if attempt is not None else None,
            activity_type=attempt.activity_type if attempt is not None else None,
            detail=detail,
        )
        self._call_all(event)

    def _call_all(self, event: Event) -> None:
        for listener in self._book.listeners:
            try:
                listener(event)
            except BaseException:  # not even SystemExit may end the channel
                logger.exception("a listener failed to take an event")
